"""ggml's four-bit formats whose sixteen levels are not evenly spaced: IQ4_NL and IQ4_XS.

>>> print(IQ4_NL.describe())
IQ4_NL: 32 weights in 18 bytes, 4.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–17: q[0] at bits 0–3, q[16] at bits 4–7, …
  x̂ = d · value[q]

>>> print(IQ4_XS.describe())
IQ4_XS: 256 weights in 136 bytes, 4.25 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–3: bits 4–5 of sc[0] at bits 0–1, bits 4–5 of sc[1] at bits 2–3, …, bits 4–5 of sc[3] at bits 6–7, …
  bytes 4–7: bits 0–3 of sc[0] at bits 0–3, bits 0–3 of sc[1] at bits 4–7, …
  bytes 8–135: q[0] at bits 0–3, q[16] at bits 4–7, …
  x̂ = d · (sc − 32) · value[q]
"""

import numpy as np

from quantlib.formats.blocks.best import Levels, Reach
from quantlib.formats.blocks.best_scale import OneScale
from quantlib.formats.blocks.best_super import SuperBlock
from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels, Term
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.search import LEAST, VALUES, Search, nearest_int, nearest_value, total
from quantlib.formats.layout import Field, Layout, plane, word

F32 = np.float32


def table_scale(x: np.ndarray, weights: np.ndarray) -> Search:
    """Find d so that d · value comes closest to x, for the values of the table.

    The first candidate makes the value of largest magnitude −127 with its sign turned; fifteen more make it one of
    −134 … −120. For given codes the best scale is Σwxv / Σwv², and it removes (Σwxv)² / Σwv² of the error Σwx²: the
    candidate that removes most wins.

    x, weights: float32 (..., n). A group below 1e-15 everywhere has scale 0.
    """
    place = np.abs(x).argmax(axis=-1)
    largest = np.take_along_axis(x, place[..., None], axis=-1)[..., 0]
    nothing = np.abs(largest) < LEAST
    low = F32(VALUES[0])
    scale = best = np.zeros(x.shape[:-1], F32)
    codes = np.zeros(x.shape, np.uint8)
    winner = np.zeros(x.shape[:-1], np.int64)
    tried: list[tuple[np.ndarray, np.ndarray]] = []

    for s in (None, *range(-7, 8)):
        inverse = F32(1) / (-largest / low) if s is None else (F32(s) + low) / largest
        trial = nearest_value(inverse[..., None] * x)
        value = VALUES[trial].astype(F32)
        sum_xv = total(weights * value * x)
        sum_v2 = total(weights * value * value)
        trial_scale = np.where(sum_v2 > 0, sum_xv / sum_v2, F32(0))

        better = (sum_v2 > 0) & (sum_xv * sum_xv > best * sum_v2) if tried else True
        better &= ~nothing
        codes = np.where(better[..., None], trial, codes)
        scale = np.where(better, trial_scale, scale)
        best = np.where(better, trial_scale * sum_xv, best)
        winner = np.where(better, len(tried), winner)
        miss = x - trial_scale[..., None] * value
        error = (weights.astype(float) * miss.astype(float) ** 2).sum(axis=-1)
        tried.append((trial_scale, np.where(nothing | (sum_v2 == 0), np.nan, error)))

    scales, errors = (np.stack(column, axis=-1) for column in zip(*tried, strict=True))
    return Search(scale, np.zeros_like(scale), codes, scales, np.zeros_like(scales), errors, winner)


