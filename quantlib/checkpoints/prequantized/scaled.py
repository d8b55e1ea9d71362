"""Weights stored as small numbers beside their scales: FP8 by blocks, and the formats of compressed-tensors.

w = code * scale, or scale * (code - zero point). Source: the compressors of compressed-tensors, and transformers' FP8.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.prequantized.packing import (
    E2M1,
    decoded_tensor,
    floats,
    integers,
    need,
    nibbles,
    scales,
    unpacked,
    words_of,
)
from quantlib.checkpoints.prequantized.scheme import Undecodable
from quantlib.checkpoints.untrusted import Fields

BYTES = ("FP8_E4M3", "FP8_E5M2", "I8")
MAX_TILE = 2**20


def fp8(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """FP8 weights with a scale for each block (weight_scale_inv, which is multiplied), row or tensor (weight_scale)."""
    sizes = settings.array("weight_block_size")
    block = None
    if sizes:
        if len(sizes) != 2 or not all(type(size) is int and 0 < size <= MAX_TILE for size in sizes):
            raise Undecodable("FP8 in blocks of no two sizes")
        block = (sizes[0], sizes[1])
    out = {}
    for name, parts in modules.items():
        scale = parts.get("weight_scale_inv", parts.get("weight_scale"))
        if scale is not None and "weight" in parts:
            out[f"{name}.weight"] = _scaled(path, name, parts["weight"], scale, None, "FP8", block)
    return out


def compressed(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Every format of compressed-tensors that stores a whole matrix: told by what is stored, module by module."""
    if settings.mapping("sparsity_config").get("format") not in (None, "dense"):
        raise Undecodable("compressed-tensors with sparse weights")
    out = {}
    for name, parts in modules.items():
        if "weight_packed" not in parts and "weight_scale" not in parts:
            continue
        if "weight_shape" in parts and "weight_packed" in parts:
            made = _packed(path, name, parts)
        elif "weight_packed" in parts:
            made = _four_bit(path, name, parts["weight_packed"], parts)
        elif "weight" in parts:
            zero = parts.get("weight_zero_point")
            made = _scaled(path, name, parts["weight"], parts["weight_scale"], zero, "compressed-tensors", None)
        else:
            continue  # the scales of activations and caches
        out[f"{name}.weight"] = made
    return out


