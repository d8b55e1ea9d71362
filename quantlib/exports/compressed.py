"""The file layouts of compressed-tensors, which vLLM and transformers read: packed integers, INT8, FP8, NVFP4, MXFP4.

pack-quantized:      `weight_packed` int32 (outputs, inputs · bits / 32), codes plus 2^(bits−1); `weight_scale`;
                     `weight_shape` int64 (2,). x̂ = scale · code
int-quantized:       `weight` int8, `weight_scale` (outputs, 1).
float-quantized:     `weight` FP8 E4M3, `weight_scale` (outputs, 1).
nvfp4-pack-quantized: `weight_packed` uint8 (outputs, inputs / 2), the first of two FP4 codes in the low half;
                     `weight_scale` FP8 E4M3 (outputs, inputs / 16); `weight_global_scale` float32 (1,).
                     x̂ = code · scale / global scale
mxfp4-pack-quantized: the same codes; `weight_scale` uint8 (outputs, inputs / 32), exponents: x̂ = code · 2^(scale − 127)
Scales are stored in the dtype that the weight had.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from quantlib.errors import MethodError
from quantlib.exports.stored import Stored
from quantlib.exports.words import words
from quantlib.formats.finite import check_finite
from quantlib.formats.floats import FP4_E2M1, FP8_E4M3
from quantlib.formats.rows import as_float32

F32 = np.float32
NVFP4_GROUP, MXFP4_GROUP = 16, 32
FP4_MAX, FP8_MAX = F32(FP4_E2M1.max), F32(FP8_E4M3.max)


def packed_integers(codes: np.ndarray, scales: np.ndarray, bits: int) -> Stored:
    """Signed codes (outputs, inputs), −2^(bits−1) … 2^(bits−1) − 1, with scales (outputs, groups) of any float type."""
    tensors = {
        "weight_packed": words((codes + (1 << (bits - 1))).astype(np.uint8), bits),
        "weight_scale": np.ascontiguousarray(scales),
        "weight_shape": np.array(codes.shape, np.int64),
    }
    return Stored(tensors, _scaled(codes, scales))


def int8(codes: np.ndarray, scales: np.ndarray) -> Stored:
    """Codes −128 … 127 (outputs, inputs) with a scale for each output (outputs, 1) of any float type."""
    tensors = {"weight": np.ascontiguousarray(codes, np.int8), "weight_scale": np.ascontiguousarray(scales)}
    return Stored(tensors, _scaled(codes, scales))


def fp8(weight: np.ndarray, dtype: np.dtype) -> Stored:
    """A weight (outputs, inputs) as FP8 E4M3, the largest magnitude of each output becoming 448.

    dtype: of the scales, in which they are rounded before codes are chosen. Raises FormatError on NaN and infinity.
    """
    w = _checked("FP8", weight, 1)
    scales = _rounded(_nonzero(np.abs(w).max(-1, keepdims=True) / FP8_MAX), dtype)
    codes = np.clip(w / scales.astype(F32), -FP8_MAX, FP8_MAX).astype(FP8_E4M3.dtype)
    return Stored({"weight": codes, "weight_scale": scales}, _scaled(codes, scales))


def nvfp4(weight: np.ndarray) -> Stored:
    """A weight (outputs, inputs) as FP4, an FP8 scale for each 16 weights and one float32 for all of them.

    global scale = 448 · 6 / max|w|, so that the largest scale is FP8's largest number; scale = global scale · max of
    the group / 6. Raises MethodError where 16 does not divide the inputs, FormatError on NaN and infinity.
    """
    groups = _groups("NVFP4", weight, NVFP4_GROUP)
    largest = np.abs(groups).max(-1)  # (outputs, groups)
    overall = _nonzero(largest.max(keepdims=True))[0]  # (1,)
    spread = FP8_MAX * FP4_MAX / overall
    exact = np.clip(spread * (largest / FP4_MAX), 0, FP8_MAX)
    least = F32(FP8_E4M3.smallest_subnormal)
    scales = np.maximum(exact, least).astype(FP8_E4M3.dtype)  # a scale of 0 would divide by 0
    packed, decoded = _fp4(groups, scales.astype(F32) / spread)
    tensors = {"weight_packed": packed, "weight_scale": scales, "weight_global_scale": spread}
    return Stored(tensors, decoded)


def mxfp4(weight: np.ndarray) -> Stored:
    """A weight (outputs, inputs) as FP4 with a power of two for each 32 weights.

    exponent = 127 + ⌊log₂ max|w|⌋ − 2, max|w| first rounded up to a power of two where its fraction is 1.75 or more:
    6, the largest FP4, would clip it. Raises MethodError where 32 does not divide the inputs, FormatError on NaN.
    """
    groups = _groups("MXFP4", weight, MXFP4_GROUP)
    fraction, exponent = np.frexp(np.abs(groups).max(-1))  # largest = fraction · 2^exponent, ½ ≤ fraction < 1
    power = np.where(fraction >= 0.875, exponent, exponent - 1) - 2
    scales = np.where(fraction > 0, np.clip(power + 127, 0, 254), 0).astype(np.uint8)
    packed, decoded = _fp4(groups, np.ldexp(F32(1), scales.astype(np.int32) - 127))
    return Stored({"weight_packed": packed, "weight_scale": scales}, decoded)


def config(
    format: str, weights: Mapping[str, object], activations: Mapping[str, object] | None = None
) -> dict[str, object]:
    """The `quantization_config` of a layout. weights, activations: what is said of their numbers."""
    usual = {"symmetric": True, "dynamic": False}
    group = {
        "targets": ["Linear"],
        "weights": usual | dict(weights),
        "input_activations": None if activations is None else {"symmetric": True, "dynamic": True} | dict(activations),
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": format,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }


def leaving(settings: Mapping[str, object], quantized: Sequence[str], left: Sequence[str]) -> dict[str, object]:
    """The `quantization_config` of a folder in which some modules stay as they are."""
    return {**settings, "ignore": ["lm_head", *left]}


def _fp4(groups: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FP4 codes of (outputs, groups, n), two a byte, the first in the low half, uint8 (outputs, inputs / 2); and x̂."""
    codes = FP4_E2M1.encode(np.clip(groups / scales[..., None], -FP4_MAX, FP4_MAX)).astype(np.uint8)
    flat = codes.reshape(len(codes), -1)
    decoded = FP4_E2M1.decode(codes) * scales[..., None]
    return flat[:, ::2] | flat[:, 1::2] << 4, decoded.reshape(flat.shape)


def _scaled(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """scale · code, float32 (outputs, inputs), for scales (outputs, groups)."""
    groups = codes.astype(F32).reshape(*scales.shape, -1) * scales.astype(F32)[..., None]
    return groups.reshape(codes.shape)


def _groups(name: str, weight: np.ndarray, size: int) -> np.ndarray:
    w = _checked(name, weight, size)
    return w.reshape(len(w), -1, size)  # (outputs, groups, size)


def _checked(name: str, weight: np.ndarray, size: int) -> np.ndarray:
    w = as_float32(weight)
    check_finite(name, w)
    if w.shape[-1] % size:
        raise MethodError(
            f"{name} scales groups of {size} weights, which do not divide a layer of {w.shape[-1]:,} inputs; leave "
            f"this layer out or choose another scheme."
        )
    return w


def _nonzero(x: np.ndarray) -> np.ndarray:
    """Magnitudes with 1 in place of 0: whatever divides by them then leaves zeros alone."""
    return np.where(x > 0, x, F32(1))


def _rounded(scales: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(scales.astype(dtype))
