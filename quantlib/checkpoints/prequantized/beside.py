"""Scales that lie beside 8-bit weights although nothing in the checkpoint says so.

Image models and text encoders come like this: `X.weight` in FP8 with `X.scale_weight` or `X.weight_scale`, a marker
`scaled_fp8`, and notes `X.comfy_quant` in newer files. The true weight is code · scale; scales of activations do not
touch it. Source: ComfyUI's comfy/ops.py and comfy/quant_ops.py, by what they compute.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, shown
from quantlib.checkpoints.prequantized.packing import decoded_tensor, need, scales
from quantlib.checkpoints.prequantized.scheme import Undecodable

EIGHT_BITS = ("FP8_E4M3", "FP8_E5M2")
OF_WEIGHTS = ("scale_weight", "weight_scale", "weight_scale_inv")  # all three are multiplied
OF_ACTIVATIONS = ("scale_input", "input_scale")
NOTE, MARKER, NOTES = "comfy_quant", "scaled_fp8", "_quantization_metadata"
KNOWN_NOTES = ("float8_e4m3fn", "float8_e5m2")
MOST_NOTE = 4096  # bytes
TILES = (128, 64, 32, 256, 16)  # of scales for blocks whose size nothing states, the usual one first


@dataclass(frozen=True)
class Beside:
    """made: weights with their scales applied, by name. used: names that their place is taken of."""

    made: Mapping[str, Tensor]
    used: frozenset[str]


def beside(path: Path, tensors: Mapping[str, Tensor], stated: object = None) -> Beside:
    """8-bit weights of a checkpoint that have scales beside them, decoded. stated: the header's NOTES, if it has them.

    Raises Undecodable for a note of another format, CheckpointError where a scale does not fit its weight.
    """
    _check_stated(stated)
    made: dict[str, Tensor] = {}
    used = {name for name in tensors if name == MARKER or name.endswith(f".{MARKER}")}
    for module, note in _notes(tensors):
        used.add(note.name)
        _check_note(path, module, note)
    for name, weight in tensors.items():
        module, dot, last = name.rpartition(".")
        if last != "weight" or weight.format not in EIGHT_BITS:
            continue
        scale = next((tensors[f"{module}{dot}{s}"] for s in OF_WEIGHTS if f"{module}{dot}{s}" in tensors), None)
        if scale is None:
            continue
        made[name] = _scaled(path, weight, scale)
        others = (f"{module}{dot}{suffix}" for suffix in OF_ACTIVATIONS)
        used |= {scale.name, *(other for other in others if other in tensors)}
    return Beside(made, frozenset(used) if made else frozenset())


def unused_scales(tensors: Mapping[str, Tensor]) -> list[str]:
    """Scales of stored integers or 8-bit floats that nothing was multiplied with: their names."""
    codes = {"I8", "U8", *EIGHT_BITS}
    found = []
    for name in tensors:
        module, dot, last = name.rpartition(".")
        weight = tensors.get(f"{module}{dot}weight")
        if "scale" in last and last not in OF_ACTIVATIONS and weight is not None and weight.format in codes:
            found.append(name)
    return found


def _notes(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if name.endswith(f".{NOTE}"):
            yield name.removesuffix(f".{NOTE}"), tensor


def _check_stated(stated: object) -> None:
    """Raise Undecodable where the notes in a file's header name a format that is not decoded."""
    try:
        layers = json.loads(stated)["layers"] if isinstance(stated, str) else {}
        formats = {module: note["format"] for module, note in layers.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Undecodable(f"notes in its header say, which cannot be read ({NOTES})") from None
    for module, said in formats.items():
        if said not in KNOWN_NOTES:
            raise Undecodable(f"{shown(said)} ({shown(module)})")


def _check_note(path: Path, module: str, note: Tensor) -> None:
    need(path, note.nbytes <= MOST_NOTE, note.name, f"is longer than the {MOST_NOTE} bytes of a note")
    try:
        said = json.loads(note.raw().tobytes())["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        said = None
    if said not in KNOWN_NOTES:
        raise Undecodable(f"{shown(said)} ({shown(module)})")


def _scaled(path: Path, weight: Tensor, scale: Tensor) -> Tensor:
    need(path, len(weight.shape) >= 1 and weight.size > 0, weight.name, "has no values")
    table = scales(path, scale, (weight.nrows, weight.n), _block(weight, scale))

    def rows(start: int, stop: int) -> np.ndarray:
        return weight.rows(start, stop) * table.spread(start, stop, weight.n)

    return decoded_tensor(weight.name, weight.shape, weight, f"{weight.format}, scaled", rows)


def _block(weight: Tensor, scale: Tensor) -> tuple[int, int] | None:
    """The tile of a two-dimensional table of scales: the usual size that gives so many rows and columns of them."""
    if len(scale.shape) < 2 or scale.n == 1:
        return None
    table = (scale.nrows, scale.n)
    return next((tile for tile in _tiles() if (-(-weight.nrows // tile[0]), -(-weight.n // tile[1])) == table), None)


def _tiles() -> Iterator[tuple[int, int]]:
    yield from ((size, size) for size in TILES)
    yield from ((1, size) for size in TILES)
