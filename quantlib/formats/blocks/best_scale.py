"""Better codes in blocks with one scale: Q4_0, Q4_1, Q5_0, Q5_1 and IQ4_NL.

They decode x̂ = d · level + m. Without importance ggml makes d span the block; with it, and in IQ4_NL, it tries a few
scales. Here many scales are tried around its own, each with several minima where there is one; then d and m are fitted
to the levels by weighted least squares, twice.
"""

from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.best import Levels, Reach, error_of, error_with, half, rounded, sums_of
from quantlib.formats.blocks.improving import Codes, Improve
from quantlib.formats.blocks.search import total
from quantlib.formats.tables.searches import FITS, MINIMUM_STEP

F32 = np.float32


class OneScale(NamedTuple):
    """What a block with one scale stores, and how far to search it.

    minima: whether a minimum is stored, as m = −minimum. steps: of the scale, in all of it. plain, weighed: the reach
    without and with importance, whose errors vary more.
    """

    levels: Levels
    minima: bool
    steps: int
    plain: Reach
    weighed: Reach

    def improve(self, x: np.ndarray, weights: np.ndarray, codes: Codes, weighed: bool) -> Codes:
        """The readable search: see `improve`."""
        return improve(x, weights, codes, self, weighed)

    def load_kernel(self) -> Improve:
        """The compiled search, of the same meaning."""
        from quantlib.formats.kernels.best_scale import improve_codes

        return partial(improve_codes, form=self)


def improve(x: np.ndarray, weights: np.ndarray, codes: Codes, form: OneScale, weighed: bool) -> Codes:
    """Codes with a weighted squared error that is no higher in any block.

    x, weights: float32 (blocks, 32). codes: {field: (blocks, count)}, ggml's to begin with. weighed: by importance.
    """
    first = codes["d"].astype(F32)[:, 0]  # (blocks,)
    lowest = -codes["m"].astype(F32)[:, 0] if form.minima else np.zeros_like(first)
    given = error_with(x, weights, first, lowest, form.levels.of(codes["q"]))

    scale, minimum = _around(x, weights, first, lowest, form, form.weighed if weighed else form.plain)
    scale, minimum = half(scale), half(minimum)
    error = error_of(x, weights, scale, minimum, form.levels)
    for _ in range(FITS):
        trial = _fitted(x, weights, scale, minimum, form)
        trial_error = error_of(x, weights, *trial, form.levels)
        better = trial_error < error
        error = np.where(better, trial_error, error)
        scale, minimum = np.where(better, trial[0], scale), np.where(better, trial[1], minimum)

    found: dict[str, np.ndarray] = {
        "d": scale[:, None].astype(np.float16),
        "q": form.levels.codes(rounded(x, scale, minimum, form.levels)),
    }
    if form.minima:
        found["m"] = -minimum[:, None].astype(np.float16)
    better = (error < given)[:, None]
    return {name: np.where(better, code, codes[name]) for name, code in found.items()}


def _around(
    x: np.ndarray, weights: np.ndarray, first: np.ndarray, lowest: np.ndarray, form: OneScale, reach: Reach
) -> tuple[np.ndarray, np.ndarray]:
    """The best of the scales and minima around these, as if they were stored exactly."""
    scale, minimum, error = first, lowest, np.full(len(x), np.inf, F32)
    steps = range(-reach.minima, reach.minima + 1) if form.minima else (0,)
    signs = (1, -1) if reach.mirrored else (1,)
    for ds, dm, sign in product(range(-reach.scales, reach.scales + 1), steps, signs):
        trial = first * (F32(1) + F32(ds) * (F32(1) / F32(form.steps))) * F32(sign)
        low = lowest + first * (F32(dm) * MINIMUM_STEP)
        trial_error = error_of(x, weights, trial, low, form.levels)
        better = trial_error < error
        scale, minimum = np.where(better, trial, scale), np.where(better, low, minimum)
        error = np.where(better, trial_error, error)
    return scale, minimum


def _fitted(
    x: np.ndarray, weights: np.ndarray, scale: np.ndarray, minimum: np.ndarray, form: OneScale
) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the minimum that fit the levels best, as they are stored."""
    sums = sums_of(x, weights, scale, minimum, form.levels)
    if not form.minima:
        return half(sums.vx / sums.vv), minimum
    w, wx = total(weights), total(weights * x)
    scale = (w * sums.vx - wx * sums.v) / (w * sums.vv - sums.v * sums.v)
    return half(scale), half((scale * sums.v - wx) / w)
