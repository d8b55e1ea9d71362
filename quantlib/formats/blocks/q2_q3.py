"""ggml's k-quants of few bits: Q2_K and Q3_K, super-blocks of sixteen blocks of 16 weights.

>>> print(Q2_K.describe())
Q2_K: 256 weights in 84 bytes, 2.625 bpw
  bytes 0–15: sc[0] at bits 0–3, mn[0] at bits 4–7, …
  bytes 16–79: q[0] at bits 0–1, q[32] at bits 2–3, …, q[96] at bits 6–7, …
  byte 80: bits 0–7 of d
  byte 81: bits 8–15 of d
  byte 82: bits 0–7 of dmin
  byte 83: bits 8–15 of dmin
  x̂ = d · sc · q − dmin · mn

>>> print(Q3_K.describe())
Q3_K: 256 weights in 110 bytes, 3.4375 bpw
  bytes 0–31: bit 2 of q[0] at bit 0, bit 2 of q[32] at bit 1, …, bit 2 of q[224] at bit 7, …
  bytes 32–95: bits 0–1 of q[0] at bits 0–1, bits 0–1 of q[32] at bits 2–3, …, bits 0–1 of q[96] at bits 6–7, …
  bytes 96–103: bits 0–3 of sc[0] at bits 0–3, bits 0–3 of sc[8] at bits 4–7, …
  bytes 104–107: bits 4–5 of sc[0] at bits 0–1, bits 4–5 of sc[4] at bits 2–3, …, bits 4–5 of sc[12] at bits 6–7, …
  byte 108: bits 0–7 of d
  byte 109: bits 8–15 of d
  x̂ = d · (sc − 32) · (q − 4)
"""

import numpy as np

from quantlib.formats.blocks import search
from quantlib.formats.blocks.best import Levels, Reach
from quantlib.formats.blocks.best_super import SuperBlock
from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.kquants import (
    decode_minima,
    nearest_sub_codes,
    round_against_minima,
    weights_by_importance,
)
from quantlib.formats.blocks.search import nearest_int, total
from quantlib.formats.layout import Field, Layout, plane, run, word

F32 = np.float32


# --- Q2_K: each block has a 4-bit sub-scale and a 4-bit sub-minimum in one byte ---------------------------------------


def choose_q2_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search a scale and a minimum for each block of 16, quantize those, then round the weights against them.

    x, importance: float32 (blocks, 256). Without importance an error counts |x| times the absolute miss, not its
    square. Source: quantize_row_q2_K_ref, quantize_row_q2_K_impl.
    """
    groups = x.reshape(-1, 16, 16)  # (blocks, groups, weights)
    if importance is None:
        weights = np.abs(groups)
        found = search.scale_and_minimum(groups, weights, levels=3, first=-0.5, step=0.1, steps=15, absolute=True)
        d, sc = nearest_sub_codes(found.scale, 15)
        dmin, mn = nearest_sub_codes(found.minimum, 15)
    else:
        weights = weights_by_importance(groups, importance, factor=1)
        found = search.scale_and_minimum(groups, weights, levels=3, first=-0.9, step=0.05, steps=36)
        d, sc = search.positive_scale(found.scale, total(weights), levels=15)
        dmin, mn = search.positive_scale(found.minimum, total(weights), levels=15)
    sc, mn = share_a_byte(sc, mn)
    codes = round_against_minima(groups, found, d, sc, dmin, mn, levels=3)
    measure = "absolute" if importance is None else "squared"
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner, measure=measure)


def share_a_byte(sc: np.ndarray, mn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sub-codes (blocks, 16) as four bits each hold them; of one above 15 (a negative scale) the rest runs over."""
    return sc & 15, (mn | (sc >> 4)) & 15


def _load_q2_k() -> Kernels:
    from quantlib.formats.kernels import q2_q3

    return Kernels(q2_q3.encode_q2_k, q2_q3.encode_q2_k_important, q2_q3.decode_q2_k)


Q2_K = BlockFormat(
    name="Q2_K",
    ggml_type=10,
    summary="Super-blocks of 16 × 16 weights: 2-bit codes, 4-bit sub-scales and sub-minima, two half-precision scales.",
    layout=Layout(
        256,
        (
            Field("sc", run(0, 16, 4), "sub-scale", "A 4-bit scale for each block of 16."),
            Field("mn", run(0, 16, 4, bit=4), "sub-minimum", "A 4-bit minimum for each block of 16."),
            Field("q", plane(16, 64, 2, 32), "code", "A 2-bit code for each weight."),
            Field("d", word(80, 1, 2), "super-scale", "The scale of the sub-scales, in half precision.", "f2"),
            Field("dmin", word(82, 1, 2), "super-minimum", "The scale of the sub-minima, in half precision.", "f2"),
        ),
    ),
    formula=Formula("{d} · {sc}", "{dmin} · {mn}", "{d} · {sc} · {q} − {dmin} · {mn}"),
    choose=choose_q2_k,
    decode=decode_minima,
    load_kernels=_load_q2_k,
    reference=(
        choose_q2_k,
        search.scale_and_minimum,
        weights_by_importance,
        nearest_sub_codes,
        search.positive_scale,
        share_a_byte,
        round_against_minima,
        nearest_int,
        total,
    ),
    better=SuperBlock(16, Levels(0, 3), 0, 15, 0, True, Reach(5, 3), Reach(12, 6)),
)


