"""The last step of the better codes: blocks are stretched until their weights are no longer too small.

The least squared error is reached with weights that are too small, all together: where the scale fits the levels best,
Σ w · x̂ · (x − x̂) = 0, so that Σ w · x · x̂ falls short of Σ w · x² by the error itself. One block's rounding goes up
and down and mostly cancels in a layer's sums; a layer whose every weight is 3 % too small gives outputs 3 % too small,
and the next layer's are smaller again. So the super-scales are multiplied by

    a = Σ w · x² / Σ w · x · x̂

which leaves x̂ without such a bias. It costs the error D of a block about its own share, D² / Σ w · x², and is left
out where the block would become worse than with ggml's bytes.
"""

from collections.abc import Callable

import numpy as np

from quantlib.formats.layout import Layout

Sums = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]
LANES = 8  # sums run side by side


def moments(x: np.ndarray, weights: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, ...]:
    """Σ w · x², Σ w · x · x̂ and Σ w · (x − x̂)² of blocks, all (blocks, values) -> each (blocks,), in float64."""
    x, weights, stored = x.astype(float), weights.astype(float), stored.astype(float)
    miss = x - stored
    return _total(weights * x * x), _total(weights * x * stored), _total(weights * miss * miss)


def _total(terms: np.ndarray) -> np.ndarray:
    lanes = np.cumsum(terms.reshape(len(terms), -1, LANES), axis=1)[:, -1]  # (blocks, LANES), each from left to right
    while lanes.shape[1] > 1:
        lanes = lanes[:, ::2] + lanes[:, 1::2]
    return lanes[:, 0]


def stretched(
    x: np.ndarray,
    weights: np.ndarray,
    given: np.ndarray,
    found: np.ndarray,
    layout: Layout,
    decode: Callable[[np.ndarray], np.ndarray],
    sums: Sums = moments,
) -> np.ndarray:
    """Found blocks with longer scales; blocks whose error would pass that of the given ones stay as found, or as given.

    given, found: uint8 (blocks, nbytes). x, weights: float32 (blocks, values). decode: of such bytes, float32 like x.
    Every weight is a sum of terms that are proportional to one of the half-precision fields, so that multiplying all of
    these multiplies the weights.
    """
    squares, products, found_error = sums(x, weights, decode(found))
    factor = np.divide(squares, products, out=np.ones_like(squares), where=products > 0).astype(np.float32)[:, None]
    trial = found.copy()
    for first in (field.bits[0, 0] // 8 for field in layout.fields if field.dtype == "f2"):
        scale = np.ascontiguousarray(found[:, first : first + 2]).view(np.float16).astype(np.float32)
        with np.errstate(over="ignore"):  # an infinite scale has an infinite error, and is not taken
            trial[:, first : first + 2] = (scale * factor).astype(np.float16).view(np.uint8)
    limit, error = (sums(x, weights, decode(data))[2] for data in (given, trial))
    out = given.copy()
    for data, its_error in ((found, found_error), (trial, error)):
        np.copyto(out, data, where=(its_error <= limit)[:, None])  # NaN is not
    return out
