"""ggml's smallest i-quants, grid points for levels −1, 0, 1 with a shift of an eighth: IQ1_S and IQ1_M.

>>> print(IQ1_S.describe())
IQ1_S: 256 weights in 50 bytes, 1.5625 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–33: bits 0–7 of q[0], …
  byte 34: bits 8–10 of q[0] at bits 0–2, bits 8–10 of q[1] at bits 3–5, bits 8–9 of q[2] at bits 6–7
  byte 35: bit 10 of q[2] at bit 0, bits 8–10 of q[3] at bits 1–3, …, delta[0] at bit 7
  bytes 36–49: and so on
  x̂ = d · (2 · sc + 1) · (grid[q] ± ⅛)

>>> print(IQ1_M.describe())
IQ1_M: 256 weights in 56 bytes, 1.75 bpw
  bytes 0–31: bits 0–7 of q[0], …
  bytes 32–47: bits 8–10 of q[0] at bits 0–2, delta[0] at bit 3, …, delta[1] at bit 7, …
  byte 48: sc[0] at bits 0–2, sc[1] at bits 3–5, bits 0–1 of sc[2] at bits 6–7
  byte 49: bit 2 of sc[2] at bit 0, sc[3] at bits 1–3, bits 0–3 of d at bits 4–7
  byte 50: sc[4] at bits 0–2, sc[5] at bits 3–5, bits 0–1 of sc[6] at bits 6–7
  byte 51: bit 2 of sc[6] at bit 0, sc[7] at bits 1–3, bits 4–7 of d at bits 4–7
  byte 52: sc[8] at bits 0–2, sc[9] at bits 3–5, bits 0–1 of sc[10] at bits 6–7
  byte 53: bit 2 of sc[10] at bit 0, sc[11] at bits 1–3, bits 8–11 of d at bits 4–7
  byte 54: sc[12] at bits 0–2, sc[13] at bits 3–5, bits 0–1 of sc[14] at bits 6–7
  byte 55: bit 2 of sc[14] at bit 0, sc[15] at bits 1–3, bits 12–15 of d at bits 4–7
  x̂ = d · (2 · sc + 1) · (grid[q] ± ⅛)
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels, Term
from quantlib.formats.blocks.grids import Grid, grid, nearest_points
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.iquants_search import nearest_on_grid, weights_of
from quantlib.formats.blocks.search import nearest_int, total
from quantlib.formats.layout import Field, Layout, run, word
from quantlib.formats.tables.searches import DELTA, DOWN, LEAST_M, LEAST_S, UP

F32 = np.float32


def points() -> Grid:
    """The grid of both formats: 2,048 of the 3⁸ patterns of eight levels, with the nearest three shells."""
    return grid("IQ1_S", 3)


def running_sums(terms: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, … n terms: float32 (..., n) -> (..., n + 1)."""
    return np.cumsum(np.concatenate([np.zeros_like(terms[..., :1]), terms], axis=-1), axis=-1, dtype=F32)


