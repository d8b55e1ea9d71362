"""torchao checkpoints in safetensors: a weight's parts lie beside each other as `_weight_qdata`, `_weight_scale`, ...

w = scale * (code - zero point), scale * code + zero, or a float times a scale. Source: torchao.quantization's tensors,
by what their dequantize() computes, and PyTorch's _convert_weight_to_int4pack for CUDA.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.prequantized.packing import decoded_tensor, integers, need, nibbles, scales
from quantlib.checkpoints.prequantized.scheme import Undecodable
from quantlib.checkpoints.untrusted import Fields

PARTS = ("qdata", "scale", "zero_point", "scale_and_zero", "act_pre_scale")
NAMED = tuple(f"_weight_{part}" for part in PARTS)
EIGHT_BITS = ("I8", "FP8_E4M3", "FP8_E5M2")
TILE, LANES, WORDS = 128, 32, 4  # columns of a tile of four-bit words, lanes that hold it, words of each
# Where a lane's words have their eight codes, from the lowest bits on: columns from the first of the lane's own.
CODES = np.array([0, 8, 16, 24, 1, 9, 17, 25])


def torchao(path: Path, settings: Fields, modules: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of a torchao checkpoint, told by what is stored of each."""
    del settings
    out = {}
    for name, stored in modules.items():
        parts = {suffix.removeprefix("_weight_"): tensor for suffix, tensor in stored.items()}
        if "qdata" not in parts:
            continue
        if "act_pre_scale" in parts:
            raise Undecodable(f"torchao's weights with scales for what comes in ({name})")
        qdata = parts["qdata"]
        if "scale_and_zero" in parts:
            made = _tiles(path, name, qdata, parts["scale_and_zero"])
        elif "scale" in parts and qdata.format in ("I8", "U8") and _is_packed(parts):
            made = _four_bit(path, name, qdata, parts["scale"], parts["zero_point"])
        elif "scale" in parts and qdata.format in EIGHT_BITS:
            made = _bytes(path, name, qdata, parts["scale"], parts.get("zero_point"))
        else:
            raise Undecodable(f"torchao's {qdata.format} ({name})")
        out[f"{name}.weight"] = made
    return out


def _is_packed(parts: Mapping[str, Tensor]) -> bool:
    """Whether a byte holds two codes: scales and zeros, which are floats, then lie with a column for each row."""
    scale, zero, rows = parts["scale"], parts.get("zero_point"), parts["qdata"].shape[0]
    if zero is None or len(scale.shape) != 2 or zero.format == "I8":
        return False
    return scale.shape[1] == rows and zero.shape == scale.shape


def _bytes(path: Path, name: str, qdata: Tensor, scale: Tensor, zero: Tensor | None) -> Tensor:
    """A byte for each weight, with scales for the tensor, its rows, parts of rows, or blocks."""
    need(path, len(qdata.shape) == 2, qdata.name, "is no matrix")
    block = None
    if len(scale.shape) == 2 and scale.n > 1:
        block = (-(-qdata.nrows // scale.nrows), -(-qdata.n // scale.n))
    table = scales(path, scale, (qdata.nrows, qdata.n), block)
    offsets = None if zero is None else scales(path, zero, (qdata.nrows, qdata.n), block)
    same = offsets is None or (offsets.rows, offsets.columns) == (table.rows, table.columns)
    need(path, same, name, "has zero points of another shape than its scales")

    def rows(start: int, stop: int) -> np.ndarray:
        codes = qdata.rows(start, stop)
        if offsets is not None:
            codes = codes - offsets.spread(start, stop, qdata.n)
        return codes * table.spread(start, stop, qdata.n)

    return decoded_tensor(f"{name}.weight", qdata.shape, qdata, f"torchao, {qdata.format}", rows)


def _four_bit(path: Path, name: str, qdata: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Two codes from -8 to 7 in a byte, low first; scales and zeros (groups, out): w = code * scale + zero."""
    outputs, inputs = qdata.shape[0], 2 * qdata.shape[1]
    groups = scale.shape[0]
    fits = groups > 0 and inputs % groups == 0 and scale.decodable and zero.decodable
    need(path, fits, name, "has scales or zeros of another shape than its weights")
    size = inputs // groups

    def rows(start: int, stop: int) -> np.ndarray:
        codes = nibbles(qdata.raw(start, stop)).astype(np.int32)
        signed = codes - 16 * (codes > 7)
        each, offset = (np.repeat(part.rows()[:, start:stop].T, size, axis=1) for part in (scale, zero))
        return signed.astype(np.float32) * each + offset

    return decoded_tensor(f"{name}.weight", (outputs, inputs), qdata, f"torchao, 4 bits, groups of {size}", rows)


def _tiles(path: Path, name: str, qdata: Tensor, both: Tensor) -> Tensor:
    """Tiles of 8 rows and 128 columns, as CUDA's kernel reads them; scale and zero (groups, out, 2).

    w = (code - 8) * scale + zero. A lane's words hold the columns 2 * (lane % 4) and seven that follow from it, of the
    row lane // 4, two steps of 16 columns in each word.
    """
    good = qdata.format == "I32" and len(qdata.shape) == 4 and qdata.shape[2:] == (LANES, WORDS)
    need(path, good, qdata.name, "is not laid out in tiles of 8 rows and 128 columns")
    outputs, inputs = 8 * qdata.shape[0], TILE * qdata.shape[1]
    groups = both.shape[0] if both.shape[1:] == (outputs, 2) and both.decodable else 0
    need(path, groups > 0 and inputs % groups == 0, both.name, "has another shape than the weights it scales")
    size = inputs // groups

    def rows(start: int, stop: int) -> np.ndarray:
        first, last = start // 8, -(-stop // 8)
        words = integers(qdata)[first:last].view(np.uint32)  # (tiles down, tiles along, lanes, words)
        codes = (words[..., None] >> (4 * np.arange(8, dtype=np.uint32))) & np.uint32(15)
        down, along = words.shape[:2]
        split = codes.reshape(down, along, 8, 4, WORDS, 8)  # lane = 4 * row + place
        out = np.empty((down, 8, along, WORDS, 32), np.int32)
        for place in range(4):
            out[..., 2 * place + CODES] = split[:, :, :, place].transpose(0, 2, 1, 3, 4)
        matrix = out.reshape(8 * down, inputs)[start - 8 * first : stop - 8 * first]
        table = both.rows().reshape(groups, outputs, 2)[:, start:stop]
        each, offset = (np.repeat(table[..., which].T, size, axis=1) for which in (0, 1))
        return (matrix - 8).astype(np.float32) * each + offset

    return decoded_tensor(f"{name}.weight", (outputs, inputs), qdata, f"torchao, 4 bits, groups of {size}", rows)
