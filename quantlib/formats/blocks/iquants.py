"""ggml's i-quants with signs, grid points for magnitudes: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

>>> print(IQ2_XXS.describe())
IQ2_XXS: 256 weights in 66 bytes, 2.0625 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–5: q[0], …
  byte 6: sign[0] at bits 0–6, bit 0 of sign[1] at bit 7
  byte 7: bits 1–6 of sign[1] at bits 0–5, bits 0–1 of sign[2] at bits 6–7
  byte 8: bits 2–6 of sign[2] at bits 0–4, bits 0–2 of sign[3] at bits 5–7
  byte 9: bits 3–6 of sign[3] at bits 0–3, sc[0] at bits 4–7
  bytes 10–65: and so on
  x̂ = d · (sc + 0.5) / 4 · ±grid[q]

>>> print(IQ2_XS.describe())
IQ2_XS: 256 weights in 74 bytes, 2.3125 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of q[0]
  byte 3: bit 8 of q[0] at bit 0, sign[0] at bits 1–7
  bytes 4–65: and so on
  bytes 66–73: sc[0] at bits 0–3, sc[1] at bits 4–7, …
  x̂ = d · (sc + 0.5) / 4 · ±grid[q]

>>> print(IQ2_S.describe())
IQ2_S: 256 weights in 82 bytes, 2.5625 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–33: bits 0–7 of q[0], …
  bytes 34–65: sign[0], …
  bytes 66–73: bits 8–9 of q[0] at bits 0–1, bits 8–9 of q[1] at bits 2–3, …, bits 8–9 of q[3] at bits 6–7, …
  bytes 74–81: sc[0] at bits 0–3, sc[1] at bits 4–7, …
  x̂ = d · (sc + 0.5) / 4 · ±grid[q]

>>> print(IQ3_XXS.describe())
IQ3_XXS: 256 weights in 98 bytes, 3.0625 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–65: q[0], …
  byte 66: sign[0] at bits 0–6, bit 0 of sign[1] at bit 7
  byte 67: bits 1–6 of sign[1] at bits 0–5, bits 0–1 of sign[2] at bits 6–7
  byte 68: bits 2–6 of sign[2] at bits 0–4, bits 0–2 of sign[3] at bits 5–7
  byte 69: bits 3–6 of sign[3] at bits 0–3, sc[0] at bits 4–7
  bytes 70–97: and so on
  x̂ = d · (sc + 0.5) / 2 · ±grid[q]

>>> print(IQ3_S.describe())
IQ3_S: 256 weights in 110 bytes, 3.4375 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–65: bits 0–7 of q[0], …
  bytes 66–73: bit 8 of q[0] at bit 0, bit 8 of q[1] at bit 1, …, bit 8 of q[7] at bit 7, …
  bytes 74–105: sign[0], …
  bytes 106–109: sc[0] at bits 0–3, sc[1] at bits 4–7, …
  x̂ = d · (2 · sc + 1) · ±grid[q]
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from quantlib.formats.blocks import iquants_search as search
from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels, Term
from quantlib.formats.blocks.grids import Grid, grid, nearest_points
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.iquants_search import ALL, ALL_IF_ANY, OFF_GRID, Rule
from quantlib.formats.blocks.iquants_signs import expand_signs, split_signs
from quantlib.formats.blocks.search import nearest_int, positive_scale, total
from quantlib.formats.layout import Field, Layout, plane, run, word

F32 = np.float32


def choose_by_grid(x: np.ndarray, importance: np.ndarray | None, rule: Rule, points: Grid) -> Choice:
    """Search grid points, signs and a scale for each group, then round the scales to 4 bits.

    A sub-scale sc stands for d · (2 · sc + 1); the largest scale becomes 31 · d. x, importance: float32 (blocks, 256).
    """
    found = search.grid_scale(x.reshape(len(x), -1, rule.group), importance, rule, points)
    largest = found.scale.max(axis=-1, keepdims=True)  # (blocks, 1)
    d = largest / F32(31)
    sc = np.clip(nearest_int(F32(0.5) * (F32(1) / d * found.scale - F32(1))), 0, 15)
    lost = largest == 0
    cleared = lost & rule.clears
    codes: dict[str, np.ndarray] = {
        "d": np.where(lost, F32(0), d * rule.fudge).astype(np.float16),
        "q": np.where(cleared, 0, found.number.reshape(len(x), -1)).astype(np.uint16),
        "sign": np.where(cleared, 0, found.signs.reshape(len(x), -1)).astype(np.uint8),
        "sc": np.where(lost, 0, sc).astype(np.uint8),
    }
    if rule.slips:
        codes |= slip(found)
    minima = np.zeros_like(found.scales)
    tried = {"q": found.numbers}
    return Choice(codes, found.weights, found.scales, minima, found.errors, found.winner, tried)


def slip(found: search.Found) -> Codes:
    """What ggml's IQ3_S encoder makes of a block with a group of zeros only (a fault of its, kept for equal bytes).

    It leaves no room for such a group: the signs and the low eight bits of the later groups' grid points move up, and
    only the highest bit stays in place.
    """
    order = np.argsort(found.nothing, axis=-1, kind="stable")[..., None]  # (blocks, groups, 1)
    low = np.take_along_axis(found.number & 255, order, axis=1)
    signs = np.take_along_axis(found.signs, order, axis=1)
    number = low | (found.number & ~255)
    return {"q": number.reshape(len(number), -1).astype(np.uint16), "sign": signs.reshape(len(signs), -1)}


def decode_by_grid(codes: Codes, rule: Rule, points: Grid, share: float) -> np.ndarray:
    """x̂ = d · (sc + ½) · share · ±grid[q].

    {"d": (..., 1), "q": (..., 256 / dim), "sign": (..., 32), "sc": (..., groups)} -> float32 (..., 256).
    """
    scale = codes["d"].astype(F32) * (codes["sc"].astype(F32) + F32(0.5)) * F32(share)  # (..., groups)
    signs = expand_signs(codes["sign"], rule.even)  # (..., 256)
    value = points.values[codes["q"]].reshape(signs.shape) * signs.astype(F32)
    return (scale[..., None] * value.reshape(*scale.shape, -1)).reshape(signs.shape)


def _grid_format(name: str, ggml_type: int, rule: Rule, shells: int, share: float, **parts: Any) -> BlockFormat:
    """A format of this family: its search rule, the shells of neighbours it tries, and what a sub-scale counts."""

    def points() -> Grid:
        return grid(name, shells)

    def choose(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
        return choose_by_grid(x, importance, rule, points())

    def decode(codes: Codes) -> np.ndarray:
        return decode_by_grid(codes, rule, points(), share)

    @cache
    def load_kernels() -> Kernels:
        from quantlib.formats.kernels import iquants

        return iquants.grid_kernels(rule, points(), share, form.layout)

    def value(codes: Mapping[str, Any], weight: int) -> float:
        sign = expand_signs(np.array([codes["sign"]], np.uint8), rule.even)[weight % 8]
        return float(sign * points().values[codes["q"], weight % points().dim])

    form = BlockFormat(
        name=name,
        ggml_type=ggml_type,
        choose=choose,
        decode=decode,
        load_kernels=load_kernels,
        reference=_REFERENCE,
        terms={"g": Term("±grid[q]", value)},
        **parts,
    )
    return form


_REFERENCE = (
    choose_by_grid,
    slip,
    search.grid_scale,
    search.weights_of,
    split_signs,
    search.snap,
    search.nearest_on_grid,
    search.fit,
    positive_scale,
    nearest_points,
    nearest_int,
    total,
)
_D = Field("d", word(0, 1, 2), "super-scale", "The scale of the sub-scales, a half-precision float.", "f2")
_SUB = "A 4-bit scale for each block of {}."
_GRID = "The number of a grid point: the magnitudes of {} weights."
_SEVEN = "Signs of seven weights; the eighth makes the minuses of eight even."
_EIGHT = "Signs of eight weights."
_SMALLEST = np.finfo(F32).smallest_subnormal
_FORMULA = Formula("{d} · ({sc} + 0.5) / 4", "", "{d} · ({sc} + 0.5) / 4 · {g}")


def _signs_and_scale(byte: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of four signs of seven bits and a sub-scale of four, in the 32-bit words at `byte`, `byte + step`, …"""
    words = 8 * (byte + step * np.arange(8))
    signs = (words[:, None] + 7 * np.arange(4)).reshape(-1, 1) + np.arange(7)
    return signs, words[:, None] + 28 + np.arange(4)


