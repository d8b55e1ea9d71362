"""ggml's k-quants: super-blocks of 256 weights whose scales are themselves quantized. Q4_K, Q5_K, Q6_K.

Q2_K and Q3_K, with blocks of 16 and fewer bits, are in `q2_q3`.

>>> print(Q4_K.describe())
Q4_K: 256 weights in 144 bytes, 4.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of dmin
  byte 3: bits 8–15 of dmin
  bytes 4–7: sc[0] at bits 0–5, bits 4–5 of sc[4] at bits 6–7, …
  bytes 8–11: mn[0] at bits 0–5, bits 4–5 of mn[4] at bits 6–7, …
  bytes 12–15: bits 0–3 of sc[4] at bits 0–3, bits 0–3 of mn[4] at bits 4–7, …
  bytes 16–143: q[0] at bits 0–3, q[32] at bits 4–7, …
  x̂ = d · sc · q − dmin · mn

>>> print(Q5_K.describe())
Q5_K: 256 weights in 176 bytes, 5.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of dmin
  byte 3: bits 8–15 of dmin
  bytes 4–7: sc[0] at bits 0–5, bits 4–5 of sc[4] at bits 6–7, …
  bytes 8–11: mn[0] at bits 0–5, bits 4–5 of mn[4] at bits 6–7, …
  bytes 12–15: bits 0–3 of sc[4] at bits 0–3, bits 0–3 of mn[4] at bits 4–7, …
  bytes 16–47: bit 4 of q[0] at bit 0, bit 4 of q[32] at bit 1, …, bit 4 of q[224] at bit 7, …
  bytes 48–175: bits 0–3 of q[0] at bits 0–3, bits 0–3 of q[32] at bits 4–7, …
  x̂ = d · sc · q − dmin · mn

>>> print(Q6_K.describe())
Q6_K: 256 weights in 210 bytes, 6.5625 bpw
  bytes 0–127: bits 0–3 of q[0] at bits 0–3, bits 0–3 of q[64] at bits 4–7, …
  bytes 128–191: bits 4–5 of q[0] at bits 0–1, bits 4–5 of q[32] at bits 2–3, …, bits 4–5 of q[96] at bits 6–7, …
  bytes 192–207: sc[0], …
  byte 208: bits 0–7 of d
  byte 209: bits 8–15 of d
  x̂ = d · sc · (q − 32)
"""

from functools import partial

import numpy as np

from quantlib.formats.blocks import search
from quantlib.formats.blocks.best import Levels, Reach
from quantlib.formats.blocks.best_super import SuperBlock
from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.search import nearest_int, total
from quantlib.formats.layout import Field, Layout, plane, run, word

F32 = np.float32


# --- Q4_K and Q5_K: eight blocks of 32, each with a 6-bit sub-scale and a 6-bit sub-minimum ---------------------------


