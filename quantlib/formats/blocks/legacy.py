"""ggml's formats with one scale for a block of 32 weights: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

>>> print(Q4_0.describe())
Q4_0: 32 weights in 18 bytes, 4.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–17: q[0] at bits 0–3, q[16] at bits 4–7, …
  x̂ = d · (q − 8)

>>> print(Q4_1.describe())
Q4_1: 32 weights in 20 bytes, 5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of m
  byte 3: bits 8–15 of m
  bytes 4–19: q[0] at bits 0–3, q[16] at bits 4–7, …
  x̂ = d · q + m

>>> print(Q5_0.describe())
Q5_0: 32 weights in 22 bytes, 5.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–5: bit 4 of q[0] at bit 0, bit 4 of q[1] at bit 1, …, bit 4 of q[7] at bit 7, …
  bytes 6–21: bits 0–3 of q[0] at bits 0–3, bits 0–3 of q[16] at bits 4–7, …
  x̂ = d · (q − 16)

>>> print(Q5_1.describe())
Q5_1: 32 weights in 24 bytes, 6 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  byte 2: bits 0–7 of m
  byte 3: bits 8–15 of m
  bytes 4–7: bit 4 of q[0] at bit 0, bit 4 of q[1] at bit 1, …, bit 4 of q[7] at bit 7, …
  bytes 8–23: bits 0–3 of q[0] at bits 0–3, bits 0–3 of q[16] at bits 4–7, …
  x̂ = d · q + m

>>> print(Q8_0.describe())
Q8_0: 32 weights in 34 bytes, 8.5 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–33: q[0], …
  x̂ = d · q
"""

from functools import partial

import numpy as np

from quantlib.formats.blocks import search
from quantlib.formats.blocks.best import Levels, Reach
from quantlib.formats.blocks.best_scale import OneScale
from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.search import nearest_int, total
from quantlib.formats.layout import Field, Layout, plane, run, word

F32 = np.float32


# --- Q4_0 and Q5_0: a scale, codes around zero ------------------------------------------------------------------------


def choose_symmetric(x: np.ndarray, importance: np.ndarray | None = None, *, bits: int) -> Choice:
    """Without importance the value of largest magnitude becomes the lowest code; with it a scale is searched.

    d = largest / −levels, q = ⌊x / d + levels + ½⌋, levels = 2^(bits − 1): the code `levels` stands for zero.
    x, importance: float32 (blocks, 32), with importance all blocks of one row. Source: quantize_row_q4_0_ref,
    quantize_row_q5_0_ref and their _impl.
    """
    codes: Codes
    levels = 1 << (bits - 1)
    if importance is not None:
        weights = weights_in_row(x, importance)
        found = search.symmetric_scale(x[:, None, :], weights, levels)
        codes = {"d": found.scale.astype(np.float16), "q": (found.codes[:, 0] + levels).astype(np.uint8)}
        return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)

    place = np.abs(x).argmax(axis=-1)[:, None]
    largest = np.take_along_axis(x, place, axis=-1) + F32(0)  # never −0: (blocks, 1)
    d = largest / F32(-levels)
    inverse = np.where(d != 0, F32(1) / d, F32(0))
    codes = {"d": d.astype(np.float16), "q": whole(x * inverse + F32(levels + 0.5), 2 * levels - 1)}
    return only_choice(x, codes, decode_symmetric(codes, bits=bits), d, np.zeros_like(d))


