"""Kernels of the k-quants: Q4_K, Q5_K, Q6_K. Super-blocks of 256 weights."""

import numpy as np

from quantlib.formats.kernels.lanes import block_power, gather, turn, weights_by_importance
from quantlib.formats.kernels.scalar import (
    LANES,
    LEAST,
    ONE,
    ZERO,
    clamped_int,
    kernel,
    nearest_int,
    part,
    read_half,
    write_half,
)
from quantlib.formats.kernels.searches import positive_scale, scale_and_minimum, symmetric_code, symmetric_scale

Q6_GROUPS, Q6_GROUP = 16, 16
NONE = np.int32(0)


@part
def weights_by_size(lanes, weights):
    """What an error counts without importance: root mean square of the group, plus |x|."""
    n = lanes.shape[0]
    rms = np.empty(LANES, np.float32)
    for k in range(LANES):
        rms[k] = ZERO
    for i in range(n):
        for k in range(LANES):
            rms[k] += lanes[i, k] * lanes[i, k]
    for k in range(LANES):
        rms[k] = np.sqrt(rms[k] / np.float32(n))
    for i in range(n):
        for k in range(LANES):
            weights[i, k] = rms[k] + abs(lanes[i, k])


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
def write_sub_minima(x, super_scale, super_minimum, sc, mn, inverse, low, bits, codes, out):
    """One Q4_K or Q5_K block: choose the final codes against the scales as stored, and pack.

    inverse, low (8,): what made the search's codes, kept where a group's stored scale is zero. codes: scratch (256,).
    """
    top = np.int32((1 << bits) - 1)
    d = write_half(super_scale, out, 0)
    dmin = write_half(super_minimum, out, 2)
    write_six_bit_pairs(sc, mn, out)
    for j in range(8):
        scale = d * np.float32(sub_scale(out, j))
        minimum = dmin * np.float32(sub_minimum(out, j))
        first = j * 32
        if scale == ZERO:
            for i in range(first, first + 32):
                codes[i] = np.uint8(clamped_int(inverse[j] * (x[i] - low[j]), NONE, top))
        else:
            for i in range(first, first + 32):
                codes[i] = np.uint8(clamped_int((x[i] + minimum) / scale, NONE, top))
    nibbles = 16
    if bits == 5:
        for i in range(32):
            high = 0
            for j in range(8):
                high |= (codes[32 * j + i] >> 4) << j
            out[16 + i] = np.uint8(high)
        nibbles = 48
    for pair in range(4):
        for i in range(32):
            out[nibbles + 32 * pair + i] = (codes[64 * pair + i] & 15) | (codes[64 * pair + 32 + i] << 4)