def choose_q4_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search a scale and a minimum for each block of 32, quantize those, then round the weights against them.

    x, importance: float32 (blocks, 256). Source: quantize_row_q4_K_ref, quantize_row_q4_K_impl.
    """
    groups = x.reshape(-1, 8, 32)  # (blocks, groups, weights)
    if importance is None:
        weights = weights_by_size(groups)
        found = search.scale_and_minimum(groups, weights, levels=15, first=-1.0, step=0.1, steps=20)
        d, sc = nearest_sub_codes(found.scale, 63)
        dmin, mn = nearest_sub_codes(found.minimum, 63)
        sc, mn = np.minimum(sc, 63), np.minimum(mn, 63)
    else:
        weights = weights_by_importance(groups, importance, factor=2)
        found = search.scale_and_minimum(groups, weights, levels=15, first=-0.9, step=0.05, steps=36)
        d, sc = search.positive_scale(found.scale, total(weights), levels=63)
        dmin, mn = search.positive_scale(found.minimum, total(weights), levels=63)
        sc, mn = spill(sc), spill(mn)
    codes = round_against_minima(groups, found, d, sc, dmin, mn, levels=15)
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def choose_q5_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """As Q4_K, with 32 levels and a shorter search where no importance is given.

    x, importance: float32 (blocks, 256). Source: quantize_row_q5_K_ref, quantize_row_q5_K_impl.
    """
    groups = x.reshape(-1, 8, 32)  # (blocks, groups, weights)
    if importance is None:
        weights = weights_by_size(groups)
        found = search.scale_and_minimum(groups, weights, levels=31, first=-0.5, step=0.1, steps=15)
        d, sc = nearest_sub_codes(found.scale, 63)
        dmin, mn = nearest_sub_codes(found.minimum, 63)
        sc, mn = np.minimum(sc, 63), np.minimum(mn, 63)
    else:
        weights = weights_by_importance(groups, importance, factor=2)
        found = search.scale_and_minimum(groups, weights, levels=31, first=-0.9, step=0.05, steps=36)
        d, sc = search.positive_scale(found.scale, total(weights), levels=63)
        dmin, mn = search.positive_scale(found.minimum, total(weights), levels=63)
        sc, mn = np.minimum(sc, 63), np.minimum(mn, 63)
    codes = round_against_minima(groups, found, d, sc, dmin, mn, levels=31)
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def weights_by_size(groups: np.ndarray) -> np.ndarray:
    """What an error counts without importance: w = rms + |x|, so large weights count more. (blocks, groups, n)"""
    rms = np.sqrt(total(groups * groups) / F32(groups.shape[-1]))
    return rms[..., None] + np.abs(groups)


def weights_by_importance(groups: np.ndarray, importance: np.ndarray, factor: int) -> np.ndarray:
    """What an error counts with importance: w = importance · √(factor · mean square of the super-block + x²).

    groups: float32 (blocks, groups, n). importance: float32 (blocks, groups * n).
    """
    x = groups.reshape(len(groups), -1)
    power = F32(factor) * total(x * x) / F32(x.shape[-1])
    return importance.reshape(groups.shape) * np.sqrt(power[:, None, None] + groups * groups)


def round_against_minima(
    groups: np.ndarray,
    found: search.Search,
    d: np.ndarray,
    sc: np.ndarray,
    dmin: np.ndarray,
    mn: np.ndarray,
    levels: int,
) -> dict[str, np.ndarray]:
    """The final codes, nearest to x for the scales as they are stored: q = round((x + dmin · mn) / (d · sc)).

    groups: float32 (blocks, groups, n). d, dmin: (blocks,). sc, mn: (blocks, groups). Gives the codes of every field.
    """
    d, dmin = d.astype(np.float16)[:, None], dmin.astype(np.float16)[:, None]  # rounded: (blocks, 1)
    scale = (d.astype(F32) * sc.astype(F32))[..., None]  # as it will be decoded: (blocks, groups, 1)
    minimum = (dmin.astype(F32) * mn.astype(F32))[..., None]
    q = np.clip(nearest_int((groups + minimum) / scale), 0, levels)
    q = np.where(scale == 0, found.codes, q).astype(np.uint8)  # a scale of zero leaves the search's codes
    return {"d": d, "dmin": dmin, "sc": sc, "mn": mn, "q": q.reshape(len(q), -1)}


def nearest_sub_codes(values: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest scale of a super-block becomes the code `levels`, the others are rounded to that grid.

    float32 (blocks, groups) -> super-scale (blocks,), codes uint8 (blocks, groups); a negative scale wraps around.
    """
    largest = np.maximum(values.max(axis=-1), F32(0))
    inverse = np.where(largest > 0, F32(levels) / largest, F32(0))
    return largest / F32(levels), nearest_int(inverse[:, None] * values).astype(np.uint8)


def spill(codes: np.ndarray) -> np.ndarray:
    """Sub-codes (blocks, 8) as six bits hold them.

    A search that ends below zero (an importance of almost only zeros can do that) leaves a code above 63; when ggml
    packs it, its two highest bits land in the code four places on.
    """
    kept = codes & 63
    kept[:, 4:] |= (codes[:, :4] >> 6) << 4
    return kept


