"""How the scales of a super-block's groups are stored themselves: whole numbers of a super-scale."""

import numpy as np

from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import LEAST, ONE, ZERO, nearest_int
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import (
    WIDTH,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    load,
    pick_word,
    select,
    smaller,
    splat,
    store,
    turn,
)

TENTH = np.float32(0.1)


@part
def nearest_sub_codes(values, levels, codes):
    """Sub-codes of a super-block's scales against the largest of them, `levels`; gives the super-scale."""
    largest = ZERO
    for j in range(values.shape[0]):
        largest = values[j] if values[j] > largest else largest
    inverse = np.float32(levels) / largest if largest > ZERO else ZERO
    for j in range(values.shape[0]):
        codes[j] = np.uint8(nearest_int(inverse * values[j]))
    return largest / np.float32(levels)


@part
def turn_groups(found, across, lanes):
    """A number of each group of blocks, found (lanes, groups), to lanes of blocks: across (groups · lanes,)."""
    groups = found.shape[1]
    for first in range(0, lanes, WIDTH):
        for g in range(0, groups, WIDTH):
            turn(found, first * groups + g, groups, across, lanes * g + first, lanes)


@part
def positive_sub_codes(values, totals, levels, products, found, codes):
    """Sub-codes of eight super-blocks' scales or minima, one block in each lane; gives the eight super-scales.

    values, totals: float32 (groups · 8,); products, found: scratch of that size. codes: uint8 (8, groups).
    """
    for i in range(0, values.shape[0], WIDTH):
        store(products, i, load(totals, i) * load(values, i))
    scale = positive_scale(values, totals, products, found, levels)
    for b in range(WIDTH):
        for j in range(codes.shape[1]):
            codes[b, j] = np.uint8(pick_word(found, WIDTH * j + b))
    return scale


@part
def positive_scale(lane, weights, products, codes, levels):
    """Fit of one scale to magnitudes, eight times (kernel of `blocks.search.positive_scale`).

    lane, weights, products: float32 (8n,), eight groups side by side, what their errors count, and weights · lane.
    codes gets the codes 0 … levels, as bits of whole numbers. Gives the scale.
    """
    top = np.int32(levels)
    flevels = np.float32(levels)
    largest = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        v = load(lane, i)
        largest = select(largest > v, largest, v)
    inverse = splat(flevels) / largest
    best = splat(ZERO)
    for t in range(9):
        s = t - 5 if t < 5 else t - 4  # first the plain scale, then −4 … −1, 1 … 4
        trial = inverse if t == 0 else splat(flevels + TENTH * np.float32(s)) / largest
        scale = splat(ONE) / trial
        error = splat(ZERO)
        for i in range(0, lane.shape[0], WIDTH):
            v = load(lane, i)
            code = nearest_ints(trial * v)
            code = code & 255 if t == 0 else smaller(code, top)
            miss = v - scale * as_floats(code)
            error = error + load(weights, i) * miss * miss
        better = error < best if t > 0 else error >= error
        best = error if t == 0 else select(better, error, best)
        inverse = inverse if t == 0 else select(better, trial, inverse)
    sum_xl = splat(ZERO)
    sum_l2 = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        code = smaller(nearest_ints(inverse * load(lane, i)), top)
        store(codes, i, floats_of(code & 255))
        value = as_floats(code)
        sum_xl = sum_xl + load(products, i) * value
        sum_l2 = sum_l2 + load(weights, i) * value * value
    sum_xl, sum_l2 = moved_codes(lane, weights, products, codes, top, sum_xl, sum_l2)
    nothing = largest < LEAST
    for i in range(0, lane.shape[0], WIDTH):
        store(codes, i, select(nothing, ZERO, load(codes, i)))
    return select(nothing, ZERO, select(sum_l2 > ZERO, sum_xl / sum_l2, ZERO))


@inlined
def moved_codes(lane, weights, products, codes, top, sum_xl, sum_l2):
    """Move each code in turn to where it fits best against the scale that the others imply; gives the sums then."""
    for _ in range(5):
        moved = 0
        for i in range(0, lane.shape[0], WIDTH):
            old = bits_of(load(codes, i))
            v, w, wx = load(lane, i), load(weights, i), load(products, i)
            rest_xl = sum_xl - wx * as_floats(old)
            rest_l2 = sum_l2 - w * as_floats(old) * as_floats(old)
            code = smaller(nearest_ints(v * rest_l2 / rest_xl), top)
            value = as_floats(code)
            new_xl = rest_xl + wx * value
            new_l2 = rest_l2 + w * value * value
            better = (rest_xl > ZERO) & (rest_l2 > ZERO) & ((code < old) | (code > old))
            better = better & (new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2)
            store(codes, i, floats_of(select(better, code & 255, old)))
            sum_xl = select(better, new_xl, sum_xl)
            sum_l2 = select(better, new_l2, sum_l2)
            moved |= flag_bits(better)
        if not moved:
            break
    return sum_xl, sum_l2
