"""Kernels of the i-quants with signs, one for all five: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

The search of a group is serial and branches at every grid point, so it works on one group at a time. Codes are stored
at the addresses of the layout, bit by bit, which is little beside the search.
"""

import numpy as np

from quantlib.formats.blocks.block import Kernels
from quantlib.formats.blocks.iquants_search import ALL, ALL_IF_ANY, NOTHING, OFF_GRID
from quantlib.formats.kernels.scalar import HALF, ONE, ZERO, clamped_int, kernel, part, read_half, write_half
from quantlib.formats.kernels.searches import positive_scale
from quantlib.formats.rows import read_only

NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))
MAGNITUDES = 2 * np.arange(8, dtype=np.float32) + 1
PARITY = np.array([bits.bit_count() % 2 for bits in range(128)], np.uint8)


@part
def write_bits(code, bits, out):
    """Set a code's bits at their addresses in a block of zeros."""
    for i in range(bits.shape[0]):
        out[bits[i] >> 3] |= np.uint8(((code >> i) & 1) << (bits[i] & 7))


@part
def read_bits(data, bits):
    """The code whose bits lie at these addresses."""
    code = 0
    for i in range(bits.shape[0]):
        code |= ((data[bits[i] >> 3] >> (bits[i] & 7)) & 1) << i
    return code


@part
def weigh(x, row, power, floor, first, weights):
    """What errors of a group from weight `first` of block x count (kernel of `blocks.iquants_search.weights_of`).

    row: the block's importance, empty where there is none. power: that times the block's mean square.
    """
    for i in range(weights.shape[0]):
        square = x[first + i] * x[first + i]
        if row.shape[0]:
            weights[i] = row[first + i] * np.sqrt(power + square)
        else:
            weights[i] = floor * power + square if floor > ZERO else square


@part
def mean_square(x, factor):
    """factor · mean square of a block of 256, summed from left to right."""
    power = ZERO
    for i in range(256):
        power += x[i] * x[i]
    return factor * power / np.float32(256)


@part
def split_signs(x, first, weights, even, magnitude, signs):
    """Magnitudes and signs of a group (kernel of `blocks.iquants_signs.split_signs`)."""
    for k in range(signs.shape[0]):
        bits = 0
        minuses = 0
        for i in range(8 * k, 8 * k + 8):
            v = x[first + i]
            if v >= ZERO:
                magnitude[i] = v
            else:
                magnitude[i] = -v
                bits |= 1 << (i - 8 * k)
                minuses += 1
        if even:
            if minuses % 2:
                least = 8 * k
                cost = weights[least] * x[first + least] * x[first + least]
                for i in range(8 * k + 1, 8 * k + 8):
                    other = weights[i] * x[first + i] * x[first + i]
                    if other < cost:
                        cost = other
                        least = i
                magnitude[least] = -magnitude[least]
                bits ^= 1 << (least - 8 * k)
            bits &= 127
        signs[k] = np.uint8(bits)


@part
def nearest_on_grid(place, x, weights, first, scale, table, grid):
    """The best grid point near a place, for weights from `first` (kernel of `iquants_search.nearest_on_grid`)."""
    least = NOTHING
    winner = grid.near[grid.first[place]]
    for at in range(grid.first[place], grid.first[place + 1]):
        point = grid.near[at]
        error = ZERO
        for i in range(grid.dim):
            miss = scale * table[grid.levels[point, i]] - x[first + i]
            error += weights[first + i] * miss * miss
        if error < least:
            least = error
            winner = point
    return winner


@part
def snap(x, root, first, inverse, scale, grid):
    """The grid point for weights from `first`, and whether rounding was enough (kernel of `…iquants_search.snap`)."""
    place = 0
    for i in range(grid.dim - 1, -1, -1):
        level = clamped_int(HALF * (inverse * x[first + i] - ONE), np.int32(0), np.int32(grid.base - 1))
        place = place * grid.base + level
    number = grid.number[place]
    if number >= 0:
        return number, True
    return nearest_on_grid(place, x, root, first, scale, MAGNITUDES, grid), False


@part
def fit(x, weights, number, grid):
    """Σwxq and Σwq² for the magnitudes of grid points (kernel of `blocks.iquants_search.fit`)."""
    sum_xq = ZERO
    sum_q2 = ZERO
    for k in range(number.shape[0]):
        for i in range(grid.dim):
            at = k * grid.dim + i
            q = MAGNITUDES[grid.levels[number[k], i]]
            sum_xq += weights[at] * x[at] * q
            sum_q2 += weights[at] * q * q
    return sum_xq, sum_q2


