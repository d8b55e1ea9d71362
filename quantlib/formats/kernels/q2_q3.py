"""Kernels of the k-quants of few bits: Q2_K, Q3_K. Super-blocks of sixteen blocks of 16 weights."""

import numpy as np

from quantlib.formats.kernels.lanes import gather, important, sums_of_squares
from quantlib.formats.kernels.scalar import NONE, ONE, ZERO, kernel, nearest_int, read_half, write_half
from quantlib.formats.kernels.searches import (
    held_codes,
    refined_scale,
    scale_and_minimum,
    symmetric_codes,
    symmetric_scale,
)
from quantlib.formats.kernels.super_scales import nearest_sub_codes, positive_sub_codes, turn_groups
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import WIDE, WIDTH, as_floats, load, load_wide, magnitude, pick, splat, store

GROUPS = 16
GROUP = 16
SIZE = np.float32(256)
Q2_TOP = np.int32(3)
Q3_LEVELS, Q3_LOWEST, Q3_TOP = np.int32(4), np.int32(-4), np.int32(3)
SUPER_LEVELS = np.int32(32)


@part
def write_pairs_of_bits(codes, out, at):
    """The two lowest bits of 256 codes in 64 bytes from `at` on."""
    for half in range(0, 256, 128):
        for i in range(half, half + 32, WIDTH):
            low = (load(codes, i) & 3) | (load(codes, i + 32) & 3) << 2
            high = (load(codes, i + 64) & 3) << 4 | (load(codes, i + 96) & 3) << 6
            store(out, at + half // 4 + i - half, low | high)


@part
def write_q2_k(x, at, super_scale, super_minimum, sc, mn, inverse, low, codes, out):
    """One block, from x[at] on: choose the final codes against the scales as stored, and pack.

    inverse, low (16,): what made the search's codes, kept where a group's stored scale is zero. codes: scratch (256,).
    """
    d = write_half(super_scale, out, 80)
    dmin = write_half(super_minimum, out, 82)
    for j in range(GROUPS):
        out[j] = np.uint8(sc[j] | (mn[j] << 4))  # a wrapped sub-scale runs over into the sub-minimum
        scale = d * np.float32(out[j] & 15)
        minimum = dmin * np.float32(out[j] >> 4)
        for i in range(j * GROUP, (j + 1) * GROUP, WIDTH):
            v = load(x, at + i)
            v = (v - low[j]) * inverse[j] if scale == ZERO else (v + minimum) / scale
            store(codes, i, held_codes(v, NONE, Q2_TOP))
    write_pairs_of_bits(codes, out, 16)


@kernel
def encode_q2_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 84). An error counts |x| times the absolute miss."""
    lane, weights, trial = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale, minimum, inverse = np.empty(GROUPS, np.float32), np.empty(GROUPS, np.float32), np.empty(GROUPS, np.float32)
    low = np.empty(GROUPS, np.float32)
    sc, mn = np.empty(GROUPS, np.uint8), np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        gather(x, 256 * b, GROUPS, lane)
        for i in range(0, 256, WIDE):
            store(weights, i, magnitude(load_wide(lane, i)))
        won = scale_and_minimum(lane, weights, trial, Q2_TOP, np.float32(-0.5), np.float32(0.1), 15, True)
        store(scale, 0, won[0])
        store(minimum, 0, won[1])
        store(inverse, 0, won[2])
        store(low, 0, won[3])
        d = nearest_sub_codes(scale, 15, sc)
        dmin = nearest_sub_codes(minimum, 15, mn)
        write_q2_k(x, 256 * b, d, dmin, sc, mn, inverse, low, codes, out[b])


@kernel
def encode_q2_k_important(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 84).

    Eight super-blocks share the search of their scales.
    """
    lane, weights, trial = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale, minimum, inverse = (
        np.zeros((WIDTH, GROUPS), np.float32),
        np.zeros((WIDTH, GROUPS), np.float32),
        np.zeros((WIDTH, GROUPS), np.float32),
    )  # of each block's groups
    low, total = np.zeros((WIDTH, GROUPS), np.float32), np.zeros((WIDTH, GROUPS), np.float32)
    scales, minima, totals = (
        np.empty(GROUPS * WIDTH, np.float32),
        np.empty(GROUPS * WIDTH, np.float32),
        np.empty(GROUPS * WIDTH, np.float32),
    )
    products, found = np.empty(GROUPS * WIDTH, np.float32), np.empty(GROUPS * WIDTH, np.float32)
    sums, d, dmin = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    sc, mn = np.empty((WIDTH, GROUPS), np.uint8), np.empty((WIDTH, GROUPS), np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], WIDTH):
        count = min(WIDTH, x.shape[0] - start)
        sums_of_squares(x, 256 * start, 256, sums[:count])
        for b in range(count):
            gather(x, 256 * (start + b), GROUPS, lane)
            gather(importance, 256 * ((start + b) % importance.shape[0]), GROUPS, weights)
            store(total[b], 0, important(lane, sums[b] / SIZE, weights))
            won = scale_and_minimum(lane, weights, trial, Q2_TOP, np.float32(-0.9), np.float32(0.05), 36, False)
            store(scale[b], 0, won[0])
            store(minimum[b], 0, won[1])
            store(inverse[b], 0, won[2])
            store(low[b], 0, won[3])
        turn_groups(scale, scales, WIDTH)
        turn_groups(minimum, minima, WIDTH)
        turn_groups(total, totals, WIDTH)
        store(d, 0, positive_sub_codes(scales, totals, 15, products, found, sc))
        store(dmin, 0, positive_sub_codes(minima, totals, 15, products, found, mn))
        for b in range(count):
            at = 256 * (start + b)
            write_q2_k(x, at, d[b], dmin[b], sc[b], mn[b], inverse[b], low[b], codes, out[start + b])


