"""Four-bit floats under a shared scale, as hardware multiplies them: MXFP4 and NVFP4.

>>> print(MXFP4.describe())
MXFP4: 32 weights in 17 bytes, 4.25 bpw
  byte 0: e
  bytes 1–16: q[0] at bits 0–3, q[16] at bits 4–7, …
  x̂ = 2^(e − 128) · value[q]

>>> print(NVFP4.describe())
NVFP4: 64 weights in 36 bytes, 4.5 bpw
  bytes 0–3: e[0], …
  bytes 4–35: q[0] at bits 0–3, q[8] at bits 4–7, …
  x̂ = E4M3[e] / 2 · value[q]
"""

import numpy as np

from quantlib.formats.blocks.block import BlockFormat, Choice, Formula, Kernels, Term
from quantlib.formats.blocks.improving import Codes
from quantlib.formats.layout import Field, Layout, plane, run
from quantlib.formats.tables.small_floats import VALUES, power_of_two, small_float, whole_logarithm

F32 = np.float32


def nearest_value(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The number of the value that, times the scale, comes nearest to x: the first of `VALUES` among equals.

    x: float32 (..., n). scale: float32 (..., 1). uint8 (..., n).
    """
    miss = np.abs(VALUES.astype(F32) * scale[..., None] - x[..., None])  # (..., n, 16)
    return miss.argmin(axis=-1).astype(np.uint8)


def to_small_float(x: np.ndarray) -> np.ndarray:
    """The nearest unsigned E4M3, ties away from zero: float32 (...) -> uint8 (...).

    As in ggml, with two gaps: what rounds to 256 or more becomes 448, the largest, and what is below 2⁻⁶ never rounds
    up to it.
    """
    x = np.minimum(x, F32(448))
    subnormal = np.minimum(np.trunc(x * F32(512) + F32(0.5)), 7).astype(np.uint8)
    bits = x.view(np.uint32).astype(np.int64)
    normal = (bits + (1 << 19) >> 20) - ((127 - 7) << 3)  # exponent and three bits of fraction, a carry included
    return np.where(x < 2.0**-6, subnormal, np.where(normal >= 120, 126, normal)).astype(np.uint8)


def _chosen(groups: np.ndarray, scale: np.ndarray, codes: dict[str, np.ndarray]) -> Choice:
    """The one candidate of every group (blocks, groups, n) with its scale (blocks, groups)."""
    miss = groups - scale[..., None] * VALUES[codes["q"].reshape(groups.shape)].astype(F32)
    error = np.square(miss.astype(float)).sum(axis=-1)
    return Choice(
        codes,
        weights=np.ones_like(groups),
        scales=scale[..., None],
        minima=np.zeros_like(scale)[..., None],
        errors=error[..., None],
        winner=np.zeros(scale.shape, int),
    )


def choose_mxfp4(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The scale is the power of two that brings the largest magnitude of a block to 4 … 8 (6 is the largest value).

    e = ⌊log₂ max|x|⌋ + 125, in eight bits that wrap. x: float32 (blocks, 32). Importance has no say.
    Source: quantize_row_mxfp4_ref.
    """
    largest = np.abs(x).max(axis=-1, keepdims=True)  # (blocks, 1)
    e = np.where(largest > 0, whole_logarithm(largest) + F32(125), F32(0)).astype(np.int32).astype(np.uint8)
    scale = power_of_two(e)
    return _chosen(x[:, None], scale, {"e": e, "q": nearest_value(x, scale)})


def choose_nvfp4(x: np.ndarray, importance: np.ndarray | None = None) -> Choice:
    """The largest magnitude of each 16 weights becomes 6, with the scale rounded to E4M3.

    x: float32 (blocks, 64). Importance has no say. Source: quantize_row_nvfp4_ref.
    """
    groups = x.reshape(-1, 4, 16)  # (blocks, groups, weights)
    e = to_small_float(np.abs(groups).max(axis=-1) / F32(6))  # (blocks, groups)
    scale = small_float(e)
    return _chosen(groups, scale, {"e": e, "q": nearest_value(groups, scale[..., None]).reshape(-1, 64)})


def decode_mxfp4(codes: Codes) -> np.ndarray:
    """x̂ = 2^(e − 128) · value[q]. {"e": (..., 1), "q": (..., 32)} -> float32 (..., 32)."""
    with np.errstate(over="ignore"):  # 12 · 2^127 is infinite
        return power_of_two(codes["e"]) * VALUES[codes["q"]].astype(F32)


def decode_nvfp4(codes: Codes) -> np.ndarray:
    """x̂ = E4M3[e] / 2 · value[q]. {"e": (..., 4), "q": (..., 64)} -> float32 (..., 64)."""
    value = VALUES[codes["q"]].astype(F32)
    groups = value.reshape(*value.shape[:-1], 4, 16)  # (..., groups, weights)
    return (small_float(codes["e"])[..., None] * groups).reshape(value.shape)


def _load_mxfp4() -> Kernels:
    from quantlib.formats.kernels import microscaling

    return Kernels(microscaling.encode_mxfp4, None, microscaling.decode_mxfp4, sizes=True)


def _load_nvfp4() -> Kernels:
    from quantlib.formats.kernels import microscaling

    return Kernels(microscaling.encode_nvfp4, None, microscaling.decode_nvfp4, sizes=True)


_VALUE = Term("value[q]", lambda codes, weight: VALUES[codes["q"]])
MXFP4 = BlockFormat(
    name="MXFP4",
    ggml_type=39,
    summary="Blocks of 32 four-bit floats (E2M1) whose scale is a power of two: the open microscaling format.",
    layout=Layout(
        32,
        (
            Field("e", run(0, 1, 8), "exponent", "The block's scale as a power of two, plus 127."),
            Field(
                "q", plane(1, 16, 4, 16), "code", "A four-bit float for each weight: sign, two exponent bits, one more."
            ),
        ),
    ),
    formula=Formula("{s}", "", "{s} · {v}"),
    choose=choose_mxfp4,
    decode=decode_mxfp4,
    load_kernels=_load_mxfp4,
    reference=(choose_mxfp4, whole_logarithm, power_of_two, nearest_value),
    uses_importance=False,
    terms={"s": Term("2^(e − 128)", lambda codes, weight: power_of_two(codes["e"])), "v": _VALUE},
)

NVFP4 = BlockFormat(
    name="NVFP4",
    ggml_type=40,
    summary="Blocks of 4 × 16 four-bit floats (E2M1), each sixteen with an eight-bit float (E4M3) as scale.",
    layout=Layout(
        64,
        (
            Field("e", run(0, 4, 8), "scale", "The scale of 16 weights, an eight-bit float without sign."),
            Field(
                "q", plane(4, 32, 4, 8), "code", "A four-bit float for each weight: sign, two exponent bits, one more."
            ),
        ),
    ),
    formula=Formula("{s}", "", "{s} · {v}"),
    choose=choose_nvfp4,
    decode=decode_nvfp4,
    load_kernels=_load_nvfp4,
    reference=(choose_nvfp4, to_small_float, small_float, nearest_value),
    uses_importance=False,
    terms={"s": Term("E4M3[e] / 2", lambda codes, weight: small_float(codes["e"])), "v": _VALUE},
)