@part
def grid_scale(x, weights, root, signs, rule, grid, number, settled, trial, on_grid, scratch):
    """Search of one group: fills number, turns signs (kernel of `blocks.iquants_search.grid_scale`).

    Gives the scale, and whether the group is more than zeros.
    x: magnitudes (n,). number, settled, trial, on_grid: (n / dim,). scratch: uint8 (n,).
    """
    number[:] = 0
    span = x[0]
    for i in range(1, x.shape[0]):
        span = x[i] if x[i] > span else span
    if span < rule.least:
        signs[:] = 0
        return ZERO, False
    top = np.float32(2 * grid.base - 1)
    scale = span / top
    if rule.fitted:
        scale = positive_scale(x, weights, grid.base + 1, scratch)
        span = scale * np.float32(grid.base)
        if span <= ZERO:
            signs[:] = 0
            return ZERO, False
    best = ZERO
    settled[:] = rule.again == OFF_GRID
    for s in range(-rule.reach, rule.reach + 1):
        inverse = (top + np.float32(s) * rule.step) / span
        for k in range(number.shape[0]):
            trial[k], on_grid[k] = snap(x, root, k * grid.dim, inverse, ONE / inverse, grid)
        sum_xq, sum_q2 = fit(x, weights, trial, grid)
        if sum_q2 > ZERO and sum_xq * sum_xq > best * sum_q2:
            scale = sum_xq / sum_q2
            best = scale * sum_xq
            number[:] = trial
            settled[:] = on_grid
    everything = rule.again == ALL
    if rule.again == ALL_IF_ANY:
        everything = not settled.all()
    if scale > ZERO and (everything or not settled.all()):
        for k in range(number.shape[0]):
            if everything or not settled[k]:
                number[k], _ = snap(x, root, k * grid.dim, ONE / scale, scale, grid)
        sum_xq, sum_q2 = fit(x, weights, number, grid)
        if sum_q2 > ZERO:
            scale = sum_xq / sum_q2
    if scale < ZERO:
        scale = -scale
        for k in range(signs.shape[0]):
            signs[k] = ~signs[k] & np.uint8(127 if rule.even else 255)
    return scale if scale >= ZERO else ZERO, True


@kernel
def encode_by_grid(x, importance, rule, grid, q_bits, sign_bits, sc_bits, out):
    """x: float32 (blocks, 256), importance (blocks of a row, 256), without rows where there is none -> out: uint8.

    The three tables are the addresses of the layout's fields.
    """
    n = rule.group
    weights = np.empty(n, np.float32)
    root = np.empty(n, np.float32)
    magnitude = np.empty(n, np.float32)
    scratch = np.empty(n, np.uint8)
    trial = np.empty(n // grid.dim, np.int32)
    settled = np.empty(n // grid.dim, np.bool_)
    on_grid = np.empty(n // grid.dim, np.bool_)
    number = np.empty((256 // n, n // grid.dim), np.int32)
    signs = np.empty((256 // n, n // 8), np.uint8)
    scale = np.empty(256 // n, np.float32)
    used = np.empty(256 // n, np.bool_)
    for b in range(x.shape[0]):
        row = importance[b % importance.shape[0]] if importance.shape[0] else x[b, :0]
        power = mean_square(x[b], rule.power)
        largest = ZERO
        for g in range(256 // n):
            weigh(x[b], row, power, rule.floor, g * n, weights)
            for i in range(n):
                root[i] = np.sqrt(weights[i])
            split_signs(x[b], g * n, weights, rule.even, magnitude, signs[g])
            scale[g], used[g] = grid_scale(
                magnitude, weights, root, signs[g], rule, grid, number[g], settled, trial, on_grid, scratch
            )
            largest = scale[g] if scale[g] > largest else largest
        out[b] = 0
        if largest == ZERO and rule.clears:
            continue
        place = 0
        for g in range(256 // n):
            if rule.slips and not used[g]:  # see `blocks.iquants.slip`
                continue
            for k in range(number.shape[1]):
                write_bits(number[g, k], q_bits[place * number.shape[1] + k, :8], out[b])
                write_bits(number[g, k] >> 8, q_bits[g * number.shape[1] + k, 8:], out[b])
            for k in range(signs.shape[1]):
                write_bits(signs[g, k], sign_bits[place * signs.shape[1] + k], out[b])
            place += 1
        if largest == ZERO:
            continue
        d = largest / np.float32(31)
        write_half(d * rule.fudge, out[b], 0)
        for g in range(256 // n):
            sc = clamped_int(HALF * (ONE / d * scale[g] - ONE), np.int32(0), np.int32(15))
            write_bits(sc, sc_bits[g], out[b])


@kernel
def decode_by_grid(data, rule, grid, share, q_bits, sign_bits, sc_bits, out):
    """data: uint8 (blocks, nbytes) -> out: float32 (blocks, 256)."""
    steps = np.empty(256 // rule.group, np.float32)
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        for g in range(steps.shape[0]):
            steps[g] = d * (np.float32(read_bits(data[b], sc_bits[g])) + HALF) * share
        for k in range(256 // grid.dim):
            point = read_bits(data[b], q_bits[k])
            for i in range(grid.dim):
                at = k * grid.dim + i
                out[b, at] = steps[at // rule.group] * np.float32(grid.values[point, i])
        for k in range(32):
            minus = read_bits(data[b], sign_bits[k])
            if rule.even:
                minus |= PARITY[minus] << 7
            for i in range(8):
                if (minus >> i) & 1:
                    out[b, 8 * k + i] = -out[b, 8 * k + i]


def addresses(layout, *names: str) -> list[np.ndarray]:
    """The bit addresses of fields as kernels take them."""
    return [read_only(np.ascontiguousarray(layout.field(name).bits, np.int32)) for name in names]


def grid_kernels(rule, grid, share: float, layout) -> Kernels:
    """The kernels bound to a format's rule, grid and layout."""
    bits = addresses(layout, "q", "sign", "sc")

    def encode(x, out):
        encode_by_grid(x, NO_IMPORTANCE, rule, grid, *bits, out)

    def encode_important(x, importance, out):
        encode_by_grid(x, importance, rule, grid, *bits, out)

    def decode(data, out):
        decode_by_grid(data, rule, grid, np.float32(share), *bits, out)

    return Kernels(encode, encode_important, decode)
