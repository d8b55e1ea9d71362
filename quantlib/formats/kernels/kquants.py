"""Kernels of the k-quants: Q4_K, Q5_K, Q6_K. Super-blocks of 256 weights."""

import numpy as np

from quantlib.formats.kernels.lanes import NO_IMPORTANCE, gather, important, sums_of_squares
from quantlib.formats.kernels.scalar import LEAST, ONE, ZERO, kernel, nearest_int, part, read_half, write_half
from quantlib.formats.kernels.searches import (
    held_codes,
    positive_scale,
    scale_and_minimum,
    symmetric_codes,
    symmetric_scale,
)
from quantlib.formats.kernels.simd import WIDTH, load, magnitude, root, splat, store, turn

Q6_GROUPS, Q6_GROUP, Q6_LEVELS = 16, 16, np.int32(32)
NONE = np.int32(0)
SIZE = np.float32(256)


@part
def weights_by_size(lane, weights):
    """What an error counts without importance: root mean square of the group, plus |x|."""
    total = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        v = load(lane, i)
        total = total + v * v
    rms = root(total / np.float32(lane.shape[0] // WIDTH))
    for i in range(0, lane.shape[0], WIDTH):
        store(weights, i, rms + magnitude(load(lane, i)))


@part
def nearest_sub_codes(values, levels, codes):
    """Sub-codes of a super-block's scales against the largest of them, `levels`; gives the super-scale."""
    largest = ZERO
    for j in range(values.shape[0]):
        largest = values[j] if values[j] > largest else largest
    inverse = np.float32(levels) / largest if largest > ZERO else ZERO
    for j in range(values.shape[0]):
        codes[j] = np.uint8(nearest_int(inverse * values[j]))
    return largest / np.float32(levels)


@part
def hold_to_six_bits(codes):
    """What wrapped around, for being below zero, becomes 63."""
    for j in range(8):
        codes[j] = min(codes[j], np.uint8(63))


@part
def write_six_bit_pairs(sc, mn, out):
    """Twelve bytes 4 ... 15 of a block for eight sub-scales and eight sub-minima of 6 bits."""
    for j in range(4):
        out[4 + j] = np.uint8(sc[j] | ((sc[j + 4] >> 4) << 6))
        out[8 + j] = np.uint8(mn[j] | ((mn[j + 4] >> 4) << 6))
        out[12 + j] = np.uint8((sc[j + 4] & 15) | ((mn[j + 4] & 15) << 4))


@part
def sub_scale(data, j):
    """Sub-scale number j of a stored Q4_K or Q5_K block."""
    return data[4 + j] & 63 if j < 4 else (data[8 + j] & 15) | ((data[j] >> 6) << 4)


@part
def sub_minimum(data, j):
    """Sub-minimum number j of a stored Q4_K or Q5_K block."""
    return data[8 + j] & 63 if j < 4 else (data[8 + j] >> 4) | ((data[4 + j] >> 6) << 4)


@part
def write_sub_minima(x, at, super_scale, super_minimum, sc, mn, inverse, low, bits, codes, out):
    """One Q4_K or Q5_K block, from x[at] on: choose the final codes against the scales as stored, and pack.

    inverse, low (8,): what made the search's codes, kept where a group's stored scale is zero. codes: scratch (256,).
    """
    top = np.int32((1 << bits) - 1)
    d = write_half(super_scale, out, 0)
    dmin = write_half(super_minimum, out, 2)
    write_six_bit_pairs(sc, mn, out)
    for j in range(8):
        scale = d * np.float32(sub_scale(out, j))
        minimum = dmin * np.float32(sub_minimum(out, j))
        if scale == ZERO:
            for i in range(32 * j, 32 * j + 32, WIDTH):
                store(codes, i, held_codes((load(x, at + i) - low[j]) * inverse[j], NONE, top))
        else:
            for i in range(32 * j, 32 * j + 32, WIDTH):
                store(codes, i, held_codes((load(x, at + i) + minimum) / scale, NONE, top))
    nibbles = 16
    if bits == 5:
        for i in range(0, 32, WIDTH):
            high = load(codes, i) >> 4
            for j in range(1, 8):
                high = high | (load(codes, 32 * j + i) >> 4) << j
            store(out, 16 + i, high)
        nibbles = 48
    for pair in range(4):
        for i in range(0, 32, WIDTH):
            low_codes, high_codes = load(codes, 64 * pair + i), load(codes, 64 * pair + 32 + i)
            store(out, nibbles + 32 * pair + i, (low_codes & 15) | (high_codes & 15) << 4)


@kernel
def encode_sub_minima(x, out, bits, first, steps):
    """Q4_K, Q5_K. x: float32 (blocks, 256) -> out: uint8 (blocks, 16 + 32 * bits).

    first, steps: of `scale_and_minimum`, which differ between the two.
    """
    flat = x.reshape(-1)
    lane, weights, trial = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale, minimum = np.empty(8, np.float32), np.empty(8, np.float32)
    inverse, low = np.empty(8, np.float32), np.empty(8, np.float32)
    sc, mn = np.empty(8, np.uint8), np.empty(8, np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    for b in range(x.shape[0]):
        gather(flat, 256 * b, WIDTH, lane)
        weights_by_size(lane, weights)
        found = scale_and_minimum(lane, weights, trial, levels, np.float32(first), np.float32(0.1), steps, False)
        store(scale, 0, found[0])
        store(minimum, 0, found[1])
        store(inverse, 0, found[2])
        store(low, 0, found[3])
        d = nearest_sub_codes(scale, 63, sc)
        dmin = nearest_sub_codes(minimum, 63, mn)
        hold_to_six_bits(sc)
        hold_to_six_bits(mn)
        write_sub_minima(flat, 256 * b, d, dmin, sc, mn, inverse, low, bits, codes, out[b])


@part
def positive_sub_codes(values, totals, levels, scratch, codes):
    """Sub-codes of eight super-blocks' scales or minima, one block in each lane; gives the eight super-scales.

    values, totals: float32 (groups * 8,). scratch: float32 (2, groups * 8). codes: uint8 (8, groups).
    """
    products, found = scratch[0], scratch[1]
    for i in range(0, values.shape[0], WIDTH):
        store(products, i, load(totals, i) * load(values, i))
    scale = positive_scale(values, totals, products, found, levels)
    numbers = found.view(np.int32)
    for b in range(WIDTH):
        for j in range(codes.shape[1]):
            codes[b, j] = np.uint8(numbers[WIDTH * j + b])
    return scale


@kernel
def encode_sub_minima_important(x, importance, out, bits):
    """Q4_K, Q5_K. importance: float32 (blocks of a row, 256). Eight super-blocks share the search of their scales."""
    flat, row = x.reshape(-1), importance.reshape(-1)
    lane, weights, trial = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    found = np.empty((5, WIDTH, WIDTH), np.float32)  # of a block each: scale, minimum, inverse, low, total
    across = np.zeros((3, 64), np.float32)  # of a group each: scale, minimum, total
    scratch = np.empty((2, 64), np.float32)
    sums, d, dmin = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    sc, mn = np.empty((WIDTH, 8), np.uint8), np.empty((WIDTH, 8), np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    for start in range(0, x.shape[0], WIDTH):
        count = min(WIDTH, x.shape[0] - start)
        sums_of_squares(flat, 256 * start, 256, sums[:count])
        for b in range(count):
            gather(flat, 256 * (start + b), WIDTH, lane)
            gather(row, 256 * ((start + b) % importance.shape[0]), WIDTH, weights)
            total = important(lane, np.float32(2) * sums[b] / SIZE, weights)
            won = scale_and_minimum(lane, weights, trial, levels, np.float32(-0.9), np.float32(0.05), 36, False)
            store(found[0, b], 0, won[0])
            store(found[1, b], 0, won[1])
            store(found[2, b], 0, won[2])
            store(found[3, b], 0, won[3])
            store(found[4, b], 0, total)
        turn(found[0].reshape(-1), 0, WIDTH, across[0], 0)
        turn(found[1].reshape(-1), 0, WIDTH, across[1], 0)
        turn(found[4].reshape(-1), 0, WIDTH, across[2], 0)
        store(d, 0, positive_sub_codes(across[0], across[2], 63, scratch, sc))
        store(dmin, 0, positive_sub_codes(across[1], across[2], 63, scratch, mn))
        for b in range(count):
            if bits == 5:  # Q4_K lets a code above 63 spill over
                hold_to_six_bits(sc[b])
                hold_to_six_bits(mn[b])
            at = 256 * (start + b)
            write_sub_minima(
                flat, at, d[b], dmin[b], sc[b], mn[b], found[2, b], found[3, b], bits, codes, out[start + b]
            )


@kernel
def decode_q4_k(data, out):
    """data: uint8 (blocks, 144) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        block = data[b]
        d = read_half(block, 0)
        dmin = read_half(block, 2)
        for pair in range(4):
            low_scale = d * np.float32(sub_scale(block, 2 * pair))
            low_minimum = dmin * np.float32(sub_minimum(block, 2 * pair))
            high_scale = d * np.float32(sub_scale(block, 2 * pair + 1))
            high_minimum = dmin * np.float32(sub_minimum(block, 2 * pair + 1))
            for i in range(32):
                byte = data[b, 16 + 32 * pair + i]
                out[b, 64 * pair + i] = low_scale * np.float32(byte & 15) - low_minimum
                out[b, 64 * pair + 32 + i] = high_scale * np.float32(byte >> 4) - high_minimum


@kernel
def decode_q5_k(data, out):
    """data: uint8 (blocks, 176) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        block = data[b]
        d = read_half(block, 0)
        dmin = read_half(block, 2)
        for pair in range(4):
            low_scale = d * np.float32(sub_scale(block, 2 * pair))
            low_minimum = dmin * np.float32(sub_minimum(block, 2 * pair))
            high_scale = d * np.float32(sub_scale(block, 2 * pair + 1))
            high_minimum = dmin * np.float32(sub_minimum(block, 2 * pair + 1))
            for i in range(32):
                byte = np.int32(data[b, 48 + 32 * pair + i])
                high = np.int32(data[b, 16 + i]) >> np.int32(2 * pair)
                low_code = (byte & 15) | ((high & 1) << 4)
                high_code = (byte >> 4) | ((high & 2) << 3)
                out[b, 64 * pair + i] = low_scale * np.float32(low_code) - low_minimum
                out[b, 64 * pair + 32 + i] = high_scale * np.float32(high_code) - high_minimum


@part
def write_q6_k(x, at, scale, inverse, codes, out):
    """One block from its 16 scales: sub-scales, final codes against the scales as stored, packed.

    codes: scratch (256,).
    """
    largest = ZERO
    size = ZERO
    for j in range(Q6_GROUPS):
        a = abs(scale[j])
        if a > size:
            size = a
            largest = scale[j]
    if size < LEAST:
        for i in range(210):
            out[i] = np.uint8(0)
        return
    inverse_super = np.float32(-128) / largest
    d = write_half(ONE / inverse_super, out, 208)
    for j in range(Q6_GROUPS):
        sub = np.int8(min(nearest_int(inverse_super * scale[j]), np.int32(127)))
        out[192 + j] = np.uint8(sub)
        step = d * np.float32(sub)
        for i in range(j * Q6_GROUP, (j + 1) * Q6_GROUP, WIDTH):
            v = load(x, at + i)
            if step != ZERO:
                code = held_codes(v / step, np.int32(-32), np.int32(31))
            else:
                code = symmetric_codes(splat(inverse[j]), v, Q6_LEVELS)
            store(codes, i, code + 32)
    for half in range(0, 256, 128):
        for i in range(half, half + 32, WIDTH):
            a, b, c, d = load(codes, i), load(codes, i + 32), load(codes, i + 64), load(codes, i + 96)
            store(out, half // 2 + i - half, (a & 15) | (c & 15) << 4)
            store(out, half // 2 + i - half + 32, (b & 15) | (d & 15) << 4)
            store(out, 128 + half // 4 + i - half, a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (d >> 4) << 6)


@kernel
def encode_q6_k(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 210).

    importance has no rows where there is none: an error counts x² then.
    """
    flat, row = x.reshape(-1), importance.reshape(-1)
    lane, weights, products = np.empty(128, np.float32), np.empty(128, np.float32), np.empty(128, np.float32)
    scale, inverse = np.empty(Q6_GROUPS, np.float32), np.empty(Q6_GROUPS, np.float32)
    codes = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        for half in range(2):
            gather(flat, 256 * b + 128 * half, WIDTH, lane)
            if importance.shape[0]:
                gather(row, 256 * (b % importance.shape[0]) + 128 * half, WIDTH, weights)
            else:
                for i in range(0, 128, WIDTH):
                    store(weights, i, load(lane, i) * load(lane, i))
            found = symmetric_scale(lane, weights, products, Q6_LEVELS, True)
            store(scale, WIDTH * half, found[0])
            store(inverse, WIDTH * half, found[1])
        write_q6_k(flat, 256 * b, scale, inverse, codes, out[b])


def encode_q6_k_plain(x, out):
    """`encode_q6_k` without importance."""
    encode_q6_k(x, NO_IMPORTANCE, out)


@kernel
def decode_q6_k(data, out):
    """data: uint8 (blocks, 210) -> out: float32 (blocks, 256)."""
    steps = np.empty(Q6_GROUPS, np.float32)
    for b in range(data.shape[0]):
        d = read_half(data[b], 208)
        for j in range(Q6_GROUPS):
            steps[j] = d * np.float32(np.int8(data[b, 192 + j]))
        for half in range(2):
            low = 64 * half
            to = 128 * half
            for i in range(32):
                high = data[b, 128 + 32 * half + i]
                a = data[b, low + i]
                c = data[b, low + 32 + i]
                j = 8 * half + i // 16
                out[b, to + i] = steps[j] * np.float32(np.int32((a & 15) | ((high & 3) << 4)) - 32)
                out[b, to + 32 + i] = steps[j + 2] * np.float32(np.int32((c & 15) | (((high >> 2) & 3) << 4)) - 32)
                out[b, to + 64 + i] = steps[j + 4] * np.float32(np.int32((a >> 4) | (((high >> 4) & 3) << 4)) - 32)
                out[b, to + 96 + i] = steps[j + 6] * np.float32(np.int32((c >> 4) | ((high >> 6) << 4)) - 32)
