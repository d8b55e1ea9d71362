"""Better codes in the same blocks: from ggml's choice of a super-block down to a lower error, never up.

A k-quant decodes x̂ = d · sc · (q − zero) − dmin · mn. ggml searches a scale and a minimum for each group as if they
were stored exactly, then rounds them; here the stored numbers themselves are searched. In turn: every group tries the
sub-codes around its own, each with the nearest codes; then the two super-scales are fitted to everything chosen, by
weighted least squares. A step is kept only in blocks where it lowers the weighted squared error of what is decoded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.search import nearest_int, total

F32 = np.float32
TURNS = 2
STRETCHES = (F32(0.93), F32(1.07))  # other super-scales to begin with


class SuperBlock(NamedTuple):
    """The numbers that a k-quant stores.

    groups: of a block. top: codes are 0 … top, `zero` standing for 0. Sub-scales are sub_low … sub_top, stored with
    sub_zero added. minima: whether there are any, with sub-codes 0 … sub_top.
    """

    groups: int
    top: int
    zero: int
    sub_low: int
    sub_top: int
    sub_zero: int
    minima: bool


@dataclass(frozen=True, eq=False)
class Stored:
    """What blocks store: d, dmin float16 (blocks, 1), sc, mn (blocks, groups), q (blocks, groups, n), all int32.

    error: weighted squared error of each group (blocks, groups).
    """

    d: np.ndarray
    dmin: np.ndarray
    sc: np.ndarray
    mn: np.ndarray
    q: np.ndarray
    error: np.ndarray


def improve(x: np.ndarray, weights: np.ndarray, codes: Mapping[str, np.ndarray], form: SuperBlock) -> dict:
    """Codes with a weighted squared error Σ w · (x − x̂)² that is no higher in any block.

    x, weights: float32 (blocks, 256). codes: {field: (blocks, count)}, ggml's to begin with.
    """
    x = x.reshape(len(x), form.groups, -1)
    weights = weights.reshape(x.shape)
    sc = codes["sc"].astype(np.int32) - form.sub_zero
    mn = codes["mn"].astype(np.int32) if form.minima else np.zeros_like(sc)
    dmin = codes["dmin"] if form.minima else np.zeros_like(codes["d"])
    given = codes["q"].astype(np.int32).reshape(x.shape)
    first = Stored(codes["d"], dmin, sc, mn, given, _error(x, weights, codes["d"], dmin, sc, mn, given, form))

    best = _settle(x, weights, first, form)
    for stretch in STRETCHES:
        best = _lower(best, _settle(x, weights, _stretched(x, weights, first, stretch, form), form))
    stored = {"d": best.d, "sc": (best.sc + form.sub_zero).astype(codes["sc"].dtype)}
    if form.minima:
        stored |= {"dmin": best.dmin, "mn": best.mn.astype(codes["mn"].dtype)}
    return stored | {"q": best.q.reshape(len(x), -1).astype(codes["q"].dtype)}


def _settle(x, weights, state: Stored, form: SuperBlock) -> Stored:
    """Sub-codes and super-scales in turn."""
    for _ in range(TURNS):
        state = _around(x, weights, state, form)
        state = _refit(x, weights, state, form)
    return _around(x, weights, state, form)


def _around(x, weights, state: Stored, form: SuperBlock) -> Stored:
    """For each group the best of the sub-codes around its own."""
    for ds, dm in product((-1, 0, 1), (-1, 0, 1) if form.minima else (0,)):
        sc = np.clip(state.sc + ds, form.sub_low, form.sub_top)
        mn = np.clip(state.mn + dm, 0, form.sub_top)
        trial = _rounded(x, weights, state.d, state.dmin, sc, mn, form)
        better = trial.error < state.error
        pick = better[..., None]
        state = replace(
            state,
            sc=np.where(better, sc, state.sc),
            mn=np.where(better, mn, state.mn),
            q=np.where(pick, trial.q, state.q),
            error=np.where(better, trial.error, state.error),
        )
    return state


def _refit(x, weights, state: Stored, form: SuperBlock) -> Stored:
    """The super-scales that fit all codes best, where rounding them leaves the block better."""
    a = (state.sc[..., None] * (state.q - form.zero)).astype(float)
    b = -np.broadcast_to(state.mn[..., None], a.shape).astype(float)

    def over_block(terms: np.ndarray) -> np.ndarray:
        return np.cumsum((weights * terms).reshape(len(x), -1), axis=-1)[:, -1:]  # (blocks, 1), from left to right

    aa, ab, bb = over_block(a * a), over_block(a * b), over_block(b * b)
    ax, bx = over_block(a * x), over_block(b * x)
    spread = aa * bb - ab * ab
    both = spread > 1e-9 * aa * bb
    d = np.where(both, (ax * bb - bx * ab) / spread, (ax - ab * state.dmin.astype(float)) / aa)
    dmin = np.where(both, (bx * aa - ax * ab) / spread, state.dmin)
    trial = _rounded(x, weights, _half(d), _half(dmin), state.sc, state.mn, form)
    return _lower(state, trial)


def _stretched(x, weights, state: Stored, stretch: np.float32, form: SuperBlock) -> Stored:
    """The same scales as nearly as another pair of super-scales can store them."""
    sc = np.clip(nearest_int(state.sc.astype(F32) / stretch), form.sub_low, form.sub_top)
    mn = np.clip(nearest_int(state.mn.astype(F32) / stretch), 0, form.sub_top)
    d, dmin = (_half(stretch * part.astype(F32)) for part in (state.d, state.dmin))
    return _rounded(x, weights, d, dmin, sc, mn, form)


def _half(v: np.ndarray) -> np.ndarray:
    return v.astype(F32).astype(np.float16)


def _rounded(x, weights, d, dmin, sc, mn, form: SuperBlock) -> Stored:
    """The nearest codes for scales as they are stored."""
    scale = (d.astype(F32) * sc.astype(F32))[..., None]
    minimum = (dmin.astype(F32) * mn.astype(F32))[..., None]
    steps = np.where(scale != 0, (x + minimum) / scale, F32(0))
    q = np.clip(nearest_int(steps) + form.zero, 0, form.top)
    return Stored(d, dmin, sc, mn, q, _error(x, weights, d, dmin, sc, mn, q, form))


def _error(x, weights, d, dmin, sc, mn, q, form: SuperBlock) -> np.ndarray:
    """Weighted squared error of each group (blocks, groups), with x̂ in float32 as a decoder has it."""
    scale = (d.astype(F32) * sc.astype(F32))[..., None]
    minimum = (dmin.astype(F32) * mn.astype(F32))[..., None]
    miss = scale * (q - form.zero).astype(F32) - minimum - x
    terms = (weights * miss * miss).reshape(*sc.shape, -1, 8)  # (blocks, groups, eights, 8): eight sums side by side
    return total(total(np.moveaxis(terms, -1, -2)))


def _lower(state: Stored, trial: Stored) -> Stored:
    """Block by block, the one with the lower error."""
    better = total(trial.error) < total(state.error)

    def choose(name: str) -> np.ndarray:
        new, old = getattr(trial, name), getattr(state, name)
        return np.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return Stored(**{field.name: choose(field.name) for field in fields(state)})
