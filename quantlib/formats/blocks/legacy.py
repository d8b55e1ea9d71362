"""ggml's formats with one scale for a block of 32 weights: Q8_0."""

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Codes, Formula, Kernels
from quantlib.formats.layout import Field, Layout, run, word

F32 = np.float32


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

    weights = np.ones_like(x)[:, None, :]  # (blocks, 1, 32): one group a block, every error counts the same
    error = np.square(x - decode_q8_0(codes)).sum(axis=-1, keepdims=True)
    return Choice(
        codes,
        weights,
        scales=d[:, :, None],
        minima=np.zeros_like(d)[:, :, None],
        errors=error[:, :, None],
        winner=np.zeros(d.shape, int),
    )


def decode_q8_0(codes: Codes) -> np.ndarray:
    """x̂ = d · q. {"d": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    return codes["d"].astype(F32) * codes["q"].astype(F32)


def _load_q8_0() -> Kernels:
    from quantlib.formats.kernels import legacy

    return Kernels(legacy.encode_q8_0, None, legacy.decode_q8_0)


Q8_0 = BlockFormat(
    name="Q8_0",
    ggml_type=8,
    summary="Blocks of 32 weights as signed bytes with one half-precision scale: nearly lossless.",
    layout=Layout(
        32,
        (
            Field("d", word(0, 1, 2), "scale", "The block's scale, a half-precision float.", "f2"),
            Field("q", run(2, 32, 8), "code", "One signed byte for each weight.", "i1"),
        ),
    ),
    formula=Formula("{d}", "", "{d} · {q}"),
    choose=choose_q8_0,
    decode=decode_q8_0,
    load_kernels=_load_q8_0,
    reference=(choose_q8_0, round_away),
    uses_importance=False,
)
