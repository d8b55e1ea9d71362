"""Sixteen groups of weights side by side: flat arrays in which number i of group k stands at 16·i + k."""

import numpy as np

from quantlib.formats.kernels.scalar import ZERO
from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import WIDE, WIDTH, load, load_wide, pick, root, splat, splat_wide, store, turn

NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))


@part
def gather(x, at, count, lane):
    """Turn `count` groups from x[at] on into lanes; idle lanes are zero. lane: float32 (16n,), n a multiple of 8."""
    size = lane.shape[0] // WIDE
    whole = count // WIDTH * WIDTH
    for k in range(0, whole, WIDTH):
        for i in range(0, size, WIDTH):
            turn(x, at + k * size + i, size, lane, WIDE * i + k, WIDE)
    for k in range(whole, WIDE):
        for i in range(size):
            lane[WIDE * i + k] = pick(x, at + k * size + i) if k < count else ZERO


@part
def gather_importance(importance, first, count, lane):
    """`gather` for the importances of groups first, first + 1, …

    importance: of a row of blocks (blocks, values); groups beyond its end begin it anew.
    """
    size = lane.shape[0] // WIDE
    at = first * size % importance.size
    if at + count * size <= importance.size:
        gather(importance, at, count, lane)
        return
    for k in range(WIDE):
        at = (first + k) * size % importance.size
        for i in range(size):
            lane[WIDE * i + k] = pick(importance, at + i) if k < count else ZERO


@part
def sums_of_squares(x, at, size, sums):
    """sums[k] = Σx² of `size` weights from x[at + k · size] on, from left to right.

    sums: float32 (up to 8,). size: a multiple of 8.
    """
    if sums.shape[0] == WIDTH:
        tile = np.empty(WIDTH * WIDTH, np.float32)
        totals = splat(ZERO)
        for i in range(at, at + size, WIDTH):
            turn(x, i, size, tile, 0, WIDTH)
            for n in range(0, WIDTH * WIDTH, WIDTH):
                v = load(tile, n)
                totals = totals + v * v
        store(sums, 0, totals)
        return
    for k in range(sums.shape[0]):
        total = ZERO
        for i in range(at + k * size, at + (k + 1) * size):
            total += pick(x, i) * pick(x, i)
        sums[k] = total


@part
def important(lane, power, weights):
    """Turn importances in lanes into what errors count: importance · sqrt(power + x²); gives each lane's sum.

    power: of each lane's block.
    """
    total = splat_wide(ZERO)
    for i in range(0, lane.shape[0], WIDE):
        v = load_wide(lane, i)
        w = load_wide(weights, i) * root(v * v + power)
        store(weights, i, w)
        total = total + w
    return total
