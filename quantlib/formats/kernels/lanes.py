"""Eight groups of weights side by side: flat arrays in which number i of group k stands at 8·i + k."""

import numpy as np

from quantlib.formats.kernels.scalar import ZERO, part
from quantlib.formats.kernels.simd import WIDTH, load, root, splat, store, turn
from quantlib.formats.rows import read_only

NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))


@part
def gather(x, at, count, lane):
    """Turn `count` groups from x[at] on into lanes; idle lanes are zero. lane: float32 (8n,), n a multiple of 8."""
    size = lane.shape[0] // WIDTH
    if count == WIDTH:
        for i in range(0, size, WIDTH):
            turn(x, at + i, size, lane, WIDTH * i)
        return
    for i in range(size):
        for k in range(WIDTH):
            lane[WIDTH * i + k] = x[at + k * size + i] if k < count else ZERO


@part
def gather_importance(row, first, count, lane):
    """`gather` for blocks that are one group each: the importances of blocks first, first + 1, …

    row: the importances of a row of blocks, flat; blocks beyond its end begin it anew.
    """
    size = lane.shape[0] // WIDTH
    at = first * size % row.shape[0]
    if at + WIDTH * size <= row.shape[0]:
        gather(row, at, count, lane)
        return
    for k in range(WIDTH):
        at = (first + k) * size % row.shape[0]
        for i in range(size):
            lane[WIDTH * i + k] = row[at + i] if k < count else ZERO


@part
def sums_of_squares(x, at, size, sums):
    """sums[k] = Σx² of `size` weights from x[at + k · size] on, from left to right.

    sums: float32 (up to 8,). size: a multiple of 8.
    """
    if sums.shape[0] == WIDTH:
        tile = np.empty(WIDTH * WIDTH, np.float32)
        totals = splat(ZERO)
        for i in range(at, at + size, WIDTH):
            turn(x, i, size, tile, 0)
            for n in range(0, WIDTH * WIDTH, WIDTH):
                v = load(tile, n)
                totals = totals + v * v
        store(sums, 0, totals)
        return
    for k in range(sums.shape[0]):
        total = ZERO
        for i in range(at + k * size, at + (k + 1) * size):
            total += x[i] * x[i]
        sums[k] = total


@part
def important(lane, power, weights):
    """Turn importances in lanes into what errors count: importance · sqrt(power + x²); gives each lane's sum.

    power: of the block, or of each lane's.
    """
    total = splat(ZERO)
    for i in range(0, lane.shape[0], WIDTH):
        v = load(lane, i)
        w = load(weights, i) * root(v * v + power)
        store(weights, i, w)
        total = total + w
    return total