@kernel
def decode_q2_k(data, out):
    """data: uint8 (blocks, 84) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        at = 84 * b
        d = read_half(data, at + 80)
        dmin = read_half(data, at + 82)
        for j in range(GROUPS):
            scale = d * np.float32(pick(data, at + j) & 15)
            minimum = dmin * np.float32(pick(data, at + j) >> 4)
            half, shift = j // 8, 2 * (j % 8 // 2)
            first = at + 16 + 32 * half + 16 * (j % 2)
            for i in range(0, GROUP, WIDTH):
                code = load(data, first + i) >> shift & 3
                store(out, 256 * b + j * GROUP + i, as_floats(code) * scale - minimum)


@part
def write_q3_scales(super_scale, sc, out):
    """The scales of one block: the super-scale and sixteen codes of 6 bits; gives the super-scale as stored."""
    for j in range(8):
        out[96 + j] = (sc[j] & 15) | ((sc[j + 8] & 15) << 4)
    for j in range(4):
        out[104 + j] = (sc[j] >> 4) | ((sc[j + 4] >> 4) << 2) | ((sc[j + 8] >> 4) << 4) | ((sc[j + 12] >> 4) << 6)
    return write_half(super_scale, out, 108)


@part
def round_q3_group(x, at, scale, codes, i):
    """Codes i … i + 15 of a group of weights against its scale as stored."""
    store(codes, i, held_codes(load(x, at + i) / scale, Q3_LOWEST, Q3_TOP) + 4)
    store(codes, i + 8, held_codes(load(x, at + i + 8) / scale, Q3_LOWEST, Q3_TOP) + 4)


@part
def write_q3_codes(codes, out):
    """Pack 256 codes of 3 bits."""
    for i in range(0, 32, WIDTH):
        high = load(codes, i) >> 2
        for j in range(1, 8):
            high = high | (load(codes, 32 * j + i) >> 2) << j
        store(out, i, high)
    write_pairs_of_bits(codes, out, 32)


@part
def largest_to_lowest(scales, sc):
    """Sub-codes 0 ... 63 of sixteen scales: the one of largest magnitude becomes 0, for -32; gives the super-scale."""
    largest = ZERO
    size = ZERO
    for j in range(GROUPS):
        a = abs(scales[j])
        if a > size:
            size = a
            largest = scales[j]
    if size == ZERO:
        sc[:] = np.uint8(0)
        return ZERO
    inverse = np.float32(-32) / largest
    for j in range(GROUPS):
        code = np.int32(np.int8(nearest_int(inverse * scales[j])))
        sc[j] = np.uint8(min(max(code, np.int32(-32)), np.int32(31)) + 32)
    return ONE / inverse


@kernel
def encode_q3_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 110). An error counts x**2."""
    lane, weights, found = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale = np.empty(GROUPS, np.float32)
    sc = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for b in range(x.shape[0]):
        gather(x, 256 * b, GROUPS, lane)
        for i in range(0, 256, WIDE):
            store(weights, i, load_wide(lane, i) * load_wide(lane, i))
        store(scale, 0, refined_scale(lane, weights, found, Q3_LEVELS))
        d = write_q3_scales(largest_to_lowest(scale, sc), sc, out[b])
        for j in range(GROUPS):
            stored = d * np.float32(np.int32(sc[j]) - 32)
            if stored == ZERO:
                for i in range(GROUP):
                    codes[j * GROUP + i] = np.uint8(np.int32(found[GROUPS * i + j]) + 4)
            else:
                round_q3_group(x, 256 * b, stored, codes, j * GROUP)
        write_q3_codes(codes, out[b])


