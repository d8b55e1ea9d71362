"""The compiled sums behind `quantlib.inspection.statistics`."""

import numpy as np

from quantlib.numba_runtime.quick_loading import compiled


@compiled()
def moments(x):
    """(finite, zeros, sum x, sum x², sum x³, sum x⁴, smallest, largest) of the finite values of float32 x (n,)."""
    finite, zeros = 0, 0
    first = second = third = fourth = 0.0
    smallest, largest = np.inf, -np.inf
    for i in range(x.size):
        value = np.float64(x[i])
        if not np.isfinite(value):
            continue
        square = value * value
        finite += 1
        zeros += value == 0
        first += value
        second += square
        third += square * value
        fourth += square * square
        smallest = min(smallest, value)
        largest = max(largest, value)
    return finite, zeros, first, second, third, fourth, smallest, largest