@kernel
def encode_sub_minima(x, out, bits, first, steps):
    """Q4_K, Q5_K. x: float32 (blocks, 256) -> out: uint8 (blocks, 16 + 32 * bits).

    first, steps: of `scale_and_minimum`, which differ between the two.
    """
    lanes = np.empty((32, LANES), np.float32)
    weights = np.empty((32, LANES), np.float32)
    found = np.empty((4, LANES), np.float32)
    scale, minimum, inverse, low = found[0], found[1], found[2], found[3]
    sc = np.empty(8, np.uint8)
    mn = np.empty(8, np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    together = LANES // 8
    for start in range(0, x.shape[0], together):
        count = min(together, x.shape[0] - start)
        gather(x, start, count, lanes)
        weights_by_size(lanes, weights)
        scale_and_minimum(
            lanes, weights, levels, np.float32(first), np.float32(0.1), steps, False, scale, minimum, inverse, low
        )
        for b in range(count):
            g = slice(b * 8, (b + 1) * 8)
            d = nearest_sub_codes(scale[g], 63, sc)
            dmin = nearest_sub_codes(minimum[g], 63, mn)
            hold_to_six_bits(sc)
            hold_to_six_bits(mn)
            write_sub_minima(x[start + b], d, dmin, sc, mn, inverse[g], low[g], bits, codes, out[start + b])


@kernel
def encode_sub_minima_important(x, importance, out, bits):
    """Q4_K, Q5_K. importance: float32 (blocks of a row, 256)."""
    lanes = np.empty((32, LANES), np.float32)
    weights = np.empty((32, LANES), np.float32)
    found = np.empty((6, LANES), np.float32)
    scale, minimum, inverse, low, total, power = found[0], found[1], found[2], found[3], found[4], found[5]
    sc = np.empty(8, np.uint8)
    mn = np.empty(8, np.uint8)
    codes = np.empty(256, np.uint8)
    levels = np.int32((1 << bits) - 1)
    together = LANES // 8
    for start in range(0, x.shape[0], together):
        count = min(together, x.shape[0] - start)
        gather(x, start, count, lanes)
        block_power(x, start, count, np.float32(2), power)
        weights_by_importance(importance, start, count, power, lanes, weights, total)
        scale_and_minimum(
            lanes, weights, levels, np.float32(-0.9), np.float32(0.05), 36, False, scale, minimum, inverse, low
        )
        for b in range(count):
            g = slice(b * 8, (b + 1) * 8)
            d = positive_scale(scale[g], total[g], 63, sc)
            dmin = positive_scale(minimum[g], total[g], 63, mn)
            if bits == 5:  # Q4_K lets a code above 63 spill over
                hold_to_six_bits(sc)
                hold_to_six_bits(mn)
            write_sub_minima(x[start + b], d, dmin, sc, mn, inverse[g], low[g], bits, codes, out[start + b])


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
def write_q6_k(x, scale, inverse, codes, out):
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
        first = j * Q6_GROUP
        if step != ZERO:
            for i in range(first, first + Q6_GROUP):
                codes[i] = np.uint8(clamped_int(x[i] / step, np.int32(-32), np.int32(31)) + 32)
        else:
            for i in range(first, first + Q6_GROUP):
                codes[i] = np.uint8(symmetric_code(inverse[j], x[i], np.int32(32)) + 32)
    for half in range(2):
        q = codes[128 * half : 128 * half + 128]
        for i in range(32):
            out[64 * half + i] = (q[i] & 15) | ((q[i + 64] & 15) << 4)
            out[64 * half + 32 + i] = (q[i + 32] & 15) | ((q[i + 96] & 15) << 4)
            out[128 + 32 * half + i] = (
                (q[i] >> 4) | ((q[i + 32] >> 4) << 2) | ((q[i + 64] >> 4) << 4) | ((q[i + 96] >> 4) << 6)
            )


@kernel
def encode_q6_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 210). An error counts x**2."""
    lanes = np.empty((Q6_GROUP, LANES), np.float32)
    weights = np.empty((Q6_GROUP, LANES), np.float32)
    scale = np.empty(LANES, np.float32)
    inverse = np.empty(LANES, np.float32)
    codes = np.empty(256, np.uint8)
    together = LANES // Q6_GROUPS
    for start in range(0, x.shape[0], together):
        count = min(together, x.shape[0] - start)
        gather(x, start, count, lanes)
        for i in range(Q6_GROUP):
            for k in range(LANES):
                weights[i, k] = lanes[i, k] * lanes[i, k]
        symmetric_scale(lanes, weights, 32, scale, inverse)
        for b in range(count):
            g = slice(b * Q6_GROUPS, (b + 1) * Q6_GROUPS)
            write_q6_k(x[start + b], scale[g], inverse[g], codes, out[start + b])


@kernel
def encode_q6_k_important(x, importance, out):
    """x: float32 (blocks, 256), importance: float32 (blocks of a row, 256) -> out: uint8 (blocks, 210)."""
    lanes = np.empty((Q6_GROUP, LANES), np.float32)
    weights = np.empty((Q6_GROUP, LANES), np.float32)
    scale = np.empty(LANES, np.float32)
    inverse = np.empty(LANES, np.float32)
    codes = np.empty(256, np.uint8)
    together = LANES // Q6_GROUPS
    blocks_per_row = importance.shape[0]
    for start in range(0, x.shape[0], together):
        count = min(together, x.shape[0] - start)
        gather(x, start, count, lanes)
        for i in range(Q6_GROUP):
            for k in range(count * Q6_GROUPS, LANES):
                weights[i, k] = ZERO
        for b in range(count):
            turn(importance[(start + b) % blocks_per_row], b * Q6_GROUPS, weights)
        symmetric_scale(lanes, weights, 32, scale, inverse)
        for b in range(count):
            g = slice(b * Q6_GROUPS, (b + 1) * Q6_GROUPS)
            write_q6_k(x[start + b], scale[g], inverse[g], codes, out[start + b])


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
