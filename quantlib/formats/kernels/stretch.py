"""The sums of `blocks.stretch` by a kernel."""

import numpy as np

from quantlib.formats.blocks.stretch import LANES
from quantlib.formats.kernels.scalar import kernel, part
from quantlib.formats.rows import read_only


@part
def across(sums):
    """The sum of all lanes."""
    return (sums[0] + sums[1]) + (sums[2] + sums[3])


@kernel
def sum_moments(x, weights, stored, out):
    """Fill out (3, blocks), see `blocks.stretch.moments`."""
    squares, products, misses = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for b in range(x.shape[0]):
        squares[:] = 0.0
        products[:] = 0.0
        misses[:] = 0.0
        for i in range(0, x.shape[1], LANES):
            for k in range(LANES):
                w, v, s = np.float64(weights[b, i + k]), np.float64(x[b, i + k]), np.float64(stored[b, i + k])
                miss = v - s
                squares[k] += w * v * v
                products[k] += w * v * s
                misses[k] += w * miss * miss
        out[0, b], out[1, b], out[2, b] = across(squares), across(products), across(misses)


def moments(x: np.ndarray, weights: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, ...]:
    """See `blocks.stretch.moments`."""
    out = np.empty((3, len(x)))
    sum_moments(*(read_only(np.ascontiguousarray(a)) for a in (x, weights, stored)), out)
    return tuple(out)
