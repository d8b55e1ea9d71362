"""Kernels of the smallest i-quants, one for both: IQ1_S, IQ1_M."""

import numpy as np

from quantlib.formats.blocks.block import Kernels
from quantlib.formats.blocks.iquants_ternary import DELTA, DOWN, LEAST_M, LEAST_S, UP
from quantlib.formats.kernels.iquants import (
    NO_IMPORTANCE,
    addresses,
    mean_square,
    nearest_on_grid,
    read_bits,
    weigh,
    write_bits,
)
from quantlib.formats.kernels.scalar import (
    HALF,
    ONE,
    ZERO,
    clamped_int,
    float_from_half,
    half_from_float,
    kernel,
    part,
)

TABLES = np.stack([UP, DOWN])  # (shifts, levels)
LOWEST = np.finfo(np.float32).min


@part
def sort_order(x, first, order):
    """The weights of a group by size, equal ones as they come."""
    for j in range(order.shape[0]):
        at = j
        while at > 0 and x[first + order[at - 1]] > x[first + j]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = j


@part
def best_split_s(sum_x, sum_w, n):
    """Exact search of the split of IQ1_S (kernel of `split_scores_s` and `best_split`).

    sum_x, sum_w: running sums (2, n + 1), the first row used. Gives the scale, both cuts and the shift, −1 for none.
    """
    best = LOWEST
    scale = ZERO
    low, high, shift = -1, -1, -1
    for i in range(n + 1):
        for j in range(i, n + 1):
            a, b, c = sum_x[0, i] - sum_x[0, 0], sum_x[0, j] - sum_x[0, i], sum_x[0, n] - sum_x[0, j]
            wa, wb, wc = sum_w[0, i] - sum_w[0, 0], sum_w[0, j] - sum_w[0, i], sum_w[0, n] - sum_w[0, j]
            for s in range(2):
                q0, q1, q2 = TABLES[s, 0], TABLES[s, 1], TABLES[s, 2]
                top = a * q0 + b * q1 + c * q2
                square = wa * q0 * q0 + wb * q1 * q1 + wc * q2 * q2
                if square > ZERO and top * top > best * square:
                    scale = top / square
                    best = scale * top
                    low, high, shift = i, j, s
    return scale, low, high, shift


@part
def best_split_m(sum_x, sum_w, n):
    """Exact search of the split of IQ1_M (kernel of `split_scores_m` and `best_split`).

    sum_x, sum_w: running sums of each half (2, n + 1). Gives the scale, both cuts and the shift, −1 for none.
    """
    best = LOWEST
    scale = ZERO
    low, high, shift = -1, -1, -1
    tops = np.empty((2, 2), np.float32)  # (halves, shifts)
    squares = np.empty((2, 2), np.float32)
    for i in range(n + 1):
        for j in range(i, n + 1):
            for h in range(2):
                taken = sum_x[h, i] + sum_x[h, j]
                for s in range(2):
                    q0, q1, q2 = TABLES[s, 0], TABLES[s, 1], TABLES[s, 2]
                    tops[h, s] = sum_x[h, n] * q2 - taken
                    square = sum_w[h, n] * q2 * q2 + sum_w[h, i] * (q0 * q0 - q1 * q1)
                    squares[h, s] = square + sum_w[h, j] * (q1 * q1 - q2 * q2)
            for s in range(4):
                top = tops[0, s >> 1] + tops[1, s & 1]
                square = squares[0, s >> 1] + squares[1, s & 1]
                if square > ZERO and top * top > best * square:
                    scale = top / square
                    best = scale * top
                    low, high, shift = i, j, s
    return scale, low, high, shift


@part
def put_on_grid(x, first, weights, levels, scale, down, grid, number):
    """Grid points for levels, and the scale refitted (kernel of `blocks.iquants_ternary.put_on_grid`)."""
    moved = False
    for k in range(number.shape[0]):
        place = 0
        for i in range(7, -1, -1):
            place = place * 3 + levels[8 * k + i]
        number[k] = grid.number[place]
        if number[k] < 0:
            moved = True
            eight = x[first + 8 * k : first + 8 * k + 8]
            number[k] = nearest_on_grid(place, eight, weights[8 * k : 8 * k + 8], 0, scale, TABLES[down[k]], grid)
    if moved:
        top = ZERO
        square = ZERO
        for k in range(number.shape[0]):
            for i in range(8):
                q = TABLES[down[k], grid.levels[number[k], i]]
                w = weights[8 * k + i]
                top += w * q * x[first + 8 * k + i]
                square += w * q * q
        if top > ZERO and square > ZERO:
            scale = top / square
    return scale


