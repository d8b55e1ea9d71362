"""Kernels of the formats with one scale for a block of 32 weights: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

Formats of 4 and of 5 bits share their kernels: `bits` is an argument. A block is four vectors of eight. Encoders
without a search give back the largest magnitude of all weights, so that the caller sees infinities and NaN without
another look.
"""

import numpy as np

from quantlib.formats.kernels.lanes import gather, gather_importance, important
from quantlib.formats.kernels.magnitudes import (
    BUT_SIGN,
    INFINITE,
    halves_of,
    larger_size,
    largest_magnitude,
    rounded_away,
)
from quantlib.formats.kernels.scalar import HALF, NONE, ONE, ZERO, kernel, read_half, write_half
from quantlib.formats.kernels.searches import held_codes, scale_and_minimum, symmetric_codes, symmetric_scale
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import (
    WIDE,
    WIDTH,
    as_floats,
    as_ints,
    bits_of,
    flag_bits,
    lanes,
    larger,
    largest_of,
    load,
    load_wide,
    magnitude,
    pick,
    put,
    put_word,
    select,
    smaller,
    splat,
    store,
    turn,
)


@part
def take_blocks(x, at, count, lane):
    """Turn `count` blocks from x[at] on into eight lanes; idle ones are zero. lane: float32 (256,)."""
    if count == WIDTH:
        for i in range(0, 32, WIDTH):
            turn(x, at + i, 32, lane, WIDTH * i, WIDTH)
        return
    for i in range(32):
        for k in range(WIDTH):
            put(lane, WIDTH * i + k, pick(x, at + 32 * k + i) if k < count else ZERO)


@inlined
def inverse_of(d):
    """1 / d, and 0 for d = 0."""
    return select(d == ZERO, ZERO, splat(ONE) / d)


@inlined
def write_codes(a, b, c, d, bits, out, at):
    """Thirty-two codes from byte `at` on: of five bits the highest first, in four bytes, then pairs of four bits."""
    if bits == 5:
        put(out, at, flag_bits(a > 15))
        put(out, at + 1, flag_bits(b > 15))
        put(out, at + 2, flag_bits(c > 15))
        put(out, at + 3, flag_bits(d > 15))
        at += 4
    store(out, at, (a & 15) | (c << 4))
    store(out, at + 8, (b & 15) | (d << 4))


@inlined
def read_codes(data, bits, at):
    """Undo `write_codes`."""
    pairs = at + 4 if bits == 5 else at
    first, second = load(data, pairs), load(data, pairs + 8)
    a, b, c, d = first & 15, second & 15, first >> 4, second >> 4
    if bits == 5:
        nth = lanes(0, 1)
        a = a | (splat(pick(data, at)) >> nth & 1) << 4
        b = b | (splat(pick(data, at + 1)) >> nth & 1) << 4
        c = c | (splat(pick(data, at + 2)) >> nth & 1) << 4
        d = d | (splat(pick(data, at + 3)) >> nth & 1) << 4
    return a, b, c, d


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


@inlined
def write_rounded(x, at, inverse, low, offset, bits, out, to):
    """Codes ⌊(x − low) · inverse + offset⌋ of 32 weights."""
    top = np.int32((1 << bits) - 1)
    a = smaller(as_ints((load(x, at) - low) * inverse + offset), top)
    b = smaller(as_ints((load(x, at + 8) - low) * inverse + offset), top)
    c = smaller(as_ints((load(x, at + 16) - low) * inverse + offset), top)
    d = smaller(as_ints((load(x, at + 24) - low) * inverse + offset), top)
    write_codes(a, b, c, d, bits, out, to)


@part
def keep_finite(inverse, offset, inverses, offsets):
    """Store what makes codes of eight blocks.

    A tiny scale has an infinite inverse; the products then have no whole part, and ggml's codes are 0.
    """
    finite = magnitude(inverse) < INFINITE
    store(inverses, 0, select(finite, inverse, ZERO))
    store(offsets, 0, select(finite, splat(offset), ZERO))


