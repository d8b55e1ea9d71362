"""Groups of weights before their codes are searched: magnitudes, signs, what errors count, and the scale to start from.

What the kernels of the i-quants share. Eight groups are worked on at once, one in each lane.
"""

import numpy as np

from quantlib.formats.kernels.magnitudes import SIGN
from quantlib.formats.kernels.scalar import ZERO
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import (
    WIDTH,
    bits_of,
    flag_bits,
    floats_of,
    lanes,
    load,
    pick,
    put,
    root,
    splat,
    store,
)

PARITY = np.array([bits.bit_count() % 2 for bits in range(256)], np.uint8)


@inlined
def weigh(v, importance, row, power, floor):
    """What errors of eight weights v count (kernel of `blocks.iquants_search.weights_of`).

    importance: of a row of blocks, with the eight's at `row`, empty where there is none. power: the factor times
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
        power += pick(x, i) * pick(x, i)
    return factor * power / np.float32(256)


@part
def least_costly(x, at, apart):
    """Which of eight weights from x[at] on counts least, w · x², with w so far apart; the first among equals."""
    least = at
    cost = pick(x, at + apart) * pick(x, at) * pick(x, at)
    for i in range(at + 1, at + 8):
        other = pick(x, i + apart) * pick(x, i) * pick(x, i)
        if other < cost:
            cost = other
            least = i
    return least - at


@part
def take_groups(x, at, importance, row, rule, own, lane, signs, to):
    """Magnitudes, weights and signs of eight groups of n weights from x[at] on.

    own: float32 (3 · 8n,), magnitudes, weights and their square roots, one group after the other. lane: float32
    (4 · 8n,), magnitudes, weights and their product with a group in each lane; the rest is for `snap`. signs: int32,
    one for each eight weights from `to` on, their signs its bits.
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
        if rule.even and pick(PARITY, minus):
            least = least_costly(own, i, size)
            put(own, i + least, -pick(own, i + least))
            minus ^= 1 << least
        put(signs, to + i // 8, minus & (127 if rule.even else 255))
    for k in range(WIDTH):
        for i in range(size // WIDTH):
            put(lane, i * WIDTH + k, pick(own, k * size // WIDTH + i))
            put(lane, size + i * WIDTH + k, pick(own, size + k * size // WIDTH + i))
    for i in range(0, size, WIDTH):
        store(lane, 2 * size + i, load(lane, size + i) * load(lane, i))