def decode_symmetric(codes: Codes, *, bits: int) -> np.ndarray:
    """x̂ = d · (q − 2^(bits − 1)). {"d": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    return (codes["q"].astype(F32) - F32(1 << (bits - 1))) * codes["d"].astype(F32)


# --- Q4_1 and Q5_1: a scale and a minimum -----------------------------------------------------------------------------


def choose_minimum(x: np.ndarray, importance: np.ndarray | None = None, *, bits: int) -> Choice:
    """Without importance the codes span a block from its lowest value to its highest; with it both ends are searched.

    d = (highest − lowest) / levels, m = lowest, q = ⌊(x − m) / d + ½⌋, levels = 2^bits − 1. The minimum is added.
    x, importance: float32 (blocks, 32), with importance all blocks of one row. Source: quantize_row_q4_1_ref,
    quantize_row_q5_1_ref and their _impl.
    """
    codes: Codes
    levels = (1 << bits) - 1
    if importance is not None:
        weights = weights_in_row(x, importance)
        found = search.scale_and_minimum(x[:, None, :], weights, levels, first=-0.9, step=0.05, steps=36)
        d, m = found.scale.astype(np.float16), (-found.minimum).astype(np.float16)
        codes = {"d": d, "m": m, "q": found.codes[:, 0].astype(np.uint8)}
        return Choice(codes, weights, found.scales, found.minima, found.errors, found.winner)

    low = np.take_along_axis(x, x.argmin(axis=-1)[:, None], axis=-1)  # of equal ones the first: −0 or 0
    d = (x.max(axis=-1, keepdims=True) - low + F32(0)) / F32(levels)  # never −0: (blocks, 1)
    inverse = np.where(d != 0, F32(1) / d, F32(0))
    q = whole((x - low) * inverse + F32(0.5), levels)
    codes = {"d": d.astype(np.float16), "m": low.astype(np.float16), "q": q}
    return only_choice(x, codes, decode_minimum(codes), d, -low)


def decode_minimum(codes: Codes) -> np.ndarray:
    """x̂ = d · q + m. {"d", "m": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    return codes["q"].astype(F32) * codes["d"].astype(F32) + codes["m"].astype(F32)


# --- What they share --------------------------------------------------------------------------------------------------


def whole(v: np.ndarray, levels: int) -> np.ndarray:
    """⌊v⌋ of v ≥ 0 as a code, `levels` at most.

    A scale below 2⁻¹²⁸ has no finite inverse; what then has no integer becomes 0.
    """
    return np.where(np.abs(v) < 256, np.minimum(np.trunc(v), F32(levels)), F32(0)).astype(np.uint8)


def weights_in_row(x: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """What an error counts: w = importance · √(mean square of the row + x²). The blocks of a row -> (blocks, 1, 32)."""
    row = x.reshape(-1)
    power = total(row * row) / F32(row.size)
    return (importance * np.sqrt(power + x * x))[:, None, :]


def only_choice(x: np.ndarray, codes: Codes, decoded: np.ndarray, scale: np.ndarray, minimum: np.ndarray) -> Choice:
    """A choice without a search: one candidate for each block, every error counts the same. scale: (blocks, 1)."""
    return Choice(
        codes,
        weights=np.ones_like(x)[:, None, :],  # (blocks, 1, values)
        scales=scale[:, :, None],
        minima=minimum[:, :, None],
        errors=np.square(x - decoded).sum(axis=-1)[:, None, None],
        winner=np.zeros(scale.shape, int),
    )


def _load_symmetric(bits: int) -> Kernels:
    from quantlib.formats.kernels import legacy

    return Kernels(
        partial(legacy.encode_symmetric, bits=bits),
        partial(legacy.encode_symmetric_important, bits=bits),
        partial(legacy.decode_symmetric, bits=bits),
        sizes=True,
    )


def _load_minimum(bits: int) -> Kernels:
    from quantlib.formats.kernels import legacy

    return Kernels(
        partial(legacy.encode_minimum, bits=bits),
        partial(legacy.encode_minimum_important, bits=bits),
        partial(legacy.decode_minimum, bits=bits),
        sizes=True,
    )


_D = Field("d", word(0, 1, 2), "scale", "The block's scale, a half-precision float.", "f2")
_M = Field("m", word(2, 1, 2), "minimum", "The block's lowest value, a half-precision float; it is added.", "f2")


def _five_bits(byte: int) -> np.ndarray:
    """Addresses of 32 codes of five bits: from `byte` on four bytes of highest bits, then the rest in pairs."""
    return np.hstack([plane(byte + 4, 16, 4, 16), plane(byte, 4, 1, 1)])


def _symmetric(name: str, ggml_type: int, bits: int, q: np.ndarray) -> BlockFormat:
    zero = 1 << (bits - 1)
    return BlockFormat(
        name=name,
        ggml_type=ggml_type,
        summary=f"Blocks of 32 weights: {bits}-bit codes around zero and one half-precision scale.",
        layout=Layout(32, (_D, Field("q", q, "code", f"A {bits}-bit code for each weight, {zero} standing for zero."))),
        formula=Formula("{d}", "", f"{{d}} · ({{q}} − {zero})"),
        choose=partial(choose_symmetric, bits=bits),
        decode=partial(decode_symmetric, bits=bits),
        load_kernels=partial(_load_symmetric, bits),
        reference=(choose_symmetric, whole, weights_in_row, search.symmetric_scale, nearest_int, total),
        importance_by_row=True,
        better=OneScale(Levels(-zero, zero - 1), False, 4 * zero, Reach(6, 0, True), Reach(6, 0, True)),
    )


def _with_minimum(name: str, ggml_type: int, bits: int, q: np.ndarray) -> BlockFormat:
    return BlockFormat(
        name=name,
        ggml_type=ggml_type,
        summary=f"Blocks of 32 weights: {bits}-bit codes, a half-precision scale and a half-precision minimum.",
        layout=Layout(32, (_D, _M, Field("q", q, "code", f"A {bits}-bit code for each weight, counted from m."))),
        formula=Formula("{d}", "{m}", "{d} · {q} + {m}"),
        choose=partial(choose_minimum, bits=bits),
        decode=decode_minimum,
        load_kernels=partial(_load_minimum, bits),
        reference=(choose_minimum, whole, weights_in_row, search.scale_and_minimum, nearest_int, total),
        importance_by_row=True,
        better=OneScale(Levels(0, (1 << bits) - 1), True, 4 << bits, Reach(4, 3), Reach(8, 4)),
    )


Q4_0 = _symmetric("Q4_0", 2, 4, plane(2, 16, 4, 16))
Q4_1 = _with_minimum("Q4_1", 3, 4, plane(4, 16, 4, 16))
Q5_0 = _symmetric("Q5_0", 6, 5, _five_bits(2))
Q5_1 = _with_minimum("Q5_1", 7, 5, _five_bits(4))


# --- Q8_0: a scale and a signed byte for each weight ------------------------------------------------------------------


def round_away(v: np.ndarray) -> np.ndarray:
    """Nearest whole number, ties away from zero, as C's roundf."""
    whole = np.trunc(v)
    return whole + np.where(np.abs(v - whole) >= 0.5, np.copysign(F32(1), v), F32(0))


def choose_q8_0(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The largest magnitude of a block becomes 127, everything else is rounded to that grid.

    d = max|x| / 127, q = round(x / d). x: float32 (blocks, 32). Importance has no say.
    Source: quantize_row_q8_0_ref.
    """
    largest = np.abs(x).max(axis=-1, keepdims=True)  # (blocks, 1)
    d = largest / F32(127)
    inverse = np.where(d != 0, F32(1) / d, F32(0))
    q = round_away(x * inverse)  # (blocks, 32)
    # A scale below 2**-128 has no finite inverse; what then has no integer is stored as 0.
    q = np.where(np.abs(q) <= 128, q, F32(0)).astype(np.int8)
    codes = {"d": d.astype(np.float16), "q": q}

    return only_choice(x, codes, decode_q8_0(codes), d, np.zeros_like(d))


def decode_q8_0(codes: Codes) -> np.ndarray:
    """x̂ = d · q. {"d": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    return codes["d"].astype(F32) * codes["q"].astype(F32)


def _load_q8_0() -> Kernels:
    from quantlib.formats.kernels import legacy

    return Kernels(legacy.encode_q8_0, None, legacy.decode_q8_0, sizes=True)


Q8_0 = BlockFormat(
    name="Q8_0",
    ggml_type=8,
    summary="Blocks of 32 weights as signed bytes with one half-precision scale: nearly lossless.",
    layout=Layout(
        32,
        (
            _D,
            Field("q", run(2, 32, 8), "code", "One signed byte for each weight.", "i1"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · {q}"),
    choose=choose_q8_0,
    decode=decode_q8_0,
    load_kernels=_load_q8_0,
    reference=(choose_q8_0, round_away, only_choice),
    uses_importance=False,
)
