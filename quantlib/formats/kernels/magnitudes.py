"""The largest magnitude of weights, and rounding them: what encoders without a search share."""

import numpy as np

from quantlib.formats.kernels.scalar import BIT_22, HALF, LOW_23, MAGIC, ZERO
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import as_ints, bits_of, floats_of, larger, largest_of, load, magnitude, select

INFINITE = np.float32(np.inf)
BUT_SIGN = np.int32(0x7FFFFFFF)
SIGN = np.int32(-0x80000000)
BELOW_HALF, REBIAS, HALF_BITS = np.int32(0xFFF), np.int32(112 << 23), HALF.view(np.int32)
SMALLEST_NORMAL, OVERFLOW, INFINITY = np.int32(0x38800000), np.int32(0x47800000), np.int32(0x7F800000)
HALF_INFINITY, HALF_NAN, HALF_SIGN = np.int32(0x7C00), np.int32(0x7E00), np.int32(0x8000)
NEARLY_HALF = np.nextafter(HALF, ZERO).view(np.int32)


@inlined
def larger_size(size, v):
    """The larger of two magnitudes as whole numbers, the first being one; infinity and NaN are the largest."""
    return max(np.int32(size), np.int32(np.float32(v).view(np.int32) & BUT_SIGN))


@inlined
def nearest_ints(v):
    """`scalar.nearest_int` of eight numbers."""
    return (bits_of(v + MAGIC) & LOW_23) - BIT_22


@inlined
def rounded_away(v):
    """Eight nearest whole numbers, ties away from zero, of magnitudes below 2**23.

    Just less than a half is added, so that only sums that rounding lifts reach the next number.
    """
    return as_ints(v + floats_of(bits_of(v) & SIGN | NEARLY_HALF))


@inlined
def largest_magnitude(x, at, count):
    """max|x| of `count` weights, a multiple of 16, from x[at] on."""
    a, b = bits_of(load(x, at)) & BUT_SIGN, bits_of(load(x, at + 8)) & BUT_SIGN
    for i in range(at + 16, at + count, 16):
        a = larger(a, bits_of(load(x, i)) & BUT_SIGN)
        b = larger(b, bits_of(load(x, i + 8)) & BUT_SIGN)
    return np.int32(largest_of(larger(a, b))).view(np.float32)


@inlined
def halves_of(v):
    """`scalar.half_from_float` of eight numbers."""
    w = bits_of(v)
    a = w & BUT_SIGN
    normal = (a + BELOW_HALF + (a >> 13 & 1) - REBIAS) >> 13
    small = bits_of(magnitude(v) + HALF) - HALF_BITS
    half = select(a < SMALLEST_NORMAL, small, normal)
    half = select(a >= OVERFLOW, HALF_INFINITY, half)
    return select(a > INFINITY, HALF_NAN, half) | (w >> 16 & HALF_SIGN)
