"""Kernels of the formats of one and two bits with one scale a block: Q1_0, Q2_0."""

import numpy as np

from quantlib.formats.kernels.magnitudes import INFINITE, larger_size, largest_magnitude, rounded_away
from quantlib.formats.kernels.scalar import NONE, ONE, ZERO, kernel, read_half, write_half
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import (
    as_floats,
    flag_bits,
    lanes,
    larger,
    load,
    pick,
    put,
    select,
    smaller,
    splat,
    store,
)


@kernel
def encode_q1_0(x, out):
    """x: float32 (blocks, 128) -> out: uint8 (blocks, 18)."""
    size = NONE
    for b in range(x.shape[0]):
        total = ZERO  # in order, which is what takes the time
        for i in range(128 * b, 128 * b + 128):
            total += abs(pick(x, i))
        size = larger_size(size, largest_magnitude(x, 128 * b, 128))
        write_half(total / np.float32(128), out, 18 * b)
        for byte in range(16):
            put(out, 18 * b + 2 + byte, flag_bits(load(x, 128 * b + 8 * byte) >= ZERO))
    return np.int32(size).view(np.float32)


@kernel
def decode_q1_0(data, out):
    """data: uint8 (blocks, 18) -> out: float32 (blocks, 128)."""
    for b in range(data.shape[0]):
        d = splat(read_half(data, 18 * b))
        for byte in range(16):
            plus = (splat(np.int32(pick(data, 18 * b + 2 + byte))) >> lanes(0, 1)) & 1
            store(out, 128 * b + 8 * byte, select(plus == 1, d, d * -ONE))


@inlined
def q2_codes(x, inverse):
    """The codes of eight weights as bits at the place of each in its byte of four."""
    code = smaller(larger(rounded_away(x * inverse) + 1, NONE), np.int32(3))
    return code << (lanes(0, 2) & 7)


@kernel
def encode_q2_0(x, out):
    """x: float32 (blocks, 64) -> out: uint8 (blocks, 18)."""
    placed = np.empty(8, np.int32)
    size = NONE
    for b in range(x.shape[0]):
        d = largest_magnitude(x, 64 * b, 64)
        size = larger_size(size, d)
        inverse = ONE / d
        usable = inverse < INFINITE  # below 2**-128 it is not, and ggml's codes are the lowest; for d = 0 they are 1
        write_half(d, out, 18 * b)
        for i in range(8):
            store(placed, 0, q2_codes(load(x, 64 * b + 8 * i), inverse if usable else ZERO))
            low = placed[0] | placed[1] | placed[2] | placed[3]
            high = placed[4] | placed[5] | placed[6] | placed[7]
            put(out, 18 * b + 2 + 2 * i, low)
            put(out, 18 * b + 3 + 2 * i, high)
        if not usable and d != ZERO:
            out[b, 2:] = 0
    return np.int32(size).view(np.float32)


@kernel
def decode_q2_0(data, out):
    """data: uint8 (blocks, 18) -> out: float32 (blocks, 64)."""
    for b in range(data.shape[0]):
        d = read_half(data, 18 * b)
        for i in range(8):
            at = 18 * b + 2 + 2 * i
            both = np.int32(pick(data, at)) | np.int32(pick(data, at + 1)) << np.int32(8)
            codes = (splat(np.int32(both)) >> lanes(0, 2)) & 3
            store(out, 64 * b + 8 * i, as_floats(codes - 1) * d)
