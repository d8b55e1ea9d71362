"""Kernels of the k-quants of few bits: Q2_K, Q3_K. Super-blocks of sixteen blocks of 16 weights."""

import numpy as np

from quantlib.formats.kernels.kquants import nearest_sub_codes
from quantlib.formats.kernels.lanes import block_power, gather, weights_by_importance
from quantlib.formats.kernels.scalar import (
    LANES,
    ONE,
    ZERO,
    clamped_int,
    kernel,
    nearest_int,
    part,
    read_half,
    write_half,
)
from quantlib.formats.kernels.searches import (
    positive_scale,
    refined_scale,
    scale_and_minimum,
    symmetric_code,
    symmetric_scale,
)

GROUPS = 16
GROUP = 16
TOGETHER = LANES // GROUPS
NONE = np.int32(0)
Q2_TOP = np.int32(3)
Q3_LEVELS = np.int32(4)


@part
def write_pairs_of_bits(codes, out, at):
    """The two lowest bits of 256 codes in 64 bytes from `at` on."""
    for half in range(2):
        q = codes[128 * half : 128 * half + 128]
        for i in range(32):
            out[at + 32 * half + i] = (
                (q[i] & 3) | ((q[i + 32] & 3) << 2) | ((q[i + 64] & 3) << 4) | ((q[i + 96] & 3) << 6)
            )


@part
def write_q2_k(x, super_scale, super_minimum, sc, mn, inverse, low, codes, out):
    """One block: choose the final codes against the scales as stored, and pack.

    inverse, low (16,): what made the search's codes, kept where a group's stored scale is zero. codes: scratch (256,).
    """
    d = write_half(super_scale, out, 80)
    dmin = write_half(super_minimum, out, 82)
    for j in range(GROUPS):
        out[j] = np.uint8(sc[j] | (mn[j] << 4))  # a wrapped sub-scale runs over into the sub-minimum
        scale = d * np.float32(out[j] & 15)
        minimum = dmin * np.float32(out[j] >> 4)
        first = j * GROUP
        if scale == ZERO:
            for i in range(first, first + GROUP):
                codes[i] = np.uint8(clamped_int(inverse[j] * (x[i] - low[j]), NONE, Q2_TOP))
        else:
            for i in range(first, first + GROUP):
                codes[i] = np.uint8(clamped_int((x[i] + minimum) / scale, NONE, Q2_TOP))
    write_pairs_of_bits(codes, out, 16)


@kernel
def encode_q2_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 84). An error counts |x| times the absolute miss."""
    lanes = np.empty((GROUP, LANES), np.float32)
    weights = np.empty((GROUP, LANES), np.float32)
    found = np.empty((4, LANES), np.float32)
    scale, minimum, inverse, low = found[0], found[1], found[2], found[3]
    sc = np.empty(GROUPS, np.uint8)
    mn = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], TOGETHER):
        count = min(TOGETHER, x.shape[0] - start)
        gather(x, start, count, lanes)
        for i in range(GROUP):
            for k in range(LANES):
                weights[i, k] = abs(lanes[i, k])
        scale_and_minimum(
            lanes, weights, Q2_TOP, np.float32(-0.5), np.float32(0.1), 15, True, scale, minimum, inverse, low
        )
        for b in range(count):
            g = slice(b * GROUPS, (b + 1) * GROUPS)
            d = nearest_sub_codes(scale[g], 15, sc)
            dmin = nearest_sub_codes(minimum[g], 15, mn)
            write_q2_k(x[start + b], d, dmin, sc, mn, inverse[g], low[g], codes, out[start + b])


@kernel
def encode_q2_k_important(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 84)."""
    lanes = np.empty((GROUP, LANES), np.float32)
    weights = np.empty((GROUP, LANES), np.float32)
    found = np.empty((6, LANES), np.float32)
    scale, minimum, inverse, low, total, power = found[0], found[1], found[2], found[3], found[4], found[5]
    sc = np.empty(GROUPS, np.uint8)
    mn = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], TOGETHER):
        count = min(TOGETHER, x.shape[0] - start)
        gather(x, start, count, lanes)
        block_power(x, start, count, ONE, power)
        weights_by_importance(importance, start, count, power, lanes, weights, total)
        scale_and_minimum(
            lanes, weights, Q2_TOP, np.float32(-0.9), np.float32(0.05), 36, False, scale, minimum, inverse, low
        )
        for b in range(count):
            g = slice(b * GROUPS, (b + 1) * GROUPS)
            d = positive_scale(scale[g], total[g], 15, sc)
            dmin = positive_scale(minimum[g], total[g], 15, mn)
            write_q2_k(x[start + b], d, dmin, sc, mn, inverse[g], low[g], codes, out[start + b])


