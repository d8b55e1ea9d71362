"""Kernels of the formats of three levels: TQ1_0, TQ2_0."""

import numpy as np

from quantlib.formats.kernels.magnitudes import INFINITE, larger_size, largest_magnitude
from quantlib.formats.kernels.scalar import HALF, NONE, ONE, ZERO, kernel, read_half, write_half
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import as_floats, as_ints, load, pick, put, select, splat, store

MIDDLE = np.int32(1)
PARTS = ((0, 0, 32, 5), (160, 32, 16, 5), (240, 48, 4, 4))  # of TQ1_0: first weight, first byte, bytes, digits


@inlined
def inverse_of(d):
    """1 / d, and 0 where that is no number: then every level is the middle one."""
    inverse = ONE / d
    return inverse if inverse < INFINITE else ZERO


@inlined
def levels_of(x, inverse):
    """Levels 0, 1, 2 of eight weights (kernel of `blocks.ternary.ternary_levels`)."""
    v = x * inverse
    return select(v >= HALF, splat(np.int32(2)), select(v <= -HALF, splat(NONE), MIDDLE))


@kernel
def encode_tq2_0(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 66)."""
    size = NONE
    for b in range(x.shape[0]):
        d = largest_magnitude(x, 256 * b, 256)
        size = larger_size(size, d)
        inverse = inverse_of(d)
        write_half(d, out, 66 * b + 64)
        for half in range(2):
            for i in range(0, 32, 8):
                at = 256 * b + 128 * half + i
                low = levels_of(load(x, at), inverse) | levels_of(load(x, at + 32), inverse) << 2
                high = levels_of(load(x, at + 64), inverse) | levels_of(load(x, at + 96), inverse) << 2
                store(out, 66 * b + 32 * half + i, low | high << 4)
    return np.int32(size).view(np.float32)


@kernel
def decode_tq2_0(data, out):
    """data: uint8 (blocks, 66) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = splat(read_half(data, 66 * b + 64))
        for half in range(2):
            for i in range(0, 32, 8):
                levels = load(data, 66 * b + 32 * half + i)
                at = 256 * b + 128 * half + i
                for shift in range(4):
                    store(out, at + 32 * shift, d * as_floats((levels >> 2 * shift & 3) - 1))


@kernel
def encode_tq1_0(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 54)."""
    last = np.empty(16, np.int32)
    size = NONE
    for b in range(x.shape[0]):
        d = largest_magnitude(x, 256 * b, 256)
        size = larger_size(size, d)
        inverse = inverse_of(d)
        write_half(d, out, 54 * b + 52)
        for first, byte, wide, digits in PARTS[:2]:
            for i in range(0, wide, 8):
                number = levels_of(load(x, 256 * b + first + i), inverse)
                for digit in range(1, digits):
                    number = number * 3 + levels_of(load(x, 256 * b + first + digit * wide + i), inverse)
                store(out, 54 * b + byte + i, as_ints(as_floats(number * 256 + 242) / np.float32(243)))
        store(last, 0, levels_of(load(x, 256 * b + 240), inverse))
        store(last, 8, levels_of(load(x, 256 * b + 248), inverse))
        for i in range(4):
            number = ((last[i] * 3 + last[i + 4]) * 3 + last[i + 8]) * 3 + last[i + 12]
            put(out, 54 * b + 48 + i, (number * 3 * 256 + 242) // 243)
    return np.int32(size).view(np.float32)


@kernel
def decode_tq1_0(data, out):
    """data: uint8 (blocks, 54) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        scale = read_half(data, 54 * b + 52)
        d = splat(scale)
        for first, byte, wide, _ in PARTS[:2]:
            for i in range(0, wide, 8):
                fraction = load(data, 54 * b + byte + i)
                for digit in range(5):
                    level = fraction * 3 >> 8
                    fraction = fraction * 3 & 255
                    store(out, 256 * b + first + digit * wide + i, d * as_floats(level - 1))
        for i in range(4):
            fraction = np.int32(pick(data, 54 * b + 48 + i))
            for digit in range(4):
                put(out, 256 * b + 240 + 4 * digit + i, scale * np.float32((fraction * 3 >> 8) - 1))
                fraction = fraction * 3 & 255