def decode_minima(codes: Codes) -> np.ndarray:
    """x̂ = d · sc · q − dmin · mn.

    {"d", "dmin": (..., 1), "sc", "mn": (..., groups), "q": (..., 256)} -> float32 (..., 256).
    """
    scale = codes["d"].astype(F32) * codes["sc"].astype(F32)  # (..., groups)
    minimum = codes["dmin"].astype(F32) * codes["mn"].astype(F32)
    q = codes["q"].astype(F32)
    groups = q.reshape(*scale.shape, -1)  # (..., groups, weights)
    return (scale[..., None] * groups - minimum[..., None]).reshape(q.shape)


def _load_q4_k() -> Kernels:
    from quantlib.formats.kernels import kquants

    return Kernels(
        partial(kquants.encode_sub_minima, bits=4, first=-1.0, steps=20),
        partial(kquants.encode_sub_minima_important, bits=4),
        partial(kquants.decode_sub_minima, bits=4),
    )


def _load_q5_k() -> Kernels:
    from quantlib.formats.kernels import kquants

    return Kernels(
        partial(kquants.encode_sub_minima, bits=5, first=-0.5, steps=15),
        partial(kquants.encode_sub_minima_important, bits=5),
        partial(kquants.decode_sub_minima, bits=5),
    )


def six_bit_pairs(byte: int) -> tuple[np.ndarray, np.ndarray]:
    """Addresses of eight 6-bit sub-scales and eight 6-bit sub-minima in twelve bytes.

    The first four of each have a byte's low bits; the last four have four bits in bytes 8 … 11 and two on top of those.
    """
    scales = np.vstack([run(byte, 4, 6), np.hstack([run(byte + 8, 4, 4, bit=0), run(byte, 4, 2, bit=6)])])
    minima = np.vstack([run(byte + 4, 4, 6), np.hstack([run(byte + 8, 4, 4, bit=4), run(byte + 4, 4, 2, bit=6)])])
    return scales, minima


_SUB_SCALES, _SUB_MINIMA = six_bit_pairs(4)
_HEADER = (
    Field("d", word(0, 1, 2), "super-scale", "The scale of the sub-scales, a half-precision float.", "f2"),
    Field("dmin", word(2, 1, 2), "super-minimum", "The scale of the sub-minima, a half-precision float.", "f2"),
    Field("sc", _SUB_SCALES, "sub-scale", "A 6-bit scale for each block of 32."),
    Field("mn", _SUB_MINIMA, "sub-minimum", "A 6-bit minimum for each block of 32."),
)
_MINIMA = Formula("{d} · {sc}", "{dmin} · {mn}", "{d} · {sc} · {q} − {dmin} · {mn}")
_SHARED = (
    search.scale_and_minimum,
    weights_by_size,
    weights_by_importance,
    nearest_sub_codes,
    search.positive_scale,
    round_against_minima,
    nearest_int,
    total,
)

Q4_K = BlockFormat(
    name="Q4_K",
    ggml_type=12,
    summary="Super-blocks of 8 × 32 weights: 4-bit codes, 6-bit sub-scales and sub-minima, two half-precision scales.",
    layout=Layout(256, (*_HEADER, Field("q", plane(16, 128, 4, 32), "code", "A 4-bit code for each weight."))),
    formula=_MINIMA,
    choose=choose_q4_k,
    decode=decode_minima,
    load_kernels=_load_q4_k,
    reference=(choose_q4_k, *_SHARED),
    better=SuperBlock(8, Levels(0, 15), 0, 63, 0, True, Reach(6, 4), Reach(12, 6)),
)

Q5_K = BlockFormat(
    name="Q5_K",
    ggml_type=13,
    summary="Super-blocks of 8 × 32 weights: 5-bit codes, 6-bit sub-scales and sub-minima, two half-precision scales.",
    layout=Layout(
        256,
        (
            *_HEADER,
            Field(
                "q",
                np.hstack([plane(48, 128, 4, 32), plane(16, 32, 1, 32)]),
                "code",
                "A 5-bit code for each weight: four bits in one plane, the highest in another.",
            ),
        ),
    ),
    formula=_MINIMA,
    choose=choose_q5_k,
    decode=decode_minima,
    load_kernels=_load_q5_k,
    reference=(choose_q5_k, *_SHARED),
    better=SuperBlock(8, Levels(0, 31), 0, 63, 0, True, Reach(6, 4), Reach(12, 6)),
)


