"""Better codes in the same blocks: the kernels of `blocks.best`. Eight groups lie side by side, one in each lane.

Groups are columns: element i of group g is at i * groups + g of a flat array.
"""

from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.search import MIDPOINTS, VALUES
from quantlib.formats.kernels.scalar import MAGIC, ONE, ZERO, float_from_half, half_from_float
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import WIDTH, load, magnitude, pick, put, select, splat, store, turn

LOWEST = np.float32(VALUES[0])
STEPS = np.diff(VALUES.astype(np.float32))  # from each value to the next
TOP = len(STEPS)


class Grid(NamedTuple):
    """n: weights of a group. groups: side by side, a multiple of eight. low, high, uneven: of `blocks.best.Levels`."""

    n: int
    groups: int
    low: int
    high: int
    uneven: bool


@inlined
def clamp(v, low, high):
    """Eight numbers held to [low, high]; NaN stays."""
    v = select(v < np.float32(low), np.float32(low), v)
    return select(v > np.float32(high), np.float32(high), v)


@inlined
def whole(v):
    """Eight nearest whole numbers, ties to even."""
    return (v + MAGIC) - MAGIC


@inlined
def nearest(v, grid):
    """Eight nearest levels."""
    if grid.uneven:
        level = splat(LOWEST)
        for k in range(TOP):
            level = level + select(v < MIDPOINTS[k], splat(ZERO), STEPS[k])
    else:
        level = clamp(whole(v), grid.low, grid.high)
    return level


@inlined
def inverse_of(scale):
    """1 / scale, 0 where the scale is 0."""
    return select(magnitude(scale) > ZERO, splat(ONE) / scale, ZERO)


@inlined
def error_of(x, weights, first, scale, minimum, grid):
    """The weighted squared error of eight groups from `first` on, with the nearest levels."""
    inverse = inverse_of(scale)
    error = splat(ZERO)
    for at in range(first, first + grid.n * grid.groups, grid.groups):
        v = load(x, at)
        miss = nearest((v + minimum) * inverse, grid) * scale - minimum - v
        error = error + load(weights, at) * (miss * miss)
    return error


@inlined
def error_with(x, weights, level, first, scale, minimum, grid):
    """The same with levels as they are."""
    error = splat(ZERO)
    for at in range(first, first + grid.n * grid.groups, grid.groups):
        miss = load(level, at) * scale - minimum - load(x, at)
        error = error + load(weights, at) * (miss * miss)
    return error


@inlined
def sums_of(x, weights, first, scale, minimum, grid):
    """Σ w·v, Σ w·v², Σ w·v·x of eight groups, v being the nearest levels."""
    inverse = inverse_of(scale)
    sum_v, sum_vv, sum_vx = splat(ZERO), splat(ZERO), splat(ZERO)
    for at in range(first, first + grid.n * grid.groups, grid.groups):
        v = load(x, at)
        level = nearest((v + minimum) * inverse, grid)
        wv = load(weights, at) * level
        sum_v = sum_v + wv
        sum_vv = sum_vv + wv * level
        sum_vx = sum_vx + wv * v
    return sum_v, sum_vv, sum_vx


@inlined
def totals(x, weights, first, grid):
    """Σ w and Σ w·x of eight groups."""
    w, wx = splat(ZERO), splat(ZERO)
    for at in range(first, first + grid.n * grid.groups, grid.groups):
        w = w + load(weights, at)
        wx = wx + load(weights, at) * load(x, at)
    return w, wx


@inlined
def keep_levels(x, first, scale, minimum, grid, level):
    """Store the nearest levels of eight groups."""
    inverse = inverse_of(scale)
    for at in range(first, first + grid.n * grid.groups, grid.groups):
        store(level, at, nearest((load(x, at) + minimum) * inverse, grid))


@part
def turned(source, first, columns, count, size):
    """Lay `count` groups of `size` numbers each side by side, from source[first] on; both are multiples of eight."""
    for k in range(0, count, WIDTH):
        for i in range(0, size, WIDTH):
            turn(source, first + k * size + i, size, columns, i * count + k, count)


@part
def levels_from(codes, first, levels, count, grid):
    """What `count` codes from codes[first] on stand for."""
    if grid.uneven:
        for i in range(count):
            put(levels, i, np.float32(pick(VALUES, pick(codes, first + i))))
    else:
        for i in range(count):
            put(levels, i, np.float32(np.int32(pick(codes, first + i)) + np.int32(grid.low)))


@part
def codes_from(levels, first, codes, at, count, grid):
    """The codes of `count` levels from levels[first] on, to codes[at] and on."""
    if grid.uneven:
        for i in range(count):
            code = np.uint8(0)
            for k in range(TOP):
                code += np.uint8(0) if pick(levels, first + i) < MIDPOINTS[k] else np.uint8(1)
            put(codes, at + i, code)
    else:
        for i in range(count):
            put(codes, at + i, np.uint8(np.int32(pick(levels, first + i)) - np.int32(grid.low)))


@part
def half(v):
    """A float as half precision keeps it."""
    return float_from_half(np.uint32(half_from_float(v)))


@inlined
def halves(v, room):
    """Eight floats as half precision keeps them. room: float32 (8,)."""
    store(room, 0, v)
    for k in range(WIDTH):
        room[k] = half(room[k])
    return load(room, 0)
