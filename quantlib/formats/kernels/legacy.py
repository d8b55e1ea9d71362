"""Kernels of the formats with one scale a block: Q8_0."""

import numpy as np

from quantlib.formats.kernels.scalar import HALF, ONE, ZERO, kernel, read_half, write_half


@kernel
def encode_q8_0(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 34)."""
    for b in range(x.shape[0]):
        largest = ZERO
        for i in range(32):
            a = abs(x[b, i])
            largest = a if a > largest else largest
        d = largest / np.float32(127)
        inverse = ONE / d if d != ZERO else ZERO
        write_half(d, out[b], 0)
        for i in range(32):
            v = x[b, i] * inverse
            whole = np.trunc(v)
            away = ONE if abs(v - whole) >= HALF else ZERO
            near = whole + (away if v > ZERO else -away)
            # The inverse of a scale below 2**-128 is infinite, and what has no integer is stored as 0.
            out[b, 2 + i] = np.uint8(np.int32(near) if abs(near) <= np.float32(128) else 0)


@kernel
def decode_q8_0(data, out):
    """data: uint8 (blocks, 34) -> out: float32 (blocks, 32)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        for i in range(32):
            out[b, i] = np.float32(np.int8(data[b, 2 + i])) * d
