"""The sums of `blocks.stretch` by a kernel."""

import numpy as np

from quantlib.formats.blocks.stretch import LANES
from quantlib.formats.kernels.scalar import ZERO, kernel
from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import WIDTH, as_doubles, load, splat, store

assert LANES == WIDTH


@part
def across(lanes, room):
    """The sum of all lanes. room: float64 (8,)."""
    store(room, 0, lanes)
    return ((room[0] + room[1]) + (room[2] + room[3])) + ((room[4] + room[5]) + (room[6] + room[7]))


@kernel
def sum_moments(x, weights, stored, out):
    """Fill out (3, blocks), see `blocks.stretch.moments`."""
    room = np.empty(WIDTH)
    nothing = as_doubles(splat(ZERO))
    n = x.shape[1]
    for b in range(x.shape[0]):
        squares, products, misses = nothing, nothing, nothing
        for at in range(b * n, (b + 1) * n, WIDTH):
            w, v, s = as_doubles(load(weights, at)), as_doubles(load(x, at)), as_doubles(load(stored, at))
            miss = v - s
            squares = squares + w * v * v
            products = products + w * v * s
            misses = misses + w * miss * miss
        out[0, b], out[1, b], out[2, b] = across(squares, room), across(products, room), across(misses, room)


def moments(x: np.ndarray, weights: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, ...]:
    """See `blocks.stretch.moments`."""
    out = np.empty((3, len(x)))
    sum_moments(*(read_only(np.ascontiguousarray(a)) for a in (x, weights, stored)), out)
    return tuple(out)