_SIGNS, _SCALES = _signs_and_scale(6, 8)
IQ2_XXS = _grid_format(
    "IQ2_XXS",
    16,
    Rule(32, True, F32(1), F32(0), F32(1e-15), 6, F32(0.1), True, ALL, True, F32(1)),
    shells=2,
    share=0.25,
    summary="Super-blocks of 8 × 32 weights: each eight magnitudes one of 256 grid points, 7-bit signs, 4-bit scales.",
    layout=Layout(
        256,
        (
            _D,
            Field("q", np.vstack([run(2 + 8 * g, 4, 8) for g in range(8)]), "code", _GRID.format("eight")),
            Field("sign", _SIGNS, "sign", _SEVEN),
            Field("sc", _SCALES, "sub-scale", _SUB.format(32)),
        ),
    ),
    formula=_FORMULA,
    requires_importance=True,
)

_WORDS = 8 * (2 + 2 * np.arange(32))[:, None]
IQ2_XS = _grid_format(
    "IQ2_XS",
    17,
    Rule(16, True, F32(1), F32(0), F32(1e-15), 9, F32(0.1), False, OFF_GRID, True, F32(1)),
    shells=2,
    share=0.25,
    summary="Super-blocks of 16 × 16 weights: each eight magnitudes one of 512 grid points, 7-bit signs, 4-bit scales.",
    layout=Layout(
        256,
        (
            _D,
            Field("q", _WORDS + np.arange(9), "code", _GRID.format("eight")),
            Field("sign", _WORDS + 9 + np.arange(7), "sign", _SEVEN),
            Field("sc", plane(66, 8, 4, 1), "sub-scale", _SUB.format(16)),
        ),
    ),
    formula=_FORMULA,
    requires_importance=True,
)