# --- Q6_K: sixteen blocks of 16, each with an 8-bit sub-scale -------------------------------------------------------


def choose_q6_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search a scale for each block of 16, quantize the scales, then round the weights against them.

    x, importance: float32 (blocks, 256). An error counts the importance, or x² without one. The scale of largest
    magnitude becomes −128. Source: quantize_row_q6_K_ref, quantize_row_q6_K_impl.
    """
    groups = x.reshape(-1, 16, 16)  # (blocks, groups, weights)
    weights = groups * groups if importance is None else importance.reshape(-1, 16, 16)
    found = search.symmetric_scale(groups, weights, levels=32)

    size = np.where(np.isnan(found.scale), F32(0), np.abs(found.scale))  # NaN: x² overflowed, and ggml passes it over
    nothing = size.max(axis=-1, keepdims=True) < search.LEAST  # then the whole block is stored as zero bytes
    largest = np.take_along_axis(found.scale, size.argmax(axis=-1)[:, None], axis=-1)  # (blocks, 1)
    inverse = F32(-128) / largest
    d = np.where(nothing, F32(0), F32(1) / inverse).astype(np.float16)
    sc = np.where(nothing, 0, np.minimum(nearest_int(inverse * found.scale), 127)).astype(np.int8)  # (blocks, groups)

    scale = (d.astype(F32) * sc.astype(F32))[..., None]  # as it will be decoded: (blocks, groups, 1)
    q = np.clip(nearest_int(groups / scale), -32, 31)
    q = np.where(scale == 0, found.codes, q)  # a scale of zero leaves the search's codes
    q = np.where(nothing[..., None], 0, q + 32).astype(np.uint8)
    codes: dict[str, np.ndarray] = {"d": d, "sc": sc, "q": q.reshape(-1, 256)}
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def decode_q6_k(codes: Codes) -> np.ndarray:
    """x̂ = d · sc · (q − 32). {"d": (..., 1), "sc": (..., 16), "q": (..., 256)} -> float32 (..., 256)."""
    scale = codes["d"].astype(F32) * codes["sc"].astype(F32)  # (..., groups)
    q = codes["q"].astype(F32) - F32(32)
    groups = q.reshape(*q.shape[:-1], 16, 16)  # (..., groups, weights)
    return (scale[..., None] * groups).reshape(q.shape)


def _load_q6_k() -> Kernels:
    from quantlib.formats.kernels import kquants

    return Kernels(kquants.encode_q6_k_plain, kquants.encode_q6_k, kquants.decode_q6_k)


Q6_K = BlockFormat(
    name="Q6_K",
    ggml_type=14,
    summary="Super-blocks of 16 × 16 weights: 6-bit codes, 8-bit sub-scales, one half-precision scale, no minimum.",
    layout=Layout(
        256,
        (
            Field(
                "q",
                np.hstack([plane(0, 128, 4, 64), plane(128, 64, 2, 32)]),
                "code",
                "A 6-bit code for each weight, 32 standing for zero: four bits in one plane, two in another.",
            ),
            Field("sc", run(192, 16, 8), "sub-scale", "A signed byte as scale for each block of 16.", "i1"),
            Field("d", word(208, 1, 2), "super-scale", "The scale of the sub-scales, a half-precision float.", "f2"),
        ),
    ),
    formula=Formula("{d} · {sc}", "", "{d} · {sc} · ({q} − 32)"),
    choose=choose_q6_k,
    decode=decode_q6_k,
    load_kernels=_load_q6_k,
    reference=(choose_q6_k, search.symmetric_scale, nearest_int, total),
    better=SuperBlock(16, Levels(-32, 31), -128, 127, 0, False, Reach(6), Reach(8)),
)