@kernel
def encode_q3_k_important(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 110).

    The scales are searched like weights, those of sixteen super-blocks at once.
    """
    lane, weights, products = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    scale, inverse, total = (
        np.zeros((WIDE, GROUPS), np.float32),
        np.zeros((WIDE, GROUPS), np.float32),
        np.zeros((WIDE, GROUPS), np.float32),
    )  # of each block's groups
    scales, totals = np.empty(GROUPS * WIDE, np.float32), np.empty(GROUPS * WIDE, np.float32)
    sums, d = np.empty(WIDE, np.float32), np.empty(WIDE, np.float32)
    numbers = np.empty((GROUPS, WIDE), np.uint8)
    sc = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], WIDE):
        count = min(WIDE, x.shape[0] - start)
        for b in range(0, count, WIDTH):
            sums_of_squares(x, 256 * (start + b), 256, sums[b : min(count, b + WIDTH)])
        for b in range(count):
            gather(x, 256 * (start + b), GROUPS, lane)
            gather(importance, 256 * ((start + b) % importance.shape[0]), GROUPS, weights)
            store(total[b], 0, important(lane, np.float32(2) * sums[b] / SIZE, weights))
            won = symmetric_scale(lane, weights, products, Q3_LEVELS, True)
            store(scale[b], 0, won[0])
            store(inverse[b], 0, won[1])
        turn_groups(scale, scales, WIDE)
        turn_groups(total, totals, WIDE)
        top = symmetric_scale(scales, totals, products, SUPER_LEVELS, False)
        store(d, 0, top[0])
        for j in range(GROUPS):
            store(numbers[j], 0, symmetric_codes(top[1], load_wide(scales, WIDE * j), SUPER_LEVELS) + SUPER_LEVELS)
        for b in range(count):
            for j in range(GROUPS):
                sc[j] = numbers[j, b]
            write_q3_block(x, 256 * (start + b), d[b], sc, inverse[b], codes, out[start + b])


@part
def write_q3_block(x, at, super_scale, sc, inverse, codes, out):
    """One block, from x[at] on, given its scales. inverse (16,): what made the search's codes."""
    d = write_q3_scales(super_scale, sc, out)
    for j in range(GROUPS):
        stored = d * np.float32(np.int32(sc[j]) - 32)
        if stored == ZERO:
            for i in range(j * GROUP, (j + 1) * GROUP, WIDTH):
                store(codes, i, symmetric_codes(splat(inverse[j]), load(x, at + i), Q3_LEVELS) + Q3_LEVELS)
        else:
            round_q3_group(x, at, stored, codes, j * GROUP)
    write_q3_codes(codes, out)


@kernel
def decode_q3_k(data, out):
    """data: uint8 (blocks, 110) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        at = 110 * b
        d = read_half(data, at + 108)
        for j in range(GROUPS):
            low = pick(data, at + 96 + j % 8) >> (4 * (j // 8))
            high = pick(data, at + 104 + j % 4) >> (2 * (j // 4))
            scale = d * np.float32(np.int32((low & 15) | ((high & 3) << 4)) - 32)
            half, shift = j // 8, 2 * (j % 8 // 2)
            for i in range(16 * (j % 2), 16 * (j % 2) + GROUP, WIDTH):
                code = load(data, at + 32 + 32 * half + i) >> shift & 3
                code = code | (load(data, at + i) >> j // 2 & 1) << 2
                store(out, 256 * b + j * GROUP + i - 16 * (j % 2), as_floats(code - 4) * scale)