IQ2_S = _grid_format(
    "IQ2_S",
    22,
    Rule(16, False, F32(2), F32(0.25), F32(1e-8), 9, F32(0.1), False, OFF_GRID, False, F32(0.9875)),
    shells=1,
    share=0.25,
    summary="Super-blocks of 16 × 16 weights: each eight magnitudes one of 1,024 grid points, all signs, 4-bit scales.",
    layout=Layout(
        256,
        (
            _D,
            Field("q", np.hstack([run(2, 32, 8), plane(66, 8, 2, 1)]), "code", _GRID.format("eight")),
            Field("sign", run(34, 32, 8), "sign", _EIGHT),
            Field("sc", plane(74, 8, 4, 1), "sub-scale", _SUB.format(16)),
        ),
    ),
    formula=_FORMULA,
)

_SIGNS, _SCALES = _signs_and_scale(66, 4)
IQ3_XXS = _grid_format(
    "IQ3_XXS",
    18,
    Rule(32, True, F32(2), F32(0), F32(1e-8), 15, F32(0.2), False, OFF_GRID, True, F32(1.0125)),
    shells=2,
    share=0.5,
    summary="Super-blocks of 8 × 32 weights: each four magnitudes one of 256 grid points, 7-bit signs, 4-bit scales.",
    layout=Layout(
        256,
        (
            _D,
            Field("q", run(2, 64, 8), "code", _GRID.format("four")),
            Field("sign", _SIGNS, "sign", _SEVEN),
            Field("sc", _SCALES, "sub-scale", _SUB.format(32)),
        ),
    ),
    formula=Formula("{d} · ({sc} + 0.5) / 2", "", "{d} · ({sc} + 0.5) / 2 · {g}"),
)

IQ3_S = _grid_format(
    "IQ3_S",
    21,
    Rule(32, False, F32(2), F32(0), _SMALLEST, 9, F32(0.2), False, ALL_IF_ANY, False, F32(1.033), slips=True),
    shells=3,
    share=2.0,
    summary="Super-blocks of 8 × 32 weights: each four magnitudes one of 512 grid points, all signs, 4-bit scales.",
    layout=Layout(
        256,
        (
            _D,
            Field("q", np.hstack([run(2, 64, 8), plane(66, 8, 1, 1)]), "code", _GRID.format("four")),
            Field("sign", run(74, 32, 8), "sign", _EIGHT),
            Field("sc", plane(106, 4, 4, 1), "sub-scale", _SUB.format(32)),
        ),
    ),
    formula=Formula("{d} · (2 · {sc} + 1)", "", "{d} · (2 · {sc} + 1) · {g}"),
)
