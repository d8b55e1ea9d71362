"""Kernels of the formats of three levels: TQ1_0, TQ2_0."""

import numpy as np

from quantlib.formats.kernels.scalar import HALF, ONE, ZERO, kernel, part, read_half, write_half

PARTS = ((0, 0, 32, 5), (160, 32, 16, 5), (240, 48, 4, 4))  # of TQ1_0: first weight, first byte, bytes, digits
POWERS = np.array([1, 3, 9, 27, 81], np.uint8)


@part
def ternary_levels(x, levels):
    """Levels 0, 1, 2 of 256 weights (kernel of `blocks.ternary.ternary_levels`); gives the scale."""
    d = ZERO
    for i in range(256):
        a = abs(x[i])
        d = a if a > d else d
    inverse = ONE / d if d != ZERO else ZERO
    for i in range(256):
        v = x[i] * inverse
        if v - v != ZERO:  # no number
            levels[i] = 1
        else:
            levels[i] = np.uint8(0 if v <= -HALF else 2 if v >= HALF else 1)
    return d


@kernel
def encode_tq2_0(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 66)."""
    levels = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        write_half(ternary_levels(x[b], levels), out[b], 64)
        for half in range(2):
            for i in range(32):
                at = 128 * half + i
                low = levels[at] | (levels[at + 32] << 2)
                out[b, 32 * half + i] = low | (levels[at + 64] << 4) | (levels[at + 96] << 6)


@kernel
def decode_tq2_0(data, out):
    """data: uint8 (blocks, 66) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 64)
        for half in range(2):
            for shift in range(4):
                for i in range(32):
                    level = (data[b, 32 * half + i] >> (2 * shift)) & 3
                    out[b, 128 * half + 32 * shift + i] = d * np.float32(np.int32(level) - 1)


@kernel
def encode_tq1_0(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 54)."""
    levels = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        write_half(ternary_levels(x[b], levels), out[b], 52)
        for first, byte, size, digits in PARTS:
            for i in range(size):
                number = 0
                for digit in range(5):
                    number *= 3
                    if digit < digits:
                        number += levels[first + digit * size + i]
                out[b, byte + i] = np.uint8((number * 256 + 242) // 243)


@kernel
def decode_tq1_0(data, out):
    """data: uint8 (blocks, 54) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 52)
        for first, byte, size, digits in PARTS:
            for digit in range(digits):
                for i in range(size):
                    shifted = np.uint8(data[b, byte + i] * POWERS[digit])
                    level = (np.int32(shifted) * 3) >> 8
                    out[b, first + digit * size + i] = d * np.float32(level - 1)
