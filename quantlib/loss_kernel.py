"""The compiled sums behind `quantlib.metrics.compare`."""

import quantlib.formats.kernels  # noqa: F401, I001  (says where compiled code is cached, before numba is imported)

import numpy as np
from numba import njit


# Sums of float64 may be taken in any order, so that they run in vector registers; nothing else is relaxed.
@njit(nogil=True, cache=True, fastmath={"reassoc"})
def sums(x, xhat):
    """sum x², sum (x - x̂)², max |x - x̂|, max |x|, sum x̂² over two float32 arrays (n,); NaN in either spreads."""
    squared = squared_error = largest_error = largest = squared_stored = 0.0
    for i in range(x.size):
        value = np.float64(x[i])
        stored = np.float64(xhat[i])
        error = value - stored
        squared += value * value
        squared_error += error * error
        squared_stored += stored * stored
        largest_error = max(largest_error, abs(error))
        largest = max(largest, abs(value))
    return squared, squared_error, largest_error, largest, squared_stored
