"""Kernels of the formats of one and two bits with one scale a block: Q1_0, Q2_0."""

import numpy as np

from quantlib.formats.kernels.scalar import HALF, ONE, ZERO, kernel, read_half, write_half


@kernel
def encode_q1_0(x, out):
    """x: float32 (blocks, 128) -> out: uint8 (blocks, 18)."""
    for b in range(x.shape[0]):
        total = ZERO
        for i in range(128):
            total += abs(x[b, i])
        write_half(total / np.float32(128), out[b], 0)
        for byte in range(16):
            signs = 0
            for i in range(8):
                signs |= int(x[b, 8 * byte + i] >= ZERO) << i
            out[b, 2 + byte] = np.uint8(signs)


@kernel
def decode_q1_0(data, out):
    """data: uint8 (blocks, 18) -> out: float32 (blocks, 128)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        for byte in range(16):
            signs = data[b, 2 + byte]
            for i in range(8):
                out[b, 8 * byte + i] = d if (signs >> i) & 1 else -d


@kernel
def encode_q2_0(x, out):
    """x: float32 (blocks, 64) -> out: uint8 (blocks, 18)."""
    for b in range(x.shape[0]):
        d = ZERO
        for i in range(64):
            a = abs(x[b, i])
            d = a if a > d else d
        inverse = ONE / d if d > ZERO else ZERO
        write_half(d, out[b], 0)
        for byte in range(16):
            codes = 0
            for i in range(4):
                v = x[b, 4 * byte + i] * inverse
                whole = np.trunc(v)
                away = ONE if abs(v - whole) >= HALF else ZERO
                near = whole + (away if v > ZERO else -away)
                # The inverse of a scale below 2**-128 is infinite, and what has no integer is the lowest code.
                code = min(max(np.int32(near) + 1, 0), 3) if abs(near) <= np.float32(2) else 0
                codes |= code << (2 * i)
            out[b, 2 + byte] = np.uint8(codes)


@kernel
def decode_q2_0(data, out):
    """data: uint8 (blocks, 18) -> out: float32 (blocks, 64)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        for byte in range(16):
            for i in range(4):
                out[b, 4 * byte + i] = np.float32(np.int32((data[b, 2 + byte] >> (2 * i)) & 3) - 1) * d
