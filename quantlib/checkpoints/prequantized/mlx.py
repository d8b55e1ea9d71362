"""Folders of Apple's MLX: codes packed along the rows, with a scale and an offset for each group of a row.

w = scale * code + bias; or 4-bit floats times powers of two. Source: mlx.core.quantize and dequantize, by what they
compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, shown
from quantlib.checkpoints.prequantized.packing import E2M1, decoded_tensor, floats, need, unpacked
from quantlib.checkpoints.prequantized.scheme import Undecodable
from quantlib.checkpoints.untrusted import Fields

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (16, 32, 64, 128)
# Ways of storing beside the usual one, by what config.json calls them: values by code, bits, and weights of a group.
FLOATS = {"mxfp4": (E2M1, 32)}


def mlx(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of an MLX folder: weight uint32 (..., out, in * bits / 32), scales and biases (..., out, groups)."""
    out = {}
    for name, parts in modules.items():
        if "weight" in parts and "scales" in parts and parts["weight"].format == "U32":
            out[f"{name}.weight"] = _decoded(path, name, parts, _of_module(path, settings, name))
    return out


def _of_module(path: Path, settings: Fields, name: str) -> Fields:
    """What is said of this module: of it alone, or of all."""
    own = settings.values.get(name)
    return Fields(path, {**settings.values, **own} if isinstance(own, dict) else settings.values)


def _decoded(path: Path, name: str, parts: Mapping[str, Tensor], settings: Fields) -> Tensor:
    weight, scales = parts["weight"], parts["scales"]
    mode = settings.string("mode", "affine", limit=64)
    if mode != "affine" and mode not in FLOATS:
        raise Undecodable(f"MLX's {shown(mode)}")
    group = settings.integer("group_size", 1, 4096, 64) if mode == "affine" else FLOATS[mode][1]
    need(path, group in GROUPS, name, f"has groups of {group} weights")
    columns = scales.n * group
    bits = 32 * weight.n // columns if columns else 0
    whole = bits in BITS and bits * columns == 32 * weight.n
    need(path, len(weight.shape) >= 2 and whole, weight.name, "packs codes of no whole bits into its groups")
    rest = (*weight.shape[:-1], scales.n)
    need(path, scales.shape == rest, scales.name, "has another shape than the weights it scales")
    shape = (*weight.shape[:-1], columns)
    if mode != "affine":
        values = FLOATS[mode][0]
        need(path, bits == 4 and scales.format == "U8", scales.name, "holds no powers of two for codes of 4 bits")

        def four_bit(start: int, stop: int) -> np.ndarray:
            each = np.ldexp(np.float32(1), scales.raw(start, stop).astype(np.int32) - 127)
            return values[_codes(weight, start, stop, bits, columns)] * np.repeat(each, group, axis=1)

        return decoded_tensor(f"{name}.weight", shape, weight, f"MLX, {mode}", four_bit)
    need(path, "biases" in parts and scales.decodable, name, "has no 'biases' beside its scales")
    biases = parts["biases"]
    need(path, biases.shape == rest and biases.decodable, biases.name, "has another shape than the scales")

    def affine(start: int, stop: int) -> np.ndarray:
        codes = _codes(weight, start, stop, bits, columns).astype(np.float32)
        scale, bias = (np.repeat(_rows(part, start, stop), group, axis=1) for part in (scales, biases))
        return codes * scale + bias

    return decoded_tensor(f"{name}.weight", shape, weight, f"MLX, {bits} bits, groups of {group}", affine)


def _codes(weight: Tensor, start: int, stop: int, bits: int, columns: int) -> np.ndarray:
    """Codes of rows start..stop: int32 (rows, columns)."""
    words = weight.raw(start, stop).view("<u4").reshape(stop - start, -1)
    return unpacked(words.T, bits, columns).T


def _rows(part: Tensor, start: int, stop: int) -> np.ndarray:
    return floats(part, start * part.n, stop * part.n).reshape(stop - start, part.n)