@kernel
def encode_symmetric(x, out, bits):
    """Q4_0, Q5_0. x: float32 (blocks, 32) -> out: uint8 (blocks, 2 + 4 * bits)."""
    lane = np.empty(256, np.float32)
    inverses, offsets, halves = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.int32)
    levels = np.float32(1 << (bits - 1))
    sizes = splat(NONE)
    for start in range(0, x.shape[0], WIDTH):
        count = min(WIDTH, x.shape[0] - start)
        take_blocks(x, 32 * start, count, lane)
        largest = splat(ZERO)  # of equal magnitudes the first
        size = splat(NONE)
        for i in range(0, 256, WIDTH):
            v = load(lane, i)
            bits_of_size = bits_of(v) & BUT_SIGN
            largest = select(bits_of_size > size, v, largest)
            size = larger(size, bits_of_size)
        sizes = larger(sizes, size)
        d = largest / -levels
        keep_finite(inverse_of(d), levels + HALF, inverses, offsets)
        store(halves, 0, halves_of(d))
        for b in range(count):
            to = (start + b) * out.shape[1]
            put_word(out, to, halves[b])  # and two bytes that the codes come over
            write_rounded(x, 32 * (start + b), inverses[b], ZERO, offsets[b], bits, out, to + 2)
    return np.int32(largest_of(sizes)).view(np.float32)


