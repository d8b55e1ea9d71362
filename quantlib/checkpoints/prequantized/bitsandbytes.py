"""bitsandbytes checkpoints: 4-bit codebooks (NF4, FP4) with scales that may be quantized too, and LLM.int8 rows.

w = codebook[code] * absmax of its block; a block runs on from one row to the next. Source: bitsandbytes.functional.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, fault, shown
from quantlib.checkpoints.prequantized.packing import decoded_tensor, floats, integers, need, nibbles
from quantlib.checkpoints.untrusted import Fields, parse_json

MAX_STATE = 2**16  # bytes of the JSON that describes a weight
MAX_BLOCK = 2**20
STATE = "weight.quant_state.bitsandbytes__"
KINDS = ("nf4", "fp4")


def bitsandbytes(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of a bitsandbytes checkpoint, told by what lies beside them."""
    del settings
    out = {}
    for name, parts in modules.items():
        kind = next((kind for kind in KINDS if STATE + kind in parts), None)
        if kind and "weight" in parts:
            out[f"{name}.weight"] = _four_bit(path, name, kind, parts)
        elif "SCB" in parts and "weight" in parts:
            out[f"{name}.weight"] = _int8(path, name, parts["weight"], parts["SCB"])
    return out


@dataclass(frozen=True)
class _State:
    """What the JSON beside a 4-bit weight says."""

    shape: tuple[int, int]
    block: int
    nested_block: int
    offset: np.float32


def _state(path: Path, tensor: Tensor) -> _State:
    need(path, tensor.format == "U8" and tensor.nbytes <= MAX_STATE, tensor.name, "is no text")
    value = parse_json(path, tensor.raw().tobytes(), "a quant_state")
    if not isinstance(value, dict):
        raise fault(path, f"is quantized, but {shown(tensor.name)} holds no JSON object.")
    fields = Fields(path, value, f"of {shown(tensor.name)} that ")
    shape = fields.array("shape")
    good = len(shape) == 2 and all(type(size) is int and 0 < size < 2**31 for size in shape)
    need(path, good, tensor.name, f"gives the shape {shown(json.dumps(shape)[:40])}")
    return _State(
        (shape[0], shape[1]),
        fields.integer("blocksize", 1, MAX_BLOCK, 64),
        fields.integer("nested_blocksize", 1, MAX_BLOCK, 256),
        np.float32(fields.number("nested_offset", -1e9, 1e9, 0.0)),
    )


def _four_bit(path: Path, name: str, kind: str, parts: Mapping[str, Tensor]) -> Tensor:
    """Two codes in a byte, the first in its high nibble, over the whole matrix row after row."""
    weight, state = parts["weight"], _state(path, parts[STATE + kind])
    rows, columns = state.shape
    need(path, weight.format == "U8" and weight.size == -(-rows * columns // 2), weight.name, "has another size")
    for part in ("weight.absmax", "weight.quant_map"):
        need(path, part in parts, name, f"has no '{part}'")
    need(path, parts["weight.quant_map"].size == 16, parts["weight.quant_map"].name, "is no codebook of 16 values")
    blocks = -(-rows * columns // state.block)
    need(path, parts["weight.absmax"].size == blocks, parts["weight.absmax"].name, "has another size")
    _check_nested(path, name, parts, state)

    def decode(start: int, stop: int) -> np.ndarray:
        first, last = start * columns, stop * columns
        packed = weight.raw().reshape(-1)[first // 2 : -(-last // 2)]
        codes = nibbles(packed.reshape(1, -1), high_first=True)[0, first % 2 :][: last - first]
        low, high = first // state.block, (last - 1) // state.block + 1
        absmax = _absmax(parts, state, low, high)[np.arange(first, last) // state.block - low]
        return (floats(parts["weight.quant_map"])[codes] * absmax).reshape(stop - start, columns)

    origin = f"bitsandbytes {kind.upper()}, blocks of {state.block}"
    return decoded_tensor(weight.name, state.shape, weight, origin, decode)


def _check_nested(path: Path, name: str, parts: Mapping[str, Tensor], state: _State) -> None:
    """Scales that are codes need a codebook and scales of their own."""
    stored = parts["weight.absmax"]
    if stored.format != "U8":
        return
    for part in ("weight.nested_absmax", "weight.nested_quant_map"):
        need(path, part in parts, name, f"has no '{part}'")
    codebook, scales = parts["weight.nested_quant_map"], parts["weight.nested_absmax"]
    fits = codebook.size == 256 and scales.size == -(-stored.size // state.nested_block)
    need(path, fits and codebook.decodable and scales.decodable, stored.name, "has nested scales of another size")


def _absmax(parts: Mapping[str, Tensor], state: _State, start: int, stop: int) -> np.ndarray:
    """The scales of blocks start..stop; quantized ones are codes of a codebook, under scales and an offset."""
    stored = parts["weight.absmax"]
    if stored.format != "U8":
        return floats(stored, start, stop)
    codes = integers(stored).reshape(-1)[start:stop]
    nested = floats(parts["weight.nested_absmax"])[np.arange(start, stop) // state.nested_block]
    return floats(parts["weight.nested_quant_map"])[codes] * nested + state.offset


def _int8(path: Path, name: str, weight: Tensor, scale: Tensor) -> Tensor:
    """LLM.int8(): w = code * SCB / 127, SCB the largest magnitude of the row."""
    need(path, weight.format == "I8" and len(weight.shape) == 2, weight.name, "is no matrix of 8-bit integers")
    need(path, scale.size == weight.nrows and scale.decodable, scale.name, "has another size than the rows it scales")

    def decode(start: int, stop: int) -> np.ndarray:
        return weight.rows(start, stop) * (floats(scale, start, stop) * np.float32(1 / 127)).reshape(-1, 1)

    return decoded_tensor(weight.name, weight.shape, weight, "bitsandbytes LLM.int8()", decode)
