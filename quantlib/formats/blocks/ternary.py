"""Formats of three levels, for models trained to have no others: TQ1_0 and TQ2_0.

>>> print(TQ1_0.describe())
TQ1_0: 256 weights in 54 bytes, 1.6875 bpw
  bytes 0–51: q[0], …
  byte 52: bits 0–7 of d
  byte 53: bits 8–15 of d
  x̂ = d · (digit(q) − 1)

>>> print(TQ2_0.describe())
TQ2_0: 256 weights in 66 bytes, 2.0625 bpw
  bytes 0–63: q[0] at bits 0–1, q[32] at bits 2–3, …, q[96] at bits 6–7, …
  byte 64: bits 0–7 of d
  byte 65: bits 8–15 of d
  x̂ = d · (q − 1)
"""

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels, Term
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.legacy import round_away
from quantlib.formats.layout import Field, Layout, plane, run, word

F32 = np.float32
POWERS = np.array([1, 3, 9, 27, 81], np.uint16)


def _places() -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 weights of TQ1_0: which byte holds its level, and which of the byte's five digits that is.

    Weights run through 32 bytes digit by digit, then through 16 bytes, then through 4 bytes of four digits.
    """
    parts = [
        np.stack([first + np.tile(np.arange(size), digits), np.repeat(np.arange(digits), size)])
        for first, size, digits in ((0, 32, 5), (32, 16, 5), (48, 4, 4))
    ]
    byte, digit = np.concatenate(parts, axis=1)
    return byte, digit


BYTE, DIGIT = _places()


def ternary_levels(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest magnitude of a block is the scale; every weight becomes −d, 0 or d, stored as 0, 1, 2.

    x: float32 (blocks, 256) -> d float32 (blocks, 1), levels uint8 (blocks, 256).
    """
    d = np.abs(x).max(axis=-1, keepdims=True)
    inverse = np.where(d != 0, F32(1) / d, F32(0))
    level = round_away(x * inverse)  # a scale below 2**-128 has no finite inverse; what then has no integer is 0
    return d, np.where(np.isfinite(level), level + 1, 1).astype(np.uint8)


def pack_digits(levels: np.ndarray) -> np.ndarray:
    """Five digits of base three in a byte: n = Σ digitᵢ · 3^(4 − i), stored as ⌈n · 256 / 243⌉.

    So the byte is a fraction of 256, and its first digit is the whole part of three times it. uint8 (..., 256) ->
    (..., 52).
    """
    number = np.zeros((*levels.shape[:-1], 52), np.int64)
    for digit in range(5):
        at = np.flatnonzero(digit == DIGIT)
        number[..., BYTE[at]] += levels[..., at].astype(np.int64) * 3 ** (4 - digit)
    return ((number * 256 + 242) // 243).astype(np.uint8)


def digit_of(q: np.ndarray, digit: np.ndarray) -> np.ndarray:
    """One of the five digits of packed bytes: multiply the fraction by 3ⁱ, drop what is whole, triple it once more."""
    shifted = q.astype(np.uint16) * POWERS[digit] & 255
    return shifted * 3 >> 8


def _chosen(x: np.ndarray, d: np.ndarray, codes: Codes, decoded: np.ndarray) -> Choice:
    """The one candidate of every block: float32 x (blocks, 256), d (blocks, 1)."""
    error = np.square((x - decoded).astype(float)).sum(axis=-1, keepdims=True)
    return Choice(
        codes,
        weights=np.ones_like(x)[:, None],
        scales=d[..., None],
        minima=np.zeros_like(d)[..., None],
        errors=error[..., None],
        winner=np.zeros(d.shape, int),
    )


def choose_tq2_0(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Round to three levels and give each two bits. x: float32 (blocks, 256). Source: quantize_row_tq2_0_ref."""
    d, levels = ternary_levels(x)
    codes = {"q": levels, "d": d.astype(np.float16)}
    return _chosen(x, d, codes, decode_tq2_0(codes))


def choose_tq1_0(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """Round to three levels and put five in a byte. x: float32 (blocks, 256). Source: quantize_row_tq1_0_ref."""
    d, levels = ternary_levels(x)
    codes = {"q": pack_digits(levels), "d": d.astype(np.float16)}
    return _chosen(x, d, codes, decode_tq1_0(codes))


def decode_tq2_0(codes: Codes) -> np.ndarray:
    """x̂ = d · (q − 1). {"d": (..., 1), "q": (..., 256)} -> float32 (..., 256)."""
    return codes["d"].astype(F32) * (codes["q"].astype(F32) - F32(1))


def decode_tq1_0(codes: Codes) -> np.ndarray:
    """x̂ = d · (digit of q − 1). {"d": (..., 1), "q": (..., 52)} -> float32 (..., 256)."""
    return codes["d"].astype(F32) * (digit_of(codes["q"][..., BYTE], DIGIT).astype(F32) - F32(1))


def _load_tq1_0() -> Kernels:
    from quantlib.formats.kernels import ternary

    return Kernels(ternary.encode_tq1_0, None, ternary.decode_tq1_0, sizes=True)


def _load_tq2_0() -> Kernels:
    from quantlib.formats.kernels import ternary

    return Kernels(ternary.encode_tq2_0, None, ternary.decode_tq2_0, sizes=True)


TQ2_0 = BlockFormat(
    name="TQ2_0",
    ggml_type=35,
    summary="Blocks of 256 weights of three levels, −d, 0 and d, in two bits each: for models trained that way.",
    layout=Layout(
        256,
        (
            Field("q", plane(0, 64, 2, 32), "code", "The level of each weight in two bits, 1 standing for zero."),
            Field("d", word(64, 1, 2), "scale", "The block's scale, a half-precision float.", "f2"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · ({q} − 1)"),
    choose=choose_tq2_0,
    decode=decode_tq2_0,
    load_kernels=_load_tq2_0,
    reference=(choose_tq2_0, ternary_levels, round_away),
    uses_importance=False,
)

TQ1_0 = BlockFormat(
    name="TQ1_0",
    ggml_type=34,
    summary="Blocks of 256 weights of three levels, −d, 0 and d, five of them in a byte: for models trained that way.",
    layout=Layout(
        256,
        (
            Field(
                "q",
                run(0, 52, 8),
                "code",
                "Levels as digits of base three, five in a byte (four in the last four).",
                of_weight=BYTE,
            ),
            Field("d", word(52, 1, 2), "scale", "The block's scale, a half-precision float.", "f2"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · ({t} − 1)"),
    choose=choose_tq1_0,
    decode=decode_tq1_0,
    load_kernels=_load_tq1_0,
    reference=(choose_tq1_0, ternary_levels, round_away, pack_digits),
    uses_importance=False,
    terms={"t": Term("digit(q)", lambda codes, weight: digit_of(codes["q"], DIGIT[weight]))},
)
