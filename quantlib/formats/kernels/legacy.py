"""Kernels of the formats with one scale for a block of 32 weights: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

Formats of 4 and of 5 bits share their kernels: `bits` is an argument.
"""

import numpy as np

from quantlib.formats.kernels.lanes import gather, weights_by_importance
from quantlib.formats.kernels.scalar import (
    HALF,
    LANES,
    ONE,
    ZERO,
    clamped_int,
    kernel,
    part,
    read_half,
    write_half,
)
from quantlib.formats.kernels.searches import scale_and_minimum, symmetric_code, symmetric_scale

NONE = np.int32(0)


@part
def whole_code(v, top):
    """The integer part of v, `top` at most; 0 for what has no integer (the inverse of a tiny scale is infinite)."""
    return np.uint8(min(np.int32(v), top)) if abs(v) < np.float32(256) else np.uint8(0)


@part
def write_codes(codes, bits, out, at):
    """Thirty-two codes from byte `at` on: of five bits the highest first, in four bytes, then pairs of four bits."""
    if bits == 5:
        for byte in range(4):
            high = 0
            for i in range(8):
                high |= (codes[8 * byte + i] >> 4) << i
            out[at + byte] = np.uint8(high)
        at += 4
    for i in range(16):
        out[at + i] = (codes[i] & 15) | (codes[i + 16] << 4)


@part
def read_codes(data, bits, at, codes):
    """Undo `write_codes`."""
    high = np.uint32(0)
    if bits == 5:
        for byte in range(4):
            high |= np.uint32(np.uint32(data[at + byte]) << np.uint32(8 * byte))
        at += 4
    for i in range(32):
        codes[i] = np.int32(((high >> np.uint32(i)) & np.uint32(1)) << np.uint32(4))
    for i in range(16):
        codes[i] |= np.int32(data[at + i] & 15)
        codes[i + 16] |= np.int32(data[at + i] >> 4)


@part
def row_power(x, importance):
    """Mean square of every row, summed from left to right: float32 (rows,)."""
    blocks = max(importance.shape[0], 1)
    power = np.empty(x.shape[0] // blocks, np.float32)
    for row in range(power.shape[0]):
        total = ZERO
        for b in range(row * blocks, (row + 1) * blocks):
            for i in range(32):
                total += x[b, i] * x[b, i]
        power[row] = total / np.float32(blocks * 32)
    return power


@kernel
def encode_symmetric(x, out, bits):
    """Q4_0, Q5_0. x: float32 (blocks, 32) -> out: uint8 (blocks, 2 + 4 * bits)."""
    codes = np.empty(32, np.uint8)
    levels = np.float32(1 << (bits - 1))
    top = np.int32((1 << bits) - 1)
    for b in range(x.shape[0]):
        largest = ZERO
        size = ZERO
        for i in range(32):
            a = abs(x[b, i])
            if a > size:
                size = a
                largest = x[b, i]
        d = largest / -levels
        inverse = ONE / d if d != ZERO else ZERO
        write_half(d, out[b], 0)
        for i in range(32):
            codes[i] = whole_code(x[b, i] * inverse + (levels + HALF), top)
        write_codes(codes, bits, out[b], 2)


@kernel
def encode_symmetric_important(x, importance, out, bits):
    """Q4_0, Q5_0. importance: float32 (blocks of a row, 32)."""
    lanes = np.empty((32, LANES), np.float32)
    weights = np.empty((32, LANES), np.float32)
    scale = np.empty(LANES, np.float32)
    inverse = np.empty(LANES, np.float32)
    total = np.empty(LANES, np.float32)
    power = np.empty(LANES, np.float32)
    codes = np.empty(32, np.uint8)
    levels = np.int32(1 << (bits - 1))
    rows = row_power(x, importance)
    for start in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - start)
        gather(x, start, count, lanes)
        for b in range(count):
            power[b] = rows[(start + b) // importance.shape[0]]
        weights_by_importance(importance, start, count, power, lanes, weights, total)
        symmetric_scale(lanes, weights, levels, scale, inverse)
        for b in range(count):
            write_half(scale[b], out[start + b], 0)
            for i in range(32):
                codes[i] = np.uint8(symmetric_code(inverse[b], x[start + b, i], levels) + levels)
            write_codes(codes, bits, out[start + b], 2)


@kernel
def decode_symmetric(data, out, bits):
    """Q4_0, Q5_0. data: uint8 (blocks, 2 + 4 * bits) -> out: float32 (blocks, 32)."""
    codes = np.empty(32, np.int32)
    levels = np.int32(1 << (bits - 1))
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        read_codes(data[b], bits, 2, codes)
        for i in range(32):
            out[b, i] = np.float32(codes[i] - levels) * d


@kernel
def encode_minimum(x, out, bits):
    """Q4_1, Q5_1. x: float32 (blocks, 32) -> out: uint8 (blocks, 4 + 4 * bits)."""
    codes = np.empty(32, np.uint8)
    top = np.int32((1 << bits) - 1)
    for b in range(x.shape[0]):
        low = x[b, 0]
        high = x[b, 0]
        for i in range(1, 32):
            v = x[b, i]
            low = v if v < low else low
            high = v if v > high else high
        d = (high - low) / np.float32(top)
        inverse = ONE / d if d != ZERO else ZERO
        write_half(d, out[b], 0)
        write_half(low, out[b], 2)
        for i in range(32):
            codes[i] = whole_code((x[b, i] - low) * inverse + HALF, top)
        write_codes(codes, bits, out[b], 4)


@kernel
def encode_minimum_important(x, importance, out, bits):
    """Q4_1, Q5_1. importance: float32 (blocks of a row, 32)."""
    lanes = np.empty((32, LANES), np.float32)
    weights = np.empty((32, LANES), np.float32)
    found = np.empty((6, LANES), np.float32)
    scale, minimum, inverse, low, total, power = found[0], found[1], found[2], found[3], found[4], found[5]
    codes = np.empty(32, np.uint8)
    top = np.int32((1 << bits) - 1)
    rows = row_power(x, importance)
    for start in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - start)
        gather(x, start, count, lanes)
        for b in range(count):
            power[b] = rows[(start + b) // importance.shape[0]]
        weights_by_importance(importance, start, count, power, lanes, weights, total)
        scale_and_minimum(
            lanes, weights, top, np.float32(-0.9), np.float32(0.05), 36, False, scale, minimum, inverse, low
        )
        for b in range(count):
            write_half(scale[b], out[start + b], 0)
            write_half(-minimum[b], out[start + b], 2)
            for i in range(32):
                codes[i] = np.uint8(clamped_int(inverse[b] * (x[start + b, i] - low[b]), NONE, top))
            write_codes(codes, bits, out[start + b], 4)


@kernel
def decode_minimum(data, out, bits):
    """Q4_1, Q5_1. data: uint8 (blocks, 4 + 4 * bits) -> out: float32 (blocks, 32)."""
    codes = np.empty(32, np.int32)
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        m = read_half(data[b], 2)
        read_codes(data[b], bits, 4, codes)
        for i in range(32):
            out[b, i] = np.float32(codes[i]) * d + m


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
