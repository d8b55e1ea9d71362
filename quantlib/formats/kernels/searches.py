"""The scale searches of eight groups at once: the kernels of `blocks.search`, where their ideas are explained.

lane, weights: float32 (8n,), the groups side by side (see `lanes`) and what their errors count. Every number found is
a vector, one of each group. codes: scratch (8n,), which holds what the docstring says afterwards.
"""

import numpy as np

from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import LEAST, MAGIC, ONE, ZERO, inlined, part
from quantlib.formats.kernels.simd import (
    WIDTH,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    larger,
    load,
    magnitude,
    select,
    smaller,
    splat,
    store,
)

NONE = np.int32(0)
TENTH = np.float32(0.1)
NAN = np.float32(np.nan)
ORDINARY = np.float32(1 << 22)  # below it the magic number rounds without wrapping around
ZERO_BITS = MAGIC.view(np.int32)
ALL = 255


@inlined
def held_codes(v, low, high):
    """The nearest whole numbers of eight v, held to [low, high]: `scalar.clamped_int`."""
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
    lowest = high = load(lane, 0)
    sum_w = load(weights, 0)
    sum_x = sum_w * lowest
    for i in range(WIDTH, size, WIDTH):
        v, w = load(lane, i), load(weights, i)
        lowest = select(v < lowest, v, lowest)
        high = select(v > high, v, high)
        sum_w = sum_w + w
        sum_x = sum_x + w * v
    bottom = select(lowest > ZERO, ZERO, lowest)  # the low end now; it moves when a candidate wins
    low = bottom
    flat = high == bottom
    inverse = splat(flevels) / (high - bottom)
    scale = splat(ONE) / inverse
    best = splat(ZERO)
    for i in range(0, size, WIDTH):
        v = load(lane, i)
        miss = scale * held(inverse * (v - bottom), NONE, top) + bottom - v
        best = best + load(weights, i) * counted(miss, absolute)
    for s in range(steps + 1):
        trial = splat(first + step * np.float32(s) + flevels) / (high - bottom)
        ordinary = magnitude(trial * (high - bottom)) < ORDINARY
        ordinary = ordinary & (magnitude(trial * (lowest - bottom)) < ORDINARY)
        sum_l = splat(ZERO)
        sum_l2 = splat(ZERO)
        sum_xl = splat(ZERO)
        if flag_bits(ordinary) == ALL:
            for i in range(0, size, WIDTH):
                store(codes, i, held_ordinary(trial * (load(lane, i) - bottom), NONE, top))
        else:
            for i in range(0, size, WIDTH):
                store(codes, i, held(trial * (load(lane, i) - bottom), NONE, top))
        for i in range(0, size, WIDTH):
            code = load(codes, i)
            wl = load(weights, i) * code
            sum_l = sum_l + wl
            sum_l2 = sum_l2 + wl * code
            sum_xl = sum_xl + wl * load(lane, i)
        spread = sum_w * sum_l2 - sum_l * sum_l
        slope = (sum_w * sum_xl - sum_x * sum_l) / spread
        start = (sum_l2 * sum_x - sum_l * sum_xl) / spread
        above = start > ZERO
        trial_low = select(above, ZERO, start)
        trial_scale = select(above, sum_xl / sum_l2, slope)
        error = splat(ZERO)
        for i in range(0, size, WIDTH):
            miss = trial_scale * load(codes, i) + trial_low - load(lane, i)
            error = error + load(weights, i) * counted(miss, absolute)
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
    largest = size = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        v = load(lane, i)
        more = magnitude(v) > size
        size = select(more, magnitude(v), size)
        largest = select(more, v, largest)
    return largest, size


@inlined
def symmetric_codes(inverse, v, levels):
    """The codes of eight v, −levels … levels − 1, for inverse scales that `symmetric_scale` found."""
    return select(inverse == inverse, held_codes(inverse * v, -levels, levels - np.int32(1)), -levels)


@part
def symmetric_scale(lane, weights, products, levels, finite):
    """Search of d alone (kernel of `blocks.search.symmetric_scale`).

    Gives scale, and the inverse scale that made the winner's codes; NaN for a zero group, whose codes are all −levels.
    products: scratch (8n,). finite: whether NaN and infinity cannot occur.
    """
    bottom, top = np.int32(-levels), np.int32(levels - 1)
    flevels = np.float32(levels)
    largest, size = of_largest_size(lane)
    for i in range(0, lane.shape[0], WIDTH):
        store(products, i, load(weights, i) * load(lane, i))
    scale = best = inverse = splat(ZERO)
    for t in range(19):
        s = t - 10 if t < 10 else t - 9  # first the plain scale, then −9 … −1, 1 … 9
        trial = splat(-flevels if t == 0 else -(flevels + TENTH * np.float32(s))) / largest
        sum_xl = splat(ZERO)
        sum_l2 = splat(ZERO)
        for i in range(0, lane.shape[0], WIDTH):
            v = trial * load(lane, i)
            code = held_ordinary(v, bottom, top) if finite else held(v, bottom, top)  # below LEAST it does not matter
            sum_xl = sum_xl + load(products, i) * code
            sum_l2 = sum_l2 + load(weights, i) * code * code
        fit = sum_xl / sum_l2
        if t == 0:
            some = (sum_l2 < ZERO) | (sum_l2 > ZERO)
            scale = select(some, fit, ZERO)
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
    inverse = splat(np.float32(bottom)) / largest
    sum_xl = splat(ZERO)
    sum_l2 = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        v, w = load(lane, i), load(weights, i)
        code = held(inverse * v, bottom, top)
        store(codes, i, code)
        sum_xl = sum_xl + w * v * code
        sum_l2 = sum_l2 + w * code * code
    for _ in range(5):
        moved = 0
        for i in range(0, lane.shape[0], WIDTH):
            v, w, old = load(lane, i), load(weights, i), load(codes, i)
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
    for i in range(0, lane.shape[0], WIDTH):
        store(codes, i, select(nothing, np.float32(bottom), load(codes, i)))
    return select(nothing, ZERO, select(sum_l2 > ZERO, sum_xl / sum_l2, ZERO))


@part
def positive_scale(lane, weights, products, codes, levels):
    """Fit of one scale to magnitudes (kernel of `blocks.search.positive_scale`).

    products: weights · lane. codes gets the codes 0 … levels, as bits of whole numbers. Gives the scale.
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
