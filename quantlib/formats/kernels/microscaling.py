"""Kernels of the four-bit floats under a shared scale: MXFP4, NVFP4."""

import numpy as np

from quantlib.formats.blocks.microscaling import VALUES, power_of_two, small_float
from quantlib.formats.kernels.scalar import HALF, ZERO, kernel, part

TABLE = VALUES.astype(np.float32)
POWERS = power_of_two(np.arange(256, dtype=np.uint8))
SMALL = small_float(np.arange(256, dtype=np.uint8))


@part
def largest_magnitude(x):
    """max|x| of a few weights."""
    largest = ZERO
    for i in range(x.shape[0]):
        a = abs(x[i])
        largest = a if a > largest else largest
    return largest


@part
def write_codes(x, scale, miss, codes, out):
    """The nearest values of a few weights, the first half in the low bits. miss, codes: scratch."""
    n = x.shape[0]
    for i in range(n):
        miss[i] = abs(TABLE[0] * scale - x[i])
        codes[i] = 0
    for c in range(1, 16):
        level = TABLE[c] * scale
        for i in range(n):
            other = abs(level - x[i])
            nearer = other < miss[i]
            miss[i] = other if nearer else miss[i]
            codes[i] = np.int32(c) if nearer else codes[i]
    half = n // 2
    for i in range(half):
        out[i] = np.uint8(codes[i] | (codes[half + i] << 4))


@part
def read_codes(data, scale, half, out):
    """2 · half weights from two codes a byte."""
    for i in range(half):
        out[i] = scale * TABLE[data[i] & 15]
        out[half + i] = scale * TABLE[data[i] >> 4]


@part
def to_small_float(x):
    """The nearest unsigned E4M3 (kernel of `blocks.microscaling.to_small_float`)."""
    x = min(x, np.float32(448))
    if x < np.float32(2.0**-6):
        return np.uint8(min(np.int32(x * np.float32(512) + HALF), np.int32(7)))
    bits = np.int64(np.float32(x).view(np.uint32))
    normal = ((bits + (1 << 19)) >> 20) - ((127 - 7) << 3)
    return np.uint8(126 if normal >= 120 else normal)


@kernel
def encode_mxfp4(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 17)."""
    miss = np.empty(32, np.float32)
    codes = np.empty(32, np.int32)
    for b in range(x.shape[0]):
        largest = largest_magnitude(x[b])
        e = np.uint8(0)
        if largest > ZERO:
            e = np.uint8(np.int32(np.floor(np.float32(np.log2(np.float64(largest))))) + np.int32(125))
        out[b, 0] = e
        write_codes(x[b], POWERS[e], miss, codes, out[b, 1:])


@kernel
def encode_nvfp4(x, out):
    """x: float32 (blocks, 64) -> out: uint8 (blocks, 36)."""
    miss = np.empty(16, np.float32)
    codes = np.empty(16, np.int32)
    for b in range(x.shape[0]):
        for j in range(4):
            group = x[b, 16 * j : 16 * j + 16]
            e = to_small_float(largest_magnitude(group) / np.float32(6))
            out[b, j] = e
            write_codes(group, SMALL[e], miss, codes, out[b, 4 + 8 * j :])


@kernel
def decode_mxfp4(data, out):
    """data: uint8 (blocks, 17) -> out: float32 (blocks, 32)."""
    for b in range(data.shape[0]):
        read_codes(data[b, 1:], POWERS[data[b, 0]], 16, out[b])


@kernel
def decode_nvfp4(data, out):
    """data: uint8 (blocks, 36) -> out: float32 (blocks, 64)."""
    for b in range(data.shape[0]):
        for j in range(4):
            read_codes(data[b, 4 + 8 * j :], SMALL[data[b, j]], 8, out[b, 16 * j :])