@kernel
def encode_symmetric_important(x, importance, out, bits):
    """Q4_0, Q5_0. importance: float32 (blocks of a row, 32)."""
    lane, weights, products = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(512, np.float32)
    scale, inverse, power = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    levels = np.int32(1 << (bits - 1))
    rows = row_power(x, importance)
    for start in range(0, x.shape[0], WIDE):
        count = min(WIDE, x.shape[0] - start)
        gather(x, 32 * start, count, lane)
        gather_importance(importance, start, count, weights)
        for b in range(count):
            power[b] = rows[(start + b) // importance.shape[0]]
        important(lane, load_wide(power, 0), weights)
        found = symmetric_scale(lane, weights, products, levels, True)
        store(scale, 0, found[0])
        store(inverse, 0, found[1])
        for b in range(count):
            at, to, by = 32 * (start + b), (start + b) * out.shape[1], splat(inverse[b])
            write_half(scale[b], out, to)
            first = symmetric_codes(by, load(x, at), levels) + levels
            second = symmetric_codes(by, load(x, at + 8), levels) + levels
            third = symmetric_codes(by, load(x, at + 16), levels) + levels
            fourth = symmetric_codes(by, load(x, at + 24), levels) + levels
            write_codes(first, second, third, fourth, bits, out, to + 2)


@kernel
def decode_symmetric(data, out, bits):
    """Q4_0, Q5_0. data: uint8 (blocks, 2 + 4 * bits) -> out: float32 (blocks, 32)."""
    levels = np.int32(1 << (bits - 1))
    for b in range(data.shape[0]):
        at = b * data.shape[1]
        d = read_half(data, at)
        codes = read_codes(data, bits, at + 2)
        store(out, 32 * b, as_floats(codes[0] - levels) * d)
        store(out, 32 * b + 8, as_floats(codes[1] - levels) * d)
        store(out, 32 * b + 16, as_floats(codes[2] - levels) * d)
        store(out, 32 * b + 24, as_floats(codes[3] - levels) * d)


@kernel
def encode_minimum(x, out, bits):
    """Q4_1, Q5_1. x: float32 (blocks, 32) -> out: uint8 (blocks, 4 + 4 * bits)."""
    lane = np.empty(256, np.float32)
    inverses, offsets, lows = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    halves = np.empty(WIDTH, np.int32)
    sizes = splat(NONE)
    for start in range(0, x.shape[0], WIDTH):
        count = min(WIDTH, x.shape[0] - start)
        take_blocks(x, 32 * start, count, lane)
        low = high = load(lane, 0)  # of zeros the first is the lowest
        for i in range(0, 256, WIDTH):
            v = load(lane, i)
            low = select(v < low, v, low)
            high = select(v > high, v, high)
            sizes = larger(sizes, bits_of(v) & BUT_SIGN)
        d = (high - low + ZERO) / np.float32((1 << bits) - 1)
        keep_finite(inverse_of(d), HALF, inverses, offsets)
        store(lows, 0, low)
        store(halves, 0, halves_of(d) | halves_of(low) << 16)
        for b in range(count):
            to = (start + b) * out.shape[1]
            put_word(out, to, halves[b])
            write_rounded(x, 32 * (start + b), inverses[b], lows[b], offsets[b], bits, out, to + 4)
    return np.int32(largest_of(sizes)).view(np.float32)


@kernel
def encode_minimum_important(x, importance, out, bits):
    """Q4_1, Q5_1. importance: float32 (blocks of a row, 32)."""
    lane, weights, trial = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(512, np.float32)
    scale, minimum, inverse = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    low, power = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    top = np.int32((1 << bits) - 1)
    rows = row_power(x, importance)
    for start in range(0, x.shape[0], WIDE):
        count = min(WIDE, x.shape[0] - start)
        gather(x, 32 * start, count, lane)
        gather_importance(importance, start, count, weights)
        for b in range(count):
            power[b] = rows[(start + b) // importance.shape[0]]
        important(lane, load_wide(power, 0), weights)
        found = scale_and_minimum(lane, weights, trial, top, np.float32(-0.9), np.float32(0.05), 36, False)
        store(scale, 0, found[0])
        store(minimum, 0, found[1])
        store(inverse, 0, found[2])
        store(low, 0, found[3])
        for b in range(count):
            at, to, by, from_ = 32 * (start + b), (start + b) * out.shape[1], inverse[b], low[b]
            write_half(scale[b], out, to)
            write_half(-minimum[b], out, to + 2)
            first = held_codes((load(x, at) - from_) * by, NONE, top)
            second = held_codes((load(x, at + 8) - from_) * by, NONE, top)
            third = held_codes((load(x, at + 16) - from_) * by, NONE, top)
            fourth = held_codes((load(x, at + 24) - from_) * by, NONE, top)
            write_codes(first, second, third, fourth, bits, out, to + 4)


@kernel
def decode_minimum(data, out, bits):
    """Q4_1, Q5_1. data: uint8 (blocks, 4 + 4 * bits) -> out: float32 (blocks, 32)."""
    for b in range(data.shape[0]):
        at = b * data.shape[1]
        d = read_half(data, at)
        m = read_half(data, at + 2)
        codes = read_codes(data, bits, at + 4)
        store(out, 32 * b, as_floats(codes[0]) * d + m)
        store(out, 32 * b + 8, as_floats(codes[1]) * d + m)
        store(out, 32 * b + 16, as_floats(codes[2]) * d + m)
        store(out, 32 * b + 24, as_floats(codes[3]) * d + m)


@inlined
def write_bytes(x, at, out, to):
    """Codes of 32 weights as signed bytes, the largest magnitude at 127; gives that magnitude and the scale."""
    largest = largest_magnitude(x, at, 32)
    d = largest / np.float32(127)
    inverse = ONE / d
    inverse = inverse if inverse < INFINITE else ZERO  # ggml's codes are 0 then, as they are for d = 0
    store(out, to, rounded_away(load(x, at) * inverse))
    store(out, to + 8, rounded_away(load(x, at + 8) * inverse))
    store(out, to + 16, rounded_away(load(x, at + 16) * inverse))
    store(out, to + 24, rounded_away(load(x, at + 24) * inverse))
    return largest, d


@kernel
def encode_q8_0(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 34)."""
    size = NONE
    for b in range(x.shape[0]):
        to = 34 * b
        largest, d = write_bytes(x, 32 * b, out, to + 2)
        size = larger_size(size, largest)
        write_half(d, out, to)
    return np.int32(size).view(np.float32)


@kernel
def decode_q8_0(data, out):
    """data: uint8 (blocks, 34) -> out: float32 (blocks, 32)."""
    signed = data.view(np.int8)
    for b in range(data.shape[0]):
        at = 34 * b
        d = read_half(data, at)
        for i in range(0, 32, 8):
            store(out, 32 * b + i, as_floats(load(signed, at + 2 + i)) * d)
