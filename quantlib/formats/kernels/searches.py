"""The scale searches of sixteen groups at once: the kernels of `blocks.search`, where their ideas are explained.

lane, weights: float32 (16n,), the groups side by side (see `lanes`) and what their errors count. Every number found is
a vector, one of each group. codes: scratch (16n,), which holds what the docstring says afterwards.
"""

import numpy as np

from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import LEAST, MAGIC, NONE, ONE, ZERO
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import (
    WIDE,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    larger,
    load_wide,
    magnitude,
    select,
    smaller,
    splat_wide,
    store,
)

TENTH = np.float32(0.1)
NAN = np.float32(np.nan)
ORDINARY = np.float32(1 << 22)  # below it the magic number rounds without wrapping around
ZERO_BITS = MAGIC.view(np.int32)
EVERY = (1 << WIDE) - 1  # lane


@inlined
def held_codes(v, low, high):
    """The nearest whole numbers of some v, held to [low, high]: `scalar.clamped_int`."""
    return smaller(larger(nearest_ints(v), low), high)


@inlined
def held(v, low, high):
    """The same as floats."""
    return as_floats(held_codes(v, low, high))


@inlined
def held_ordinary(v, low, high):
    """The same of numbers that `ORDINARY` bounds: held while they still lie in the low bits of the magic number."""
    return floats_of(smaller(larger(bits_of(v + MAGIC), ZERO_BITS + low), ZERO_BITS + high)) - MAGIC


@inlined
def counted(miss, absolute):
    """What a miss counts: its magnitude or its square."""
    return magnitude(miss) if absolute else miss * miss


@part
def scale_and_minimum(lane, weights, codes, top, first, step, steps, absolute):
    """Search of d and m (kernel of `blocks.search.scale_and_minimum`).

    absolute: an error counts |miss|, not its square. Gives scale, minimum, and the inverse scale and low end that made
    the winner's codes. codes: scratch.
    """
    size = lane.shape[0]
    flevels = np.float32(top)
    lowest = high = load_wide(lane, 0)
    sum_w = load_wide(weights, 0)
    sum_x = sum_w * lowest
    for i in range(WIDE, size, WIDE):
        v, w = load_wide(lane, i), load_wide(weights, i)
        lowest = select(v < lowest, v, lowest)
        high = select(v > high, v, high)
        sum_w = sum_w + w
        sum_x = sum_x + w * v
    bottom = select(lowest > ZERO, ZERO, lowest)  # the low end now; it moves when a candidate wins
    low = bottom
    flat = high == bottom
    inverse = splat_wide(flevels) / (high - bottom)
    scale = splat_wide(ONE) / inverse
    best = splat_wide(ZERO)
    for i in range(0, size, WIDE):
        v = load_wide(lane, i)
        miss = scale * held(inverse * (v - bottom), NONE, top) + bottom - v
        best = best + load_wide(weights, i) * counted(miss, absolute)
    for s in range(steps + 1):
        trial = splat_wide(first + step * np.float32(s) + flevels) / (high - bottom)
        ordinary = magnitude(trial * (high - bottom)) < ORDINARY
        ordinary = ordinary & (magnitude(trial * (lowest - bottom)) < ORDINARY)
        sum_l = splat_wide(ZERO)
        sum_l2 = splat_wide(ZERO)
        sum_xl = splat_wide(ZERO)
        if flag_bits(ordinary) == EVERY:
            for i in range(0, size, WIDE):
                store(codes, i, held_ordinary(trial * (load_wide(lane, i) - bottom), NONE, top))
        else:
            for i in range(0, size, WIDE):
                store(codes, i, held(trial * (load_wide(lane, i) - bottom), NONE, top))
        for i in range(0, size, WIDE):
            code = load_wide(codes, i)
            wl = load_wide(weights, i) * code
            sum_l = sum_l + wl
            sum_l2 = sum_l2 + wl * code
            sum_xl = sum_xl + wl * load_wide(lane, i)
        spread = sum_w * sum_l2 - sum_l * sum_l
        slope = (sum_w * sum_xl - sum_x * sum_l) / spread
        start = (sum_l2 * sum_x - sum_l * sum_xl) / spread
        above = start > ZERO
        trial_low = select(above, ZERO, start)
        trial_scale = select(above, sum_xl / sum_l2, slope)
        error = splat_wide(ZERO)
        for i in range(0, size, WIDE):
            miss = trial_scale * load_wide(codes, i) + trial_low - load_wide(lane, i)
            error = error + load_wide(weights, i) * counted(miss, absolute)
        better = (spread > ZERO) & (error < best)
        best = select(better, error, best)
        scale = select(better, trial_scale, scale)
        inverse = select(better, trial, inverse)
        low = select(better, bottom, low)
        bottom = select(better, trial_low, bottom)
    # a group without spread has codes and a scale of zero
    return select(flat, ZERO, scale), bottom * -ONE, select(flat, ZERO, inverse), low


