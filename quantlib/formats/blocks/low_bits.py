"""ggml's formats of one and two bits with one scale a block, for models trained to have such weights: Q1_0, Q2_0.

>>> print(Q1_0.describe())
Q1_0: 128 weights in 18 bytes, 1.125 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–17: q[0] at bit 0, q[1] at bit 1, …, q[7] at bit 7, …
  x̂ = d · (2 · q − 1)

>>> print(Q2_0.describe())
Q2_0: 64 weights in 18 bytes, 2.25 bpw
  byte 0: bits 0–7 of d
  byte 1: bits 8–15 of d
  bytes 2–17: q[0] at bits 0–1, q[1] at bits 2–3, …, q[3] at bits 6–7, …
  x̂ = d · (q − 1)
"""

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.blocks.legacy import only_choice, round_away
from quantlib.formats.blocks.search import total
from quantlib.formats.layout import Field, Layout, plane, word

F32 = np.float32
_D = Field("d", word(0, 1, 2), "scale", "The block's scale, a half-precision float.", "f2")


def choose_q1_0(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The mean magnitude of a block is its scale, and every weight keeps its sign only.

    d = Σ|x| / 128, q = 1 where x ≥ 0. x: float32 (blocks, 128). Importance has no say. Source: quantize_row_q1_0_ref.
    """
    d = total(np.abs(x))[:, None] / F32(128)  # (blocks, 1)
    codes: dict[str, np.ndarray] = {"d": d.astype(np.float16), "q": (x >= 0).astype(np.uint8)}
    return only_choice(x, codes, decode_q1_0(codes), d, np.zeros_like(d))


def decode_q1_0(codes: Codes) -> np.ndarray:
    """x̂ = d · (2 · q − 1). {"d": (..., 1), "q": (..., 128)} -> float32 (..., 128)."""
    return codes["d"].astype(F32) * (F32(2) * codes["q"].astype(F32) - F32(1))


def _load_q1_0() -> Kernels:
    from quantlib.formats.kernels import low_bits

    return Kernels(low_bits.encode_q1_0, None, low_bits.decode_q1_0, sizes=True)


Q1_0 = BlockFormat(
    name="Q1_0",
    ggml_type=41,
    summary="Blocks of 128 weights: a sign for each and one half-precision scale.",
    layout=Layout(128, (_D, Field("q", plane(2, 16, 1, 1), "code", "One bit for each weight: 1 is plus, 0 is minus."))),
    formula=Formula("{d}", "", "{d} · (2 · {q} − 1)"),
    choose=choose_q1_0,
    decode=decode_q1_0,
    load_kernels=_load_q1_0,
    reference=(choose_q1_0, total, only_choice),
    uses_importance=False,
)


def choose_q2_0(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The largest magnitude of a block is its scale: weights become −d, 0 or d, and the fourth code stays unused.

    d = max|x|, q = round(x / d) + 1. x: float32 (blocks, 64). Importance has no say. Source: quantize_row_q2_0_ref.
    """
    d = np.abs(x).max(axis=-1, keepdims=True)  # (blocks, 1)
    near = round_away(x * np.where(d > 0, F32(1) / d, F32(0)))
    # A scale below 2⁻¹²⁸ has no finite inverse; what then has no integer becomes the lowest code.
    q = np.where(np.abs(near) <= 2, np.clip(near + F32(1), 0, 3), F32(0)).astype(np.uint8)
    codes: dict[str, np.ndarray] = {"d": d.astype(np.float16), "q": q}
    return only_choice(x, codes, decode_q2_0(codes), d, np.zeros_like(d))


def decode_q2_0(codes: Codes) -> np.ndarray:
    """x̂ = d · (q − 1). {"d": (..., 1), "q": (..., 64)} -> float32 (..., 64)."""
    return (codes["q"].astype(F32) - F32(1)) * codes["d"].astype(F32)


def _load_q2_0() -> Kernels:
    from quantlib.formats.kernels import low_bits

    return Kernels(low_bits.encode_q2_0, None, low_bits.decode_q2_0, sizes=True)


Q2_0 = BlockFormat(
    name="Q2_0",
    ggml_type=42,
    summary="Blocks of 64 weights: 2-bit codes for −d, 0, d and 2d, and one half-precision scale.",
    layout=Layout(64, (_D, Field("q", plane(2, 16, 2, 1), "code", "Two bits for each weight, 1 standing for zero."))),
    formula=Formula("{d}", "", "{d} · ({q} − 1)"),
    choose=choose_q2_0,
    decode=decode_q2_0,
    load_kernels=_load_q2_0,
    reference=(choose_q2_0, round_away, only_choice),
    uses_importance=False,
)
