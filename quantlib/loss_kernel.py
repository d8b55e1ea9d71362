"""The compiled sums behind `quantlib.metrics.compare`."""

import numpy as np

from quantlib.numba_runtime.quick_loading import compiled

BLOCK = 512


# Sums of float64 may be taken in any order, so that they run in vector registers; nothing else is relaxed.
@compiled(fastmath={"reassoc"})
def sums(x, xhat):
    """sum x², sum (x - x̂)², max |x - x̂|, max |x|, sum x̂² over two float arrays (n,); NaN in either spreads.

    Largest magnitudes are found block by block as integers: the bits of floats that are not negative are in their
    order, NaN the largest, and unlike comparisons of floats those of integers run in vector registers.
    """
    squared = squared_error = squared_stored = 0.0
    errors, values = np.zeros(BLOCK), np.zeros(BLOCK)
    error_bits, value_bits = errors.view(np.int64), values.view(np.int64)
    largest_error = largest = np.int64(0)
    for start in range(0, x.size, BLOCK):
        block, stored_block = x[start : start + BLOCK], xhat[start : start + BLOCK]
        count = block.size
        for i in range(count):
            value, stored = np.float64(block[i]), np.float64(stored_block[i])
            error = value - stored
            squared += value * value
            squared_error += error * error
            squared_stored += stored * stored
            errors[i], values[i] = abs(error), abs(value)
        for i in range(count):
            largest_error = max(largest_error, error_bits[i])
        for i in range(count):
            largest = max(largest, value_bits[i])
    of_error, of_value = np.array([largest_error, largest]).view(np.float64)
    return squared, squared_error, of_error, of_value, squared_stored
