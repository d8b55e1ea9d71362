"""Groups of weights before their codes are searched: magnitudes, signs, what errors count, and the scale to start from.

What the kernels of the i-quants share. Eight groups are worked on at once, one in each lane.
"""

import numpy as np

from quantlib.formats.kernels.magnitudes import SIGN, nearest_ints
from quantlib.formats.kernels.scalar import LEAST, ONE, ZERO, inlined, part
from quantlib.formats.kernels.simd import (
    WIDTH,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    lanes,
    load,
    root,
    select,
    smaller,
    splat,
    store,
)
from quantlib.formats.rows import read_only

NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))
PARITY = np.array([bits.bit_count() % 2 for bits in range(256)], np.uint8)
TENTH = np.float32(0.1)


@inlined
def weigh(v, importance, row, power, floor):
    """What errors of eight weights v count (kernel of `blocks.iquants_search.weights_of`).

    importance: of a row of blocks, flat, with the eight's at `row`, empty where there is none. power: the factor times
    the block's mean square.
    """
    if importance.shape[0]:
        return load(importance, row) * root(v * v + power)
    return v * v + floor * power if floor > ZERO else v * v


@part
def mean_square(x, at, factor):
    """factor · mean square of 256 weights from x[at] on, summed from left to right."""
    power = ZERO
    for i in range(at, at + 256):
        power += x[i] * x[i]
    return factor * power / np.float32(256)


@part
def least_costly(x, at, apart):
    """Which of eight weights from x[at] on counts least, w · x², with w so far apart; the first among equals."""
    least = at
    cost = x[at + apart] * x[at] * x[at]
    for i in range(at + 1, at + 8):
        other = x[i + apart] * x[i] * x[i]
        if other < cost:
            cost = other
            least = i
    return least - at


@part
def take_groups(x, at, importance, row, rule, own, lane, signs):
    """Magnitudes, weights and signs of eight groups of n weights from x[at] on.

    own: float32 (3 · 8n,), magnitudes, weights and their square roots, one group after the other. lane: float32
    (4 · 8n,), magnitudes, weights and their product with a group in each lane; the rest is for `snap`. signs: a byte
    for each eight weights.
    """
    power = mean_square(x, at // 256 * 256, rule.power)
    size = lane.shape[0] // 4
    for i in range(0, size, WIDTH):
        v = load(x, at + i)
        weights = weigh(v, importance, row + i, power, rule.floor)
        store(own, size + i, weights)
        store(own, 2 * size + i, root(weights))
        minus = 255 ^ flag_bits(v >= ZERO)
        store(own, i, floats_of(bits_of(v) ^ ((splat(np.int32(minus)) << lanes(31, -1)) & SIGN)))
        if rule.even and PARITY[minus]:
            least = least_costly(own, i, size)
            own[i + least] = -own[i + least]
            minus ^= 1 << least
        signs[i // 8] = np.uint8(minus & (127 if rule.even else 255))
    for k in range(WIDTH):
        for i in range(size // WIDTH):
            lane[i * WIDTH + k] = own[k * size // WIDTH + i]
            lane[size + i * WIDTH + k] = own[size + k * size // WIDTH + i]
    for i in range(0, size, WIDTH):
        store(lane, 2 * size + i, load(lane, size + i) * load(lane, i))


@part
def positive_scales(lane, levels):
    """The fit of one scale to each lane's magnitudes (kernel of `blocks.search.positive_scale`).

    lane: as in `take_groups`; its last part is scratch for the codes.
    """
    size = lane.shape[0] // 4
    top = np.int32(levels)
    flevels = np.float32(levels)
    largest = splat(ZERO)
    for i in range(0, size, WIDTH):
        v = load(lane, i)
        largest = select(largest > v, largest, v)
    inverse = splat(flevels) / largest
    best = splat(ZERO)
    for t in range(9):
        s = t - 5 if t < 5 else t - 4  # first the plain scale, then −4 … −1, 1 … 4
        trial = inverse if t == 0 else splat(flevels + TENTH * np.float32(s)) / largest
        scale = splat(ONE) / trial
        error = splat(ZERO)
        for i in range(0, size, WIDTH):
            v = load(lane, i)
            code = nearest_ints(trial * v)
            code = code & 255 if t == 0 else smaller(code, top)
            miss = v - scale * as_floats(code)
            error = error + load(lane, size + i) * miss * miss
        better = error < best if t > 0 else error >= error
        best = error if t == 0 else select(better, error, best)
        inverse = inverse if t == 0 else select(better, trial, inverse)
    sum_xl = splat(ZERO)
    sum_l2 = splat(ZERO)
    for i in range(0, size, WIDTH):
        code = smaller(nearest_ints(inverse * load(lane, i)), top)
        store(lane, 3 * size + i, floats_of(code & 255))
        value = as_floats(code)
        sum_xl = sum_xl + load(lane, 2 * size + i) * value
        sum_l2 = sum_l2 + load(lane, size + i) * value * value
    for _ in range(5):
        moved = 0
        for i in range(0, size, WIDTH):
            old = bits_of(load(lane, 3 * size + i))
            v, w, wx = load(lane, i), load(lane, size + i), load(lane, 2 * size + i)
            rest_xl = sum_xl - wx * as_floats(old)
            rest_l2 = sum_l2 - w * as_floats(old) * as_floats(old)
            code = smaller(nearest_ints(v * rest_l2 / rest_xl), top)
            value = as_floats(code)
            new_xl = rest_xl + wx * value
            new_l2 = rest_l2 + w * value * value
            better = (rest_xl > ZERO) & (rest_l2 > ZERO) & ((code < old) | (code > old))
            better = better & (new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2)
            store(lane, 3 * size + i, floats_of(select(better, code & 255, old)))
            sum_xl = select(better, new_xl, sum_xl)
            sum_l2 = select(better, new_l2, sum_l2)
            moved |= flag_bits(better)
        if not moved:
            break
    scale = select(sum_l2 > ZERO, sum_xl / sum_l2, ZERO)
    return select(largest < LEAST, ZERO, scale)
