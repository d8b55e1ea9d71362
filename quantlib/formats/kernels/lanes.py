"""Groups of weights as lanes: columns of (group size, LANES) arrays, in the order of the groups."""

import numpy as np

from quantlib.formats.kernels.scalar import LANES, ZERO, part


@part
def turn(row, first, lanes):
    """Turn the groups of one block into columns first, first + 1, ... of lanes (size, LANES)."""
    size = lanes.shape[0]
    for j in range(row.shape[0] // size):
        for i in range(size):
            lanes[i, first + j] = row[j * size + i]


@part
def gather(x, start, count, lanes):
    """Turn the groups of `count` blocks into columns; idle lanes are zero."""
    size = lanes.shape[0]
    groups = x.shape[1] // size
    for b in range(count):
        turn(x[start + b], b * groups, lanes)
    for i in range(size):
        for k in range(count * groups, LANES):
            lanes[i, k] = ZERO


@part
def block_power(x, start, count, factor, power):
    """power[b] = factor * mean square of block start + b, summed from left to right."""
    n = x.shape[1]
    for b in range(count):
        power[b] = ZERO
    for i in range(n):
        for b in range(count):
            power[b] += x[start + b, i] * x[start + b, i]
    for b in range(count):
        power[b] = factor * power[b] / np.float32(n)


@part
def weights_by_importance(importance, start, count, power, lanes, weights, total):
    """What an error counts with importance: importance times sqrt(power of the block + x**2).

    importance: (blocks of a row, values). power: (count,). total (LANES,): the sum of each group's weights.
    """
    size = lanes.shape[0]
    groups = importance.shape[1] // size
    for b in range(count):
        row = importance[(start + b) % importance.shape[0]]
        for j in range(groups):
            k = b * groups + j
            for i in range(size):
                v = lanes[i, k]
                weights[i, k] = row[j * size + i] * np.sqrt(power[b] + v * v)
    for i in range(size):
        for k in range(count * groups, LANES):
            weights[i, k] = ZERO
    for k in range(LANES):
        total[k] = ZERO
    for i in range(size):
        for k in range(LANES):
            total[k] += weights[i, k]