def weights_of(x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """What an error counts: x², or importance · √(2 · mean square of the block + x²).

    x, importance: float32 (blocks, values) -> (blocks, groups, 32).
    """
    groups = x.reshape(len(x), -1, 32)
    if importance is None:
        return groups * groups
    power = total(x * x) * F32(2 / x.shape[-1])
    return importance.reshape(groups.shape) * np.sqrt(power[:, None, None] + groups * groups)


def choose_iq4_nl(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search the scale of each block, then take the nearest value for each weight.

    x, importance: float32 (blocks, 32). Source: quantize_row_iq4_nl_impl.
    """
    weights = weights_of(x, importance)
    found = table_scale(x[:, None], weights)
    inverse = np.where(found.scale != 0, F32(1) / found.scale, F32(0))  # (blocks, 1)
    codes = {"d": found.scale.astype(np.float16), "q": nearest_value(inverse * x)}
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def choose_iq4_xs(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search a scale for each block of 32, round the scales to 6 bits, then take the nearest value for each weight.

    The scale of largest magnitude becomes −32. x, importance: float32 (blocks, 256).
    Source: quantize_row_iq4_nl_impl.
    """
    groups = x.reshape(-1, 8, 32)  # (blocks, groups, weights)
    weights = weights_of(x, importance)
    found = table_scale(groups, weights)

    size = np.where(np.isnan(found.scale), F32(0), np.abs(found.scale))
    largest = np.take_along_axis(found.scale, size.argmax(axis=-1)[:, None], axis=-1)  # (blocks, 1)
    d = -np.where(size.max(axis=-1, keepdims=True) > 0, largest, F32(0)) / F32(32)
    inverse = np.where(d != 0, F32(1) / d, F32(0))
    sc = np.clip(nearest_int(inverse * found.scale), -32, 31)  # (blocks, groups)
    scale = d * sc.astype(F32)
    inverse = np.where(scale != 0, F32(1) / scale, F32(0))[..., None]
    q = nearest_value(inverse * groups)
    codes = {"d": d.astype(np.float16), "sc": (sc + 32).astype(np.uint8), "q": q.reshape(-1, 256)}
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def decode_iq4_nl(codes: Codes) -> np.ndarray:
    """x̂ = d · value[q]. {"d": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    return codes["d"].astype(F32) * VALUES[codes["q"]].astype(F32)


def decode_iq4_xs(codes: Codes) -> np.ndarray:
    """x̂ = d · (sc − 32) · value[q]. {"d": (..., 1), "sc": (..., 8), "q": (..., 256)} -> float32 (..., 256)."""
    scale = codes["d"].astype(F32) * (codes["sc"].astype(F32) - F32(32))  # (..., groups)
    value = VALUES[codes["q"]].astype(F32)
    groups = value.reshape(*value.shape[:-1], 8, 32)  # (..., groups, weights)
    return (scale[..., None] * groups).reshape(value.shape)


def _load_iq4_nl() -> Kernels:
    from quantlib.formats.kernels import nonlinear

    return Kernels(nonlinear.encode_iq4_plain, nonlinear.encode_iq4, nonlinear.decode_iq4_nl)


def _load_iq4_xs() -> Kernels:
    from quantlib.formats.kernels import nonlinear

    return Kernels(nonlinear.encode_iq4_plain, nonlinear.encode_iq4, nonlinear.decode_iq4_xs)


_UNEVEN = Levels(int(VALUES[0]), int(VALUES[-1]), uneven=True)
_VALUE = {"v": Term("value[q]", lambda codes, weight: VALUES[codes["q"]])}
IQ4_NL = BlockFormat(
    name="IQ4_NL",
    ggml_type=20,
    summary="Blocks of 32 weights: 4-bit codes for sixteen unevenly spaced values, one half-precision scale.",
    layout=Layout(
        32,
        (
            Field("d", word(0, 1, 2), "scale", "The block's scale, a half-precision float.", "f2"),
            Field("q", plane(2, 16, 4, 16), "code", "The number of one of sixteen values, for each weight."),
        ),
    ),
    formula=Formula("{d}", "", "{d} · {v}"),
    choose=choose_iq4_nl,
    decode=decode_iq4_nl,
    load_kernels=_load_iq4_nl,
    reference=(choose_iq4_nl, weights_of, table_scale, nearest_value, total),
    terms=_VALUE,
    better=OneScale(_UNEVEN, False, 64, Reach(12, 0, True), Reach(24, 0, True)),
)

IQ4_XS = BlockFormat(
    name="IQ4_XS",
    ggml_type=23,
    summary="Super-blocks of 8 × 32 weights: 4-bit codes for sixteen unevenly spaced values, 6-bit sub-scales.",
    layout=Layout(
        256,
        (
            Field("d", word(0, 1, 2), "super-scale", "The scale of the sub-scales, a half-precision float.", "f2"),
            Field(
                "sc",
                np.hstack([plane(4, 4, 4, 1), plane(2, 2, 2, 1)]),
                "sub-scale",
                "A 6-bit scale for each block of 32, 32 standing for zero: four bits in one place, two in another.",
            ),
            Field("q", plane(8, 128, 4, 16), "code", "The number of one of sixteen values, for each weight."),
        ),
    ),
    formula=Formula("{d} · ({sc} − 32)", "", "{d} · ({sc} − 32) · {v}"),
    choose=choose_iq4_xs,
    decode=decode_iq4_xs,
    load_kernels=_load_iq4_xs,
    reference=(choose_iq4_xs, weights_of, table_scale, nearest_value, nearest_int, total),
    terms=_VALUE,
    better=SuperBlock(8, _UNEVEN, -32, 31, 32, False, Reach(5, 0, True), Reach(12, 0, True)),
)