@kernel
def decode_q2_k(data, out):
    """data: uint8 (blocks, 84) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 80)
        dmin = read_half(data[b], 82)
        for j in range(GROUPS):
            scale = d * np.float32(data[b, j] & 15)
            minimum = dmin * np.float32(data[b, j] >> 4)
            half, shift = j // 8, 2 * (j % 8 // 2)
            first = 16 + 32 * half + 16 * (j % 2)
            for i in range(GROUP):
                out[b, j * GROUP + i] = scale * np.float32((data[b, first + i] >> shift) & 3) - minimum


@part
def write_q3_scales(super_scale, sc, out):
    """The scales of one block: the super-scale and sixteen codes of 6 bits; gives the super-scale as stored."""
    for j in range(8):
        out[96 + j] = (sc[j] & 15) | ((sc[j + 8] & 15) << 4)
    for j in range(4):
        out[104 + j] = (sc[j] >> 4) | ((sc[j + 4] >> 4) << 2) | ((sc[j + 8] >> 4) << 4) | ((sc[j + 12] >> 4) << 6)
    return write_half(super_scale, out, 108)


@part
def round_q3_group(x, scale, codes):
    """Codes of a group of weights against its scale as stored."""
    for i in range(GROUP):
        codes[i] = np.uint8(clamped_int(x[i] / scale, np.int32(-4), np.int32(3)) + 4)


@part
def write_q3_codes(codes, out):
    """Pack 256 codes of 3 bits."""
    for i in range(32):
        high = 0
        for j in range(8):
            high |= (codes[32 * j + i] >> 2) << j
        out[i] = np.uint8(high)
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
    lanes = np.empty((GROUP, LANES), np.float32)
    weights = np.empty((GROUP, LANES), np.float32)
    scale = np.empty(LANES, np.float32)
    found = np.empty((GROUP, LANES), np.int32)
    sc = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], TOGETHER):
        count = min(TOGETHER, x.shape[0] - start)
        gather(x, start, count, lanes)
        for i in range(GROUP):
            for k in range(LANES):
                weights[i, k] = lanes[i, k] * lanes[i, k]
        refined_scale(lanes, weights, Q3_LEVELS, scale, found)
        for b in range(count):
            d = largest_to_lowest(scale[b * GROUPS : (b + 1) * GROUPS], sc)
            d = write_q3_scales(d, sc, out[start + b])
            for j in range(GROUPS):
                g = slice(j * GROUP, (j + 1) * GROUP)
                stored = d * np.float32(np.int32(sc[j]) - 32)
                if stored == ZERO:
                    for i in range(GROUP):
                        codes[j * GROUP + i] = np.uint8(found[i, b * GROUPS + j] + 4)
                else:
                    round_q3_group(x[start + b, g], stored, codes[g])
            write_q3_codes(codes, out[start + b])


@kernel
def encode_q3_k_important(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 110).

    The scales are searched like weights: those of LANES super-blocks are the lanes of a second search.
    """
    lanes = np.empty((GROUP, LANES), np.float32)
    weights = np.empty((GROUP, LANES), np.float32)
    found = np.empty((6, LANES), np.float32)
    scale, inverse, total, power, top_scale, top_inverse = found[0], found[1], found[2], found[3], found[4], found[5]
    scales = np.zeros((GROUPS, LANES), np.float32)
    inverses = np.zeros((GROUPS, LANES), np.float32)
    totals = np.zeros((GROUPS, LANES), np.float32)
    sc = np.empty(GROUPS, np.uint8)
    codes = np.empty(256, np.uint8)
    for start in range(0, x.shape[0], LANES):
        count = min(LANES, x.shape[0] - start)
        for first in range(0, count, TOGETHER):
            some = min(TOGETHER, count - first)
            gather(x, start + first, some, lanes)
            block_power(x, start + first, some, np.float32(2), power)
            weights_by_importance(importance, start + first, some, power, lanes, weights, total)
            symmetric_scale(lanes, weights, Q3_LEVELS, scale, inverse)
            for b in range(some):
                for j in range(GROUPS):
                    scales[j, first + b] = scale[b * GROUPS + j]
                    inverses[j, first + b] = inverse[b * GROUPS + j]
                    totals[j, first + b] = total[b * GROUPS + j]
        symmetric_scale(scales, totals, np.int32(32), top_scale, top_inverse)
        for b in range(count):
            for j in range(GROUPS):
                sc[j] = np.uint8(symmetric_code(top_inverse[b], scales[j, b], np.int32(32)) + 32)
            d = write_q3_scales(top_scale[b], sc, out[start + b])
            for j in range(GROUPS):
                g = slice(j * GROUP, (j + 1) * GROUP)
                stored = d * np.float32(np.int32(sc[j]) - 32)
                if stored == ZERO:
                    for i in range(j * GROUP, (j + 1) * GROUP):
                        codes[i] = np.uint8(symmetric_code(inverses[j, b], x[start + b, i], Q3_LEVELS) + 4)
                else:
                    round_q3_group(x[start + b, g], stored, codes[g])
            write_q3_codes(codes, out[start + b])


@kernel
def decode_q3_k(data, out):
    """data: uint8 (blocks, 110) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 108)
        for j in range(GROUPS):
            low = data[b, 96 + j % 8] >> (4 * (j // 8))
            high = data[b, 104 + j % 4] >> (2 * (j // 4))
            scale = d * np.float32(np.int32((low & 15) | ((high & 3) << 4)) - 32)
            half, shift = j // 8, 2 * (j % 8 // 2)
            first = 16 * (j % 2)
            for i in range(first, first + GROUP):
                q = (data[b, 32 + 32 * half + i] >> shift) & 3
                q |= ((data[b, i] >> (j // 2)) & 1) << 2
                out[b, j * GROUP + i - first] = scale * np.float32(np.int32(q) - 4)
