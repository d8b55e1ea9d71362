"""Kernels of the k-quants: Q4_K, Q5_K, Q6_K. Super-blocks of 256 weights."""

import numpy as np

from quantlib.formats.kernels.lanes import NO_IMPORTANCE, gather, gather_importance, important, sums_of_squares
from quantlib.formats.kernels.scalar import LEAST, NONE, ONE, ZERO, kernel, nearest_int, read_half, write_half
from quantlib.formats.kernels.searches import held_codes, scale_and_minimum, symmetric_codes, symmetric_scale
from quantlib.formats.kernels.super_scales import nearest_sub_codes, positive_sub_codes, turn_groups
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import (
    WIDE,
    WIDTH,
    as_floats,
    load,
    load_wide,
    magnitude,
    pick,
    root,
    splat,
    splat_wide,
    store,
)

Q6_GROUPS, Q6_GROUP, Q6_LEVELS = 16, 16, np.int32(32)
SIZE = np.float32(256)


@part
def weights_by_size(lane, weights):
    """What an error counts without importance: root mean square of the group, plus |x|."""
    total = splat_wide(ZERO)
    for i in range(0, lane.shape[0], WIDE):
        v = load_wide(lane, i)
        total = total + v * v
    rms = root(total / np.float32(lane.shape[0] // WIDE))
    for i in range(0, lane.shape[0], WIDE):
        store(weights, i, rms + magnitude(load_wide(lane, i)))


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
    """Q4_K, Q5_K. x: float32 (blocks, 256) -> out: uint8 (blocks, 16 + 32 * bits). Two blocks are sixteen groups.

    first, steps: of `scale_and_minimum`, which differ between the two.
    """
    lane, weights, trial = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(512, np.float32)
    scale, minimum, inverse = np.empty((2, 8), np.float32), np.empty((2, 8), np.float32), np.empty((2, 8), np.float32)
    low = np.empty((2, 8), np.float32)
    sc, mn = np.empty(8, np.uint8), np.empty(8, np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    for start in range(0, x.shape[0], 2):
        count = min(2, x.shape[0] - start)
        gather(x, 256 * start, 8 * count, lane)
        weights_by_size(lane, weights)
        won = scale_and_minimum(lane, weights, trial, levels, np.float32(first), np.float32(0.1), steps, False)
        store(scale, 0, won[0])
        store(minimum, 0, won[1])
        store(inverse, 0, won[2])
        store(low, 0, won[3])
        for b in range(count):
            d = nearest_sub_codes(scale[b], 63, sc)
            dmin = nearest_sub_codes(minimum[b], 63, mn)
            hold_to_six_bits(sc)
            hold_to_six_bits(mn)
            at = 256 * (start + b)
            write_sub_minima(x, at, d, dmin, sc, mn, inverse[b], low[b], bits, codes, out[start + b])


@kernel
def encode_sub_minima_important(x, importance, out, bits):
    """Q4_K, Q5_K. importance: float32 (blocks of a row, 256). Eight super-blocks share the search of their scales."""
    lane, weights, trial = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(512, np.float32)
    scale, minimum, inverse = (
        np.zeros((WIDTH, 8), np.float32),
        np.zeros((WIDTH, 8), np.float32),
        np.zeros((WIDTH, 8), np.float32),
    )  # of each block's groups
    low, total = np.zeros((WIDTH, 8), np.float32), np.zeros((WIDTH, 8), np.float32)
    scales, minima, totals = (
        np.empty(8 * WIDTH, np.float32),
        np.empty(8 * WIDTH, np.float32),
        np.empty(8 * WIDTH, np.float32),
    )
    products, found = np.empty(8 * WIDTH, np.float32), np.empty(8 * WIDTH, np.float32)
    sums, d, dmin = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    power = np.empty((2, 8), np.float32)
    sc, mn = np.empty((WIDTH, 8), np.uint8), np.empty((WIDTH, 8), np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    for start in range(0, x.shape[0], WIDTH):
        count = min(WIDTH, x.shape[0] - start)
        sums_of_squares(x, 256 * start, 256, sums[:count])
        for b in range(0, count, 2):
            groups = 8 * min(2, count - b)
            gather(x, 256 * (start + b), groups, lane)
            gather_importance(importance, 8 * (start + b), groups, weights)
            for half in range(2):
                power[half] = np.float32(2) * sums[b + half] / SIZE
            store(total, 8 * b, important(lane, load_wide(power, 0), weights))
            won = scale_and_minimum(lane, weights, trial, levels, np.float32(-0.9), np.float32(0.05), 36, False)
            store(scale, 8 * b, won[0])
            store(minimum, 8 * b, won[1])
            store(inverse, 8 * b, won[2])
            store(low, 8 * b, won[3])
        turn_groups(scale, scales, WIDTH)
        turn_groups(minimum, minima, WIDTH)
        turn_groups(total, totals, WIDTH)
        store(d, 0, positive_sub_codes(scales, totals, 63, products, found, sc))
        store(dmin, 0, positive_sub_codes(minima, totals, 63, products, found, mn))
        for b in range(count):
            if bits == 5:  # Q4_K lets a code above 63 spill over
                hold_to_six_bits(sc[b])
                hold_to_six_bits(mn[b])
            at = 256 * (start + b)
            write_sub_minima(x, at, d[b], dmin[b], sc[b], mn[b], inverse[b], low[b], bits, codes, out[start + b])


@kernel
def decode_sub_minima(data, out, bits):
    """Q4_K, Q5_K. data: uint8 (blocks, 16 + 32 * bits) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        at, to = b * data.shape[1], 256 * b
        block = data[b]
        d = read_half(block, 0)
        dmin = read_half(block, 2)
        for pair in range(4):
            low_scale = d * np.float32(sub_scale(block, 2 * pair))
            low_minimum = dmin * np.float32(sub_minimum(block, 2 * pair))
            high_scale = d * np.float32(sub_scale(block, 2 * pair + 1))
            high_minimum = dmin * np.float32(sub_minimum(block, 2 * pair + 1))
            for i in range(0, 32, WIDTH):
                both = load(data, at + data.shape[1] - 128 + 32 * pair + i)
                low, high = both & 15, both >> 4
                if bits == 5:
                    fifth = load(data, at + 16 + i) >> 2 * pair
                    low, high = low | (fifth & 1) << 4, high | (fifth & 2) << 3
                store(out, to + 64 * pair + i, as_floats(low) * low_scale - low_minimum)
                store(out, to + 64 * pair + 32 + i, as_floats(high) * high_scale - high_minimum)


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
    lane, weights, products = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale, inverse = np.empty(Q6_GROUPS, np.float32), np.empty(Q6_GROUPS, np.float32)
    codes = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        gather(x, 256 * b, Q6_GROUPS, lane)
        if importance.shape[0]:
            gather(importance, 256 * (b % importance.shape[0]), Q6_GROUPS, weights)
        else:
            for i in range(0, 256, WIDE):
                store(weights, i, load_wide(lane, i) * load_wide(lane, i))
        won = symmetric_scale(lane, weights, products, Q6_LEVELS, True)
        store(scale, 0, won[0])
        store(inverse, 0, won[1])
        write_q6_k(x, 256 * b, scale, inverse, codes, out[b])


def encode_q6_k_plain(x, out):
    """`encode_q6_k` without importance."""
    encode_q6_k(x, NO_IMPORTANCE, out)


@kernel
def decode_q6_k(data, out):
    """data: uint8 (blocks, 210) -> out: float32 (blocks, 256)."""
    steps = np.empty(Q6_GROUPS, np.float32)
    for b in range(data.shape[0]):
        at = 210 * b
        d = read_half(data, at + 208)
        for j in range(Q6_GROUPS):
            steps[j] = d * np.float32(np.int8(pick(data, at + 192 + j)))
        for half in range(2):
            to = 256 * b + 128 * half
            for i in range(0, 32, WIDTH):
                first, second = load(data, at + 64 * half + i), load(data, at + 64 * half + 32 + i)
                high = load(data, at + 128 + 32 * half + i)
                j = 8 * half + i // 16
                store(out, to + i, as_floats((first & 15 | (high & 3) << 4) - 32) * steps[j])
                store(out, to + 32 + i, as_floats((second & 15 | (high & 12) << 2) - 32) * steps[j + 2])
                store(out, to + 64 + i, as_floats((first >> 4 | (high & 48)) - 32) * steps[j + 4])
                store(out, to + 96 + i, as_floats((second >> 4 | (high & 192) >> 2) - 32) * steps[j + 6])
