"""Small pieces every kernel uses, with ggml's exact results for every float32 input."""

import numpy as np

from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.quick_loading import compiled
from quantlib.numba_runtime.vectors import pick, put

# No fastmath: every operation rounds to float32 on its own and in the order written, which makes ggml's bytes.
# The error model is C's: a division by zero gives infinity or NaN. nogil: other threads run meanwhile.
kernel = compiled(error_model="numpy")  # what `quantize` and `dequantize` call, kept on disk; `part`: what kernels call

ZERO = np.float32(0)
ONE = np.float32(1)
HALF = np.float32(0.5)
NONE = np.int32(0)
MAGIC = np.float32(12582912)  # 1.5 * 2**23: adding it leaves the nearest integer in the low bits
LOW_23 = np.int32(0x7FFFFF)
BIT_22 = np.int32(0x400000)
TWO_112 = np.float32(2.0**112)
LEAST = np.float32(1e-15)  # below it ggml takes a group of weights for zero


@part
def nearest_int(v):
    """Nearest integer, ties to even, through the magic number: infinities and overflow wrap as they do in ggml."""
    bits = np.float32(v + MAGIC).view(np.int32)
    return np.int32(np.int32(bits & LOW_23) - BIT_22)


@part
def clamped_int(v, low, high):
    """`nearest_int` held to [low, high]."""
    n = nearest_int(v)
    n = low if n < low else n
    return high if n > high else n


@part
def half_from_float(f):
    """Bits of the nearest half-precision float, ties to even."""
    w = np.float32(f).view(np.uint32)
    sign = np.uint32((w >> np.uint32(16)) & np.uint32(0x8000))
    a = np.uint32(w & np.uint32(0x7FFFFFFF))
    if a > np.uint32(0x7F800000):  # NaN
        h = np.uint32(0x7E00)
    elif a >= np.uint32(0x47800000):  # 65536 and more: infinity
        h = np.uint32(0x7C00)
    elif a < np.uint32(0x38800000):  # below 2**-14: adding 0.5 rounds to multiples of 2**-24
        h = np.uint32(np.float32(abs(f) + HALF).view(np.uint32) - np.uint32(0x3F000000))
    else:
        odd = np.uint32((a >> np.uint32(13)) & np.uint32(1))
        h = np.uint32((a + np.uint32(0xFFF) + odd - np.uint32(112 << 23)) >> np.uint32(13))
    return np.uint16(sign | h)


@part
def float_from_half(h):
    """The value of half-precision bits."""
    w = np.uint32(h)
    a = np.uint32((w & np.uint32(0x7FFF)) << np.uint32(13))
    if a >= np.uint32(0x0F800000):  # infinity and NaN keep their exponent of ones
        v = np.uint32(a | np.uint32(0x7F800000)).view(np.float32)
    else:
        v = np.uint32(a).view(np.float32) * TWO_112
    return -v if w & np.uint32(0x8000) else v


@part
def read_half(data, at):
    """The half-precision float in bytes at, at+1."""
    return float_from_half(np.uint32(pick(data, at)) | (np.uint32(pick(data, at + 1)) << np.uint32(8)))


@part
def write_half(value, data, at):
    """Store a float in half precision at bytes at, at+1; gives back the value as stored."""
    h = half_from_float(value)
    put(data, at, h & np.uint16(0xFF))
    put(data, at + 1, h >> np.uint16(8))
    return float_from_half(h)