# --- Q3_K: each block has a 6-bit sub-scale, no minimum ---------------------------------------------------------------


def choose_q3_k(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Search a scale for each block of 16, quantize the scales, then round the weights against them.

    x, importance: float32 (blocks, 256). Without importance an error counts x², and the scale of largest magnitude
    becomes −32; with it the scales themselves are searched like weights. Source: quantize_row_q3_K_ref,
    quantize_row_q3_K_impl.
    """
    groups = x.reshape(-1, 16, 16)  # (blocks, groups, weights)
    if importance is None:
        weights = groups * groups
        found = search.refined_scale(groups, weights, levels=4)
        d, sc = largest_to_lowest(found.scale)
    else:
        weights = weights_by_importance(groups, importance, factor=2)
        found = search.symmetric_scale(groups, weights, levels=4)
        scales = search.symmetric_scale(found.scale, total(weights), levels=32)
        d, sc = scales.scale, scales.codes + 32

    d, sc = d.astype(np.float16)[:, None], sc.astype(np.uint8)
    scale = (d.astype(F32) * (sc.astype(F32) - F32(32)))[..., None]  # as it will be decoded: (blocks, groups, 1)
    q = np.clip(nearest_int(groups / scale), -4, 3)
    q = np.where(scale == 0, found.codes, q) + 4  # a scale of zero leaves the search's codes
    codes = {"d": d, "sc": sc, "q": q.astype(np.uint8).reshape(-1, 256)}
    return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)


def largest_to_lowest(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale of largest magnitude becomes −32, the others are rounded to that grid.

    float32 (blocks, 16) -> super-scale (blocks,), codes 0 … 63 (blocks, 16), 32 standing for zero.
    """
    size = np.where(np.isnan(scales), F32(0), np.abs(scales))  # NaN: x² overflowed, and ggml passes it over
    largest = np.take_along_axis(scales, size.argmax(axis=-1)[:, None], axis=-1)  # (blocks, 1)
    nothing = size.max(axis=-1, keepdims=True) == 0
    inverse = F32(-32) / largest
    codes = np.clip(nearest_int(inverse * scales).astype(np.int8), -32, 31) + 32
    return np.where(nothing, F32(0), F32(1) / inverse)[:, 0], np.where(nothing, 0, codes)


def decode_q3_k(codes: Codes) -> np.ndarray:
    """x̂ = d · (sc − 32) · (q − 4). {"d": (..., 1), "sc": (..., 16), "q": (..., 256)} -> float32 (..., 256)."""
    scale = codes["d"].astype(F32) * (codes["sc"].astype(F32) - F32(32))  # (..., groups)
    q = codes["q"].astype(F32) - F32(4)
    return (scale[..., None] * q.reshape(*scale.shape, 16)).reshape(q.shape)


def _load_q3_k() -> Kernels:
    from quantlib.formats.kernels import q2_q3

    return Kernels(q2_q3.encode_q3_k, q2_q3.encode_q3_k_important, q2_q3.decode_q3_k)


Q3_K = BlockFormat(
    name="Q3_K",
    ggml_type=11,
    summary="Super-blocks of 16 × 16 weights: 3-bit codes, 6-bit sub-scales, one half-precision scale, no minimum.",
    layout=Layout(
        256,
        (
            Field(
                "q",
                np.hstack([plane(32, 64, 2, 32), plane(0, 32, 1, 32)]),
                "code",
                "A 3-bit code for each weight, 4 standing for zero: two bits in one plane, the highest in another.",
            ),
            Field(
                "sc",
                np.hstack([plane(96, 8, 4, 8), plane(104, 4, 2, 4)]),
                "sub-scale",
                "A 6-bit scale for each block of 16, 32 standing for zero: four bits in one plane, two in another.",
            ),
            Field("d", word(108, 1, 2), "super-scale", "The scale of the sub-scales, in half precision.", "f2"),
        ),
    ),
    formula=Formula("{d} · ({sc} − 32)", "", "{d} · ({sc} − 32) · ({q} − 4)"),
    choose=choose_q3_k,
    decode=decode_q3_k,
    load_kernels=_load_q3_k,
    reference=(
        choose_q3_k,
        search.refined_scale,
        largest_to_lowest,
        search.symmetric_scale,
        weights_by_importance,
        nearest_int,
        total,
    ),
    better=SuperBlock(16, Levels(-4, 3), -32, 31, 32, False, Reach(3), Reach(8, 0, True), emphasis=True),
)