@part
def search_group(x, first, weights, halves, grid, order, sums, levels, number, down):
    """Search of one group: fills number and down, gives the scale (kernel of `blocks.iquants_ternary.search_groups`).

    halves: whether each half of the group has its own shift. sums: scratch (2, 2, n + 1).
    """
    n = weights.shape[0]
    number[:] = 0
    down[:] = 0
    largest = ZERO
    for i in range(n):
        a = abs(x[first + i])
        largest = a if a > largest else largest
    if largest < (LEAST_M if halves else LEAST_S):
        return ZERO
    sort_order(x, first, order)
    sums[:, :, 0] = ZERO
    for j in range(n):
        i = order[j]
        for h in range(2):
            sums[0, h, j + 1] = sums[0, h, j]
            sums[1, h, j + 1] = sums[1, h, j]
        h = 1 if halves and i >= 8 else 0
        sums[0, h, j + 1] += weights[i] * x[first + i]
        sums[1, h, j + 1] += weights[i]
    scale, low, high, shift = best_split_m(sums[0], sums[1], n) if halves else best_split_s(sums[0], sums[1], n)
    if shift < 0:
        return ZERO
    for j in range(n):
        level = (1 if j >= low else 0) + (1 if j >= high else 0)
        levels[order[j]] = 2 - level if scale < ZERO else level
    if scale < ZERO:
        scale = -scale
        shift = (3 if halves else 1) - shift
    for k in range(down.shape[0]):
        down[k] = (shift >> (1 - k)) & 1 if halves else shift
    scale = put_on_grid(x, first, weights, levels, scale, down, grid, number)
    return scale if scale >= ZERO else ZERO


@part
def fit_everything(x, row, power, number, down, sc, grid, weights):
    """The super-scale of IQ1_M that fits all grid points and sub-scales best; NaN where nothing counts."""
    top = ZERO
    square = ZERO
    for g in range(16):
        weigh(x, row, power, ZERO, 16 * g, weights)
        step = np.float32(2 * sc[g] + 1)
        for i in range(16):
            q = TABLES[down[g, i // 8], grid.levels[number[g, i // 8], i % 8]] * step
            top += weights[i] * q * x[16 * g + i]
            square += weights[i] * q * q
    return top / square, square > ZERO


@kernel
def encode_ternary_grid(x, importance, grid, d_bits, q_bits, sc_bits, delta_bits, out):
    """x: float32 (blocks, 256), importance (blocks of a row, 256), without rows where there is none -> out: uint8.

    The four tables are the addresses of the layout's fields; there are 8 sub-scales in IQ1_S, 16 in IQ1_M.
    """
    groups = sc_bits.shape[0]
    halves = groups == 16
    n = 256 // groups
    weights = np.empty(n, np.float32)
    order = np.empty(n, np.int64)
    sums = np.empty((2, 2, n + 1), np.float32)
    levels = np.empty(n, np.int64)
    number = np.empty((groups, n // 8), np.int64)
    down = np.empty((groups, n // 8), np.int64)
    sc = np.empty(groups, np.int64)
    scale = np.empty(groups, np.float32)
    for b in range(x.shape[0]):
        row = importance[b % importance.shape[0]] if importance.shape[0] else x[b, :0]
        power = mean_square(x[b], np.float32(2))
        largest = ZERO
        for g in range(groups):
            weigh(x[b], row, power, ZERO, g * n, weights)
            scale[g] = search_group(x[b], g * n, weights, halves, grid, order, sums, levels, number[g], down[g])
            largest = scale[g] if scale[g] > largest else largest
        out[b] = 0
        for k in range(32):
            write_bits(number[k // (n // 8), k % (n // 8)], q_bits[k], out[b])
        if largest == ZERO:
            continue
        d = largest / np.float32(15)
        for g in range(groups):
            sc[g] = clamped_int(HALF * (ONE / d * scale[g] - ONE), np.int32(0), np.int32(7))
            write_bits(sc[g], sc_bits[g], out[b])
        for k in range(delta_bits.shape[0]):
            at = k * 32 // delta_bits.shape[0]
            write_bits(down[at // (n // 8), at % (n // 8)], delta_bits[k], out[b])
        if halves:
            fitted, usable = fit_everything(x[b], row, power, number, down, sc, grid, weights)
            d = (fitted if usable else d) * np.float32(1.1125)
        else:
            d *= np.float32(1.125)
        write_bits(np.int64(half_from_float(d)), d_bits[0], out[b])


@kernel
def decode_ternary_grid(data, grid, d_bits, q_bits, sc_bits, delta_bits, out):
    """data: uint8 (blocks, nbytes) -> out: float32 (blocks, 256)."""
    wide = 256 // sc_bits.shape[0]
    eights = 32 // delta_bits.shape[0]
    for b in range(data.shape[0]):
        d = float_from_half(np.uint32(read_bits(data[b], d_bits[0])))
        for k in range(32):
            step = d * np.float32(2 * read_bits(data[b], sc_bits[8 * k // wide]) + 1)
            shift = -DELTA if read_bits(data[b], delta_bits[k // eights]) else DELTA
            point = read_bits(data[b], q_bits[k])
            for i in range(8):
                out[b, 8 * k + i] = step * (np.float32(grid.values[point, i]) + shift)


def ternary_kernels(layout, grid) -> Kernels:
    """The kernels bound to a format's layout and the grid."""
    bits = addresses(layout, "d", "q", "sc", "delta")

    def encode(x, out):
        encode_ternary_grid(x, NO_IMPORTANCE, grid, *bits, out)

    def encode_important(x, importance, out):
        encode_ternary_grid(x, importance, grid, *bits, out)

    def decode(data, out):
        decode_ternary_grid(data, grid, *bits, out)

    return Kernels(encode, encode_important, decode)