@part
def of_largest_size(lane):
    """The number of largest magnitude, the first among equals, and that magnitude."""
    largest = size = splat_wide(ZERO)
    for i in range(0, lane.shape[0], WIDE):
        v = load_wide(lane, i)
        more = magnitude(v) > size
        size = select(more, magnitude(v), size)
        largest = select(more, v, largest)
    return largest, size


@inlined
def symmetric_codes(inverse, v, levels):
    """The codes of some v, −levels … levels − 1, for inverse scales that `symmetric_scale` found."""
    return select(inverse == inverse, held_codes(inverse * v, -levels, levels - np.int32(1)), -levels)


@part
def symmetric_scale(lane, weights, products, levels, finite):
    """Search of d alone (kernel of `blocks.search.symmetric_scale`).

    Gives scale, and the inverse scale that made the winner's codes; NaN for a zero group, whose codes are all −levels.
    products: scratch (16n,). finite: whether NaN and infinity cannot occur.
    """
    bottom, top = np.int32(-levels), np.int32(levels - 1)
    flevels = np.float32(levels)
    largest, size = of_largest_size(lane)
    for i in range(0, lane.shape[0], WIDE):
        store(products, i, load_wide(weights, i) * load_wide(lane, i))
    scale = best = inverse = splat_wide(ZERO)
    for t in range(19):
        s = t - 10 if t < 10 else t - 9  # first the plain scale, then −9 … −1, 1 … 9
        trial = splat_wide(-flevels if t == 0 else -(flevels + TENTH * np.float32(s))) / largest
        sum_xl = splat_wide(ZERO)
        sum_l2 = splat_wide(ZERO)
        for i in range(0, lane.shape[0], WIDE):
            v = trial * load_wide(lane, i)
            code = held_ordinary(v, bottom, top) if finite else held(v, bottom, top)  # below LEAST it does not matter
            sum_xl = sum_xl + load_wide(products, i) * code
            sum_l2 = sum_l2 + load_wide(weights, i) * code * code
        fit = sum_xl / sum_l2
        if t == 0:
            scale = select(sum_l2 == ZERO, ZERO, fit)
            best = scale * sum_xl
            inverse = trial
        else:
            better = (sum_l2 > ZERO) & (sum_xl * sum_xl > best * sum_l2)
            scale = select(better, fit, scale)
            best = select(better, fit * sum_xl, best)
            inverse = select(better, trial, inverse)
    nothing = size < LEAST
    return select(nothing, ZERO, scale), select(nothing, NAN, inverse)


@part
def refined_scale(lane, weights, codes, levels):
    """Search of d, code by code (kernel of `blocks.search.refined_scale`). Gives scale; codes: the codes as floats."""
    bottom, top = np.int32(-levels), np.int32(levels - 1)
    largest, magnitudes = of_largest_size(lane)
    inverse = splat_wide(np.float32(bottom)) / largest
    sum_xl = splat_wide(ZERO)
    sum_l2 = splat_wide(ZERO)
    for i in range(0, lane.shape[0], WIDE):
        v, w = load_wide(lane, i), load_wide(weights, i)
        code = held(inverse * v, bottom, top)
        store(codes, i, code)
        sum_xl = sum_xl + w * v * code
        sum_l2 = sum_l2 + w * code * code
    for _ in range(5):
        moved = 0
        for i in range(0, lane.shape[0], WIDE):
            v, w, old = load_wide(lane, i), load_wide(weights, i), load_wide(codes, i)
            rest_xl = sum_xl - w * v * old
            rest_l2 = sum_l2 - w * old * old
            new = held(v * rest_l2 / rest_xl, bottom, top)
            new_xl = rest_xl + w * v * new
            new_l2 = rest_l2 + w * new * new
            better = (rest_xl > ZERO) & ((new < old) | (new > old)) & (new_l2 > ZERO)
            better = better & (new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2)
            store(codes, i, select(better, new, old))
            sum_xl = select(better, new_xl, sum_xl)
            sum_l2 = select(better, new_l2, sum_l2)
            moved |= flag_bits(better)
        if not moved:
            break
    nothing = magnitudes < LEAST
    for i in range(0, lane.shape[0], WIDE):
        store(codes, i, select(nothing, np.float32(bottom), load_wide(codes, i)))
    return select(nothing, ZERO, select(sum_l2 > ZERO, sum_xl / sum_l2, ZERO))