def modelopt(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """NVIDIA's ModelOpt: NVFP4 with weight_scale_2 (which is multiplied), FP8 with a scale for the whole matrix."""
    del settings
    out = {}
    for name, parts in modules.items():
        if "weight" in parts and "weight_scale" in parts:
            four = parts["weight"].format == "U8"
            scaled = _four_bit if four else _eight_bit
            out[f"{name}.weight"] = scaled(path, name, parts["weight"], parts)
    return out


def _eight_bit(path: Path, name: str, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    return _scaled(path, name, weight, parts["weight_scale"], None, "ModelOpt FP8", None)


def _scaled(
    path: Path,
    name: str,
    weight: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    title: str,
    block: tuple[int, int] | None,
) -> Tensor:
    """Bytes beside scales: one for the tensor, for each row, for each group of a row, or for each block."""
    need(path, len(weight.shape) >= 2 and weight.format in BYTES, weight.name, "is no matrix of 8-bit values")
    table = scales(path, scale, tuple(weight.shape), block)
    offsets = None if zero is None else scales(path, zero, tuple(weight.shape))
    same = offsets is None or (offsets.rows, offsets.columns) == (table.rows, table.columns)
    need(path, same, name, "has zero points of another shape than its scales")

    def rows(start: int, stop: int) -> np.ndarray:
        codes = weight.rows(start, stop)
        if offsets is not None:
            codes = codes - offsets.spread(start, stop, weight.n)
        return codes * table.spread(start, stop, weight.n)

    return decoded_tensor(weight.name, weight.shape, weight, f"{weight.format}, scaled ({title})", rows)


def _packed(path: Path, name: str, parts: Mapping[str, Tensor]) -> Tensor:
    """Integers packed along the row, least significant first, as code + 2^(bits - 1); zero points along the column."""
    packed, stated = parts["weight_packed"], parts["weight_shape"]
    need(path, "weight_scale" in parts and parts["weight_scale"].decodable, name, "has no 'weight_scale'")
    scale = parts["weight_scale"]
    size = integers(stated).reshape(-1).tolist() if stated.format in ("I64", "I32") else []
    good = len(size) == 2 and packed.format == "I32" and len(packed.shape) == 2 and size[0] == packed.shape[0]
    need(path, good and size[1] > 0, name, "has a 'weight_shape' that its codes do not have")
    rows, columns = size
    bits = 32 * packed.shape[1] // columns
    need(path, 1 <= bits <= 8 and -(-columns * bits // 32) == packed.shape[1], name, "packs codes of no whole bits")
    table = scales(path, scale, (rows, columns))
    zero = parts.get("weight_zero_point")
    if zero is not None:
        fits = zero.format == "I32" and zero.shape == (-(-table.rows * bits // 32), table.columns)
        need(path, fits, zero.name, "has another shape than the scales")

    @cache
    def group_of() -> np.ndarray:
        return _order(path, name, parts.get("weight_g_idx"), columns, table.columns)

    def zeros(zero: Tensor, start: int, stop: int) -> np.ndarray:
        low, high = start // table.high, (stop - 1) // table.high + 1
        first, last, bit = words_of(low, high, bits)
        found = unpacked(integers(zero)[first:last].view(np.uint32), bits, high - low, bit) - 2 ** (bits - 1)
        return found[np.arange(start, stop) // table.high - low]  # (rows, groups)

    def decode(start: int, stop: int) -> np.ndarray:
        words = integers(packed)[start:stop].view(np.uint32)
        codes = unpacked(words.T, bits, columns).T - 2 ** (bits - 1)  # (rows, columns)
        if zero is not None:
            codes = codes - zeros(zero, start, stop)[:, group_of()]
        return codes.astype(np.float32) * table.of(start, stop)[:, group_of()]

    origin = f"compressed-tensors, {bits} bits, groups of {table.wide}"
    return decoded_tensor(f"{name}.weight", (rows, columns), packed, origin, decode)


def _order(path: Path, name: str, index: Tensor | None, columns: int, groups: int) -> np.ndarray:
    """The group of each column: as it says, or in turn."""
    if index is None:
        return np.arange(columns) // -(-columns // groups)
    found = integers(index).reshape(-1) if index.format in ("I32", "I64") else np.empty(0)
    inside = found.size == columns and found.min() >= 0 and found.max() < groups
    need(path, inside, name, "has a 'weight_g_idx' that does not name a group for each column")
    return found


def _four_bit(path: Path, name: str, packed: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
    """FP4 codes, low nibble first: NVFP4 with FP8 scales under one for the whole, MXFP4 with powers of two."""
    need(path, packed.format == "U8" and len(packed.shape) == 2, packed.name, "holds no 4-bit codes in bytes")
    rows, columns = packed.shape[0], 2 * packed.shape[1]
    need(path, "weight_scale" in parts and len(parts["weight_scale"].shape) == 2, name, "has no table of scales")
    scale = parts["weight_scale"]
    nv = scale.format == "FP8_E4M3"
    group = 16 if nv else 32
    fits = scale.shape == (rows, columns // group) and columns % group == 0
    need(
        path,
        fits and scale.format in ("FP8_E4M3", "U8", "FP8_E8M0"),
        scale.name,
        f"is no table of scales for groups of {group}",
    )

    @cache
    def overall() -> np.float32:
        return _overall(path, parts)

    def decode(start: int, stop: int) -> np.ndarray:
        codes = E2M1[nibbles(packed.raw(start, stop))]  # (rows, columns)
        if nv:
            each = scale.rows(start, stop) * overall()
        else:
            each = np.ldexp(np.float32(1), scale.raw(start, stop).astype(np.int32) - 127)
        return codes * np.repeat(each, group, axis=1)

    return decoded_tensor(f"{name}.weight", (rows, columns), packed, "NVFP4" if nv else "MXFP4", decode)


def _overall(path: Path, parts: Mapping[str, Tensor]) -> np.float32:
    """What all scales of an NVFP4 matrix are multiplied by: 1 / weight_global_scale, or weight_scale_2."""
    for part, inverse in (("weight_global_scale", True), ("weight_scale_2", False)):
        if part in parts:
            value = floats(parts[part])
            need(path, value.size == 1 and value[0] > 0 and np.isfinite(value[0]), parts[part].name, "is no scale")
            return np.float32(1) / value[0] if inverse else value[0]
    return np.float32(1)