def best_split(
    tops: np.ndarray, squares: np.ndarray, nothing: np.ndarray, power: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of candidates with Σwxq and Σwq², the one that removes most of the error, and all their scales and errors.

    tops, squares: float32 (blocks, groups, candidates), in the order tried. nothing: groups not to look at.
    power: Σwx² (blocks, groups). Gives the scale, the winner (−1 if there is none), all scales and all errors.
    """
    best = np.full(nothing.shape, np.finfo(F32).min)
    scale = np.zeros(nothing.shape, F32)
    winner = np.full(nothing.shape, -1)
    scales = tops / squares
    for c in range(tops.shape[-1]):
        top, square = tops[..., c], squares[..., c]
        better = ~nothing & (square > 0) & (top * top > best * square)
        scale = np.where(better, scales[..., c], scale)
        best = np.where(better, scales[..., c] * top, best)
        winner = np.where(better, c, winner)
    errors = power[..., None].astype(float) - tops.astype(float) ** 2 / squares.astype(float)
    return scale, winner, scales, np.where(nothing[..., None] | ~(squares > 0), np.nan, errors)


def splits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Where n sorted weights can be cut into three: all i ≤ j, i first."""
    return np.triu_indices(n + 1)


def split_levels(order: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Levels 0, 1, 2 of weights, given their order by size and the two cuts: (..., n), (...), (...) -> (..., n)."""
    rank = np.argsort(order, axis=-1, kind="stable")
    return (rank >= i[..., None]).astype(np.int64) + (rank >= j[..., None])


def split_scores_s(x: np.ndarray, weights: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σwxq and Σwq² of every split of a group, with either shift: (..., 2 · splits) each, up before down.

    x, weights: float32 (..., 32). order: the weights by size.
    """
    n = x.shape[-1]
    sum_x = running_sums(np.take_along_axis(weights * x, order, axis=-1))
    sum_w = running_sums(np.take_along_axis(weights, order, axis=-1))
    i, j = splits(n)

    def parts(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return sums[..., i] - sums[..., :1], sums[..., j] - sums[..., i], sums[..., n:] - sums[..., j]

    a, b, c = parts(sum_x)
    wa, wb, wc = parts(sum_w)
    tops = [a * q[0] + b * q[1] + c * q[2] for q in (UP, DOWN)]
    squares = [wa * q[0] * q[0] + wb * q[1] * q[1] + wc * q[2] * q[2] for q in (UP, DOWN)]
    top, square = (np.stack(both, axis=-1).reshape(*x.shape[:-1], -1) for both in (tops, squares))
    return top, square


def split_scores_m(x: np.ndarray, weights: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σwxq and Σwq² of every split of a group, with either shift in each half: (..., 4 · splits) each.

    Shifts are tried as up up, up down, down up, down down. x, weights: float32 (..., 16). order: the weights by size.
    """
    i, j = splits(x.shape[-1])
    tops, squares = [], []
    for half in (order < 8, order >= 8):
        sum_x = running_sums(np.where(half, np.take_along_axis(weights * x, order, axis=-1), F32(0)))
        sum_w = running_sums(np.where(half, np.take_along_axis(weights, order, axis=-1), F32(0)))
        taken = sum_x[..., i] + sum_x[..., j]
        tops.append([sum_x[..., -1:] * q[2] - taken for q in (UP, DOWN)])
        squares.append(
            [
                sum_w[..., -1:] * q[2] * q[2]
                + sum_w[..., i] * (q[0] * q[0] - q[1] * q[1])
                + sum_w[..., j] * (q[1] * q[1] - q[2] * q[2])
                for q in (UP, DOWN)
            ]
        )
    both = ((0, 0), (0, 1), (1, 0), (1, 1))
    top, square = (
        np.stack([parts[0][a] + parts[1][b] for a, b in both], axis=-1).reshape(*x.shape[:-1], -1)
        for parts in (tops, squares)
    )
    return top, square


def put_on_grid(
    x: np.ndarray, weights: np.ndarray, levels: np.ndarray, scale: np.ndarray, down: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Grid points for levels 0, 1, 2, and the scale that fits them where levels had to change.

    x, weights: float32 (blocks, groups, n). levels alike. scale: (blocks, groups). down: bool (blocks, groups, n / 8),
    which eights have the shift turned. Gives numbers (blocks, groups, n / 8) and scales (blocks, groups).
    """
    table = np.where(down[..., None], DOWN, UP)  # (blocks, groups, eights, levels)
    place = levels.reshape(*down.shape, 8) @ points().places
    number = points().number[place]
    off = number < 0
    spread = np.broadcast_to(scale[..., None], off.shape)
    values, counts = (part.reshape(*off.shape, 8)[off] for part in (x, weights))
    number[off] = nearest_on_grid(place[off], values, counts, spread[off], table[off], points())
    q = np.take_along_axis(table, points().levels[number].astype(np.int64), axis=-1).reshape(x.shape)
    top, square = total(weights * q * x), total(weights * q * q)
    return number, np.where(off.any(axis=-1) & (top > 0) & (square > 0), top / square, scale)


Scores = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def search_groups(
    groups: np.ndarray, weights: np.ndarray, scores: Scores, shifts: int, least: np.float32
) -> tuple[np.ndarray, ...]:
    """Scale, grid points and shifts of groups (blocks, groups, n); the sorted weights are cut into three every way.

    scores: `split_scores_s` or `split_scores_m`; it tries `shifts` shifts a split. With three levels that is an exact
    search; the grid comes after. Gives scale, numbers, the shift's number, what was tried (scales, errors), the winner.
    """
    nothing = np.abs(groups).max(axis=-1) < least
    order = np.argsort(groups, axis=-1, kind="stable")
    power = (weights.astype(float) * groups.astype(float) ** 2).sum(axis=-1)
    tops, squares = scores(groups, weights, order)
    scale, winner, scales, errors = best_split(tops, squares, nothing, power)
    nothing = nothing | (winner < 0)
    winner = np.maximum(winner, 0)
    shift = winner % shifts
    i, j = (cut[winner // shifts] for cut in splits(groups.shape[-1]))
    levels = split_levels(order, i, j)
    turned = scale < 0
    levels = np.where(turned[..., None], 2 - levels, levels)
    shift = np.where(turned, shifts - 1 - shift, shift)
    eights = np.arange(groups.shape[-1] // 8)
    down = shift[..., None] == 1 if shifts == 2 else (shift[..., None] >> (1 - eights) & 1) == 1
    down = np.broadcast_to(down, (*shift.shape, len(eights)))
    number, scale = put_on_grid(groups, weights, levels, np.abs(scale), down)
    scale = np.where(nothing | np.isnan(scale), F32(0), scale)
    number = np.where(nothing[..., None], 0, number)
    return scale, number, down & ~nothing[..., None], scales, errors, winner


def choose_iq1_s(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search each 32 weights, then round the scales to 3 bits: sc stands for d · (2 · sc + 1).

    x, importance: float32 (blocks, 256). Source: quantize_row_iq1_s_impl.
    """
    groups = x.reshape(-1, 8, 32)
    weights = weights_of(groups, importance, power=2)
    scale, number, down, scales, errors, winner = search_groups(groups, weights, split_scores_s, 2, LEAST_S)
    d = scale.max(axis=-1, keepdims=True) / F32(15)
    lost = scale.max(axis=-1, keepdims=True) == 0
    sc = np.clip(nearest_int(F32(0.5) * (F32(1) / d * scale - F32(1))), 0, 7)
    codes: Codes = {
        "d": np.where(lost, F32(0), d * F32(1.125)).astype(np.float16),
        "q": number.reshape(len(x), -1).astype(np.uint16),
        "sc": np.where(lost, 0, sc).astype(np.uint8),
        "delta": np.where(lost, 0, down[..., 0]).astype(np.uint8),
    }
    return Choice(codes, weights, scales, np.zeros_like(scales), errors, winner, _tried(scales, 32, 2))


def choose_iq1_m(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search each 16 weights, round the scales to 3 bits, then fit the super-scale to everything chosen.

    x, importance: float32 (blocks, 256). Source: quantize_row_iq1_m_impl.
    """
    groups = x.reshape(-1, 16, 16)
    weights = weights_of(groups, importance, power=2)
    scale, number, down, scales, errors, winner = search_groups(groups, weights, split_scores_m, 4, LEAST_M)
    d = scale.max(axis=-1) / F32(15)
    lost = (scale.max(axis=-1) == 0)[:, None]
    sc = np.clip(nearest_int(F32(0.5) * ((F32(1) / d)[:, None] * scale - F32(1))), 0, 7)  # (blocks, groups)

    table = np.where(down[..., None], DOWN, UP)
    q = np.take_along_axis(table, points().levels[number].astype(np.int64), axis=-1).reshape(groups.shape)
    q = q * (2 * sc + 1).astype(F32)[..., None]
    top, square = total((weights * q * groups).reshape(len(x), -1)), total((weights * q * q).reshape(len(x), -1))
    d = np.where(square > 0, top / square, d)[:, None]
    codes: Codes = {
        "q": number.reshape(len(x), -1).astype(np.uint16),
        "delta": np.where(lost, 0, down.reshape(len(x), -1)).astype(np.uint8),
        "sc": np.where(lost, 0, sc).astype(np.uint8),
        "d": np.where(lost, F32(0), d * F32(1.1125)).astype(np.float16),
    }
    return Choice(codes, weights, scales, np.zeros_like(scales), errors, winner, _tried(scales, 16, 4))


def _tried(scales: np.ndarray, n: int, shifts: int) -> dict[str, np.ndarray]:
    """Each candidate's cuts and shift: (blocks, groups, candidates, 3)."""
    cuts = np.repeat(np.stack(splits(n), axis=-1), shifts, axis=0)
    candidates = np.column_stack([cuts, np.arange(len(cuts)) % shifts])
    return {"cuts and shift": np.broadcast_to(candidates, (*scales.shape, 3))}


def decode_ternary_grid(codes: Codes) -> np.ndarray:
    """x̂ = d · (2 · sc + 1) · (grid[q] ± ⅛), minus where delta is set.

    {"d": (..., 1), "q": (..., 32), "sc": (..., groups), "delta": (..., 8 or 32)} -> float32 (..., 256).
    """
    scale = codes["d"].astype(F32) * (2 * codes["sc"].astype(F32) + F32(1))  # (..., groups)
    delta = np.where(codes["delta"] == 1, -DELTA, DELTA)
    value = points().values[codes["q"]].astype(F32)  # (..., 32, 8)
    shape = (*value.shape[:-2], 256)
    shifted = value.reshape(*delta.shape, -1) + delta[..., None]
    return (scale[..., None] * shifted.reshape(*scale.shape, -1)).reshape(shape)


def _load(name: str) -> Callable[[], Kernels]:
    @cache
    def load() -> Kernels:
        from quantlib.formats.kernels import iquants_ternary

        form = {"IQ1_S": IQ1_S, "IQ1_M": IQ1_M}[name]
        return iquants_ternary.ternary_kernels(form.layout, points())

    return load


_TERMS = {
    "g": Term("grid[q]", lambda codes, weight: points().values[codes["q"], weight % 8]),
    "s": Term("±⅛", lambda codes, weight: -DELTA if codes["delta"] else DELTA),
}
_FORMULA = Formula("{d} · (2 · {sc} + 1)", "", "{d} · (2 · {sc} + 1) · ({g} + {s})")
_GRID = "The number of a grid point: eight levels of −1, 0 and 1."
_SUB = "A 3-bit scale for each block of {}."
_REFERENCE = (best_split, splits, split_levels, running_sums, put_on_grid, nearest_on_grid, nearest_points, nearest_int)

_WORDS = 8 * (34 + 2 * np.arange(8))[:, None]
_HIGH = (_WORDS + 3 * np.arange(4)).reshape(-1, 1) + np.arange(3)
IQ1_S = BlockFormat(
    name="IQ1_S",
    ggml_type=19,
    summary="Super-blocks of 8 × 32 weights: each eight one of 2,048 grid points of −1, 0 and 1, 3-bit scales.",
    layout=Layout(
        256,
        (
            Field("d", word(0, 1, 2), "super-scale", "The scale of the sub-scales, a half-precision float.", "f2"),
            Field("q", np.hstack([run(2, 32, 8), _HIGH]), "code", _GRID),
            Field("sc", _WORDS + 12 + np.arange(3), "sub-scale", _SUB.format(32)),
            Field("delta", _WORDS + 15, "sub-minimum", "Whether an eighth is taken from the 32 levels, or added."),
        ),
    ),
    formula=_FORMULA,
    choose=choose_iq1_s,
    decode=decode_ternary_grid,
    load_kernels=_load("IQ1_S"),
    reference=(choose_iq1_s, search_groups, split_scores_s, *_REFERENCE),
    requires_importance=True,
    terms=_TERMS,
)

_NIBBLES = 8 * 32 + 4 * np.arange(32)[:, None]
_K = np.arange(16)[:, None]
IQ1_M = BlockFormat(
    name="IQ1_M",
    ggml_type=29,
    summary="Super-blocks of 16 × 16 weights: each eight one of 2,048 grid points of −1, 0 and 1, 3-bit scales.",
    layout=Layout(
        256,
        (
            Field("q", np.hstack([run(0, 32, 8), _NIBBLES + np.arange(3)]), "code", _GRID),
            Field("delta", _NIBBLES + 3, "sub-minimum", "Whether an eighth is taken from eight levels, or added."),
            Field("sc", 8 * 48 + 16 * (_K // 4) + 3 * (_K % 4) + np.arange(3), "sub-scale", _SUB.format(16)),
            Field(
                "d",
                np.concatenate([8 * 48 + 16 * k + 12 + np.arange(4) for k in range(4)])[None],
                "super-scale",
                "The scale of the sub-scales, a half-precision float in four pieces.",
                "f2",
            ),
        ),
    ),
    formula=_FORMULA,
    choose=choose_iq1_m,
    decode=decode_ternary_grid,
    load_kernels=_load("IQ1_M"),
    reference=(choose_iq1_m, search_groups, split_scores_m, *_REFERENCE),
    terms=_TERMS,
)
