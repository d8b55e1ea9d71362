"""Better codes in super-blocks: the k-quants and IQ4_XS.

They decode x̂ = d · sc · level − dmin · mn. ggml searches a scale and a minimum for each group as if these were stored
exactly, then rounds them; here the stored numbers themselves are searched. First every group tries the sub-codes around
its own, far to both sides; then those of the scale and minimum that fit its levels best; then d and dmin are fitted to
everything chosen, by weighted least squares; then every group looks around once more.
"""

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.best import Levels, Reach, clamp, error_of, error_with, half, rounded, sums_of, whole
from quantlib.formats.blocks.improving import Codes, Improve
from quantlib.formats.blocks.search import total
from quantlib.formats.tables.searches import BESIDE

F32 = np.float32


class SuperBlock(NamedTuple):
    """What a super-block stores, and how far to search it.

    groups: of a block. Sub-scales are sub_low … sub_top, stored with sub_zero added. minima: whether there are any,
    with sub-codes 0 … sub_top. plain, weighed: the reach without and with importance, whose errors vary more.
    emphasis: large weights count more in the search than in the error that must not rise.
    """

    groups: int
    levels: Levels
    sub_low: int
    sub_top: int
    sub_zero: int
    minima: bool
    plain: Reach
    weighed: Reach
    emphasis: bool = False

    def counted(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """What squared errors count in the search: w, or with emphasis w · sqrt(mean x² + x²) as in ggml's own.

        Of Q3_K's eight levels the outermost holds the large weights, and the least error alone cuts these short: with
        emphasis the demo model's divergence is 2 to 3 % lower. Other formats gained less, or lost.
        """
        if not self.emphasis:
            return weights
        squares = x * x
        power = total(total(squares.reshape(len(x), self.groups, -1))) / F32(x.shape[1])
        return weights * np.sqrt(power[:, None] + squares)

    def improve(self, x: np.ndarray, weights: np.ndarray, codes: Codes, weighed: bool) -> Codes:
        """The readable search: see `improve`."""
        return improve(x, self.counted(x, weights), codes, self, weighed)

    def load_kernel(self) -> Improve:
        """The compiled search, of the same meaning."""
        from quantlib.formats.kernels.best_super import improve_codes

        return partial(improve_codes, form=self)


@dataclass(frozen=True, eq=False)
class Stored:
    """What blocks store: d, dmin (blocks, 1), sc, mn (blocks, groups), all float32; and the weighted squared error of
    each group with the nearest levels, (blocks, groups).
    """

    d: np.ndarray
    dmin: np.ndarray
    sc: np.ndarray
    mn: np.ndarray
    error: np.ndarray

    @property
    def whole_error(self) -> np.ndarray:
        """Of each block, (blocks, 1)."""
        return total(self.error)[:, None]


def improve(x: np.ndarray, weights: np.ndarray, codes: Codes, form: SuperBlock, weighed: bool) -> Codes:
    """Codes with a weighted squared error that is no higher in any block.

    x, weights: float32 (blocks, 256). codes: {field: (blocks, count)}, ggml's to begin with. weighed: by importance.
    """
    x = x.reshape(len(x), form.groups, -1)  # (blocks, groups, n)
    weights = weights.reshape(x.shape)
    d, sc = codes["d"].astype(F32), codes["sc"].astype(F32) - F32(form.sub_zero)
    dmin = codes["dmin"].astype(F32) if form.minima else np.zeros_like(d)
    mn = codes["mn"].astype(F32) if form.minima else np.zeros_like(sc)
    given = error_with(x, weights, d * sc, dmin * mn, form.levels.of(codes["q"].reshape(x.shape)))

    state = _stored(x, weights, d, dmin, sc, mn, form)
    state = _around(x, weights, state, form, form.weighed if weighed else form.plain)
    state = _fitted(x, weights, state, form)
    state = _refitted(x, weights, state, form)
    state = _around(x, weights, state, form, Reach(BESIDE, BESIDE))

    found: dict[str, np.ndarray] = {"d": state.d.astype(np.float16), "sc": state.sc + F32(form.sub_zero)}
    if form.minima:
        found |= {"dmin": state.dmin.astype(np.float16), "mn": state.mn}
    level = rounded(x, state.d * state.sc, state.dmin * state.mn, form.levels)
    found["q"] = form.levels.codes(level).reshape(len(x), -1)
    better = state.whole_error < total(given)[:, None]
    return {name: np.where(better, code.astype(codes[name].dtype), codes[name]) for name, code in found.items()}


def _stored(
    x: np.ndarray,
    weights: np.ndarray,
    d: np.ndarray,
    dmin: np.ndarray,
    sc: np.ndarray,
    mn: np.ndarray,
    form: SuperBlock,
) -> Stored:
    return Stored(d, dmin, sc, mn, error_of(x, weights, d * sc, dmin * mn, form.levels))


def _take_lower(state: Stored, sc: np.ndarray, mn: np.ndarray, error: np.ndarray) -> Stored:
    """For each group the sub-codes of the lower error."""
    better = error < state.error
    return replace(
        state,
        sc=np.where(better, sc, state.sc),
        mn=np.where(better, mn, state.mn),
        error=np.where(better, error, state.error),
    )


def _around(x: np.ndarray, weights: np.ndarray, start: Stored, form: SuperBlock, reach: Reach) -> Stored:
    """For each group the best of the sub-codes around its own."""
    state = start
    steps = range(-reach.minima, reach.minima + 1) if form.minima else (0,)
    signs = (1, -1) if reach.mirrored else (1,)
    for ds, dm, sign in product(range(-reach.scales, reach.scales + 1), steps, signs):
        sc = clamp((start.sc + F32(ds)) * F32(sign), form.sub_low, form.sub_top)
        mn = clamp(start.mn + F32(dm), 0, form.sub_top)
        error = error_of(x, weights, start.d * sc, start.dmin * mn, form.levels)
        state = _take_lower(state, sc, mn, error)
    return state


def _fitted(x: np.ndarray, weights: np.ndarray, state: Stored, form: SuperBlock) -> Stored:
    """For each group the sub-codes nearest to what fits its levels best, where they are better."""
    sums = sums_of(x, weights, state.d * state.sc, state.dmin * state.mn, form.levels)
    per_d = F32(1) / state.d
    if form.minima:
        w, wx = total(weights), total(weights * x)
        scale = (w * sums.vx - wx * sums.v) / (w * sums.vv - sums.v * sums.v)
        sc = clamp(whole(scale * per_d), form.sub_low, form.sub_top)
        minimum = ((sc * state.d) * sums.v - wx) / w
        mn = clamp(whole(minimum * (F32(1) / state.dmin)), 0, form.sub_top)
    else:
        sc, mn = clamp(whole(sums.vx / sums.vv * per_d), form.sub_low, form.sub_top), state.mn
    return _take_lower(state, sc, mn, error_of(x, weights, state.d * sc, state.dmin * mn, form.levels))


def _refitted(x: np.ndarray, weights: np.ndarray, state: Stored, form: SuperBlock) -> Stored:
    """The super-scales that fit all levels best, where rounding them leaves the block better."""
    sums = sums_of(x, weights, state.d * state.sc, state.dmin * state.mn, form.levels)
    sc, mn = state.sc.astype(float), state.mn.astype(float)

    def over_block(terms: np.ndarray) -> np.ndarray:
        return np.cumsum(terms, axis=-1)[:, -1:]  # (blocks, 1), from left to right

    aa, ax = over_block(sc * sc * sums.vv), over_block(sc * sums.vx)
    ab, bb = -over_block(sc * mn * sums.v), over_block(mn * mn * total(weights))
    bx = -over_block(mn * total(weights * x))
    spread = aa * bb - ab * ab
    both = spread > 1e-9 * aa * bb
    d = np.where(both, (ax * bb - bx * ab) / spread, (ax - ab * state.dmin.astype(float)) / aa)
    dmin = np.where(both, (bx * aa - ax * ab) / spread, state.dmin)
    trial = _stored(x, weights, half(d), half(dmin), state.sc, state.mn, form)
    better = trial.whole_error < state.whole_error
    return replace(
        state,
        d=np.where(better, trial.d, state.d),
        dmin=np.where(better, trial.dmin, state.dmin),
        error=np.where(better, trial.error, state.error),
    )
