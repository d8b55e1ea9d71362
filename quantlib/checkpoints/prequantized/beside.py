"""Scales that lie beside 8-bit weights although nothing in the checkpoint says so.

Image models, text encoders and stacked experts come like this: `X.weight` in FP8 with `X.scale_weight`,
`X.weight_scale` or `X.scale`, a stack `X` with `X_scale`, a marker `scaled_fp8`, and notes `X.comfy_quant` in newer
files. The true weight is code · scale; scales of activations do not touch it. Source: ComfyUI's comfy/ops.py and
comfy/quant_ops.py, DeepSeek's inference/model.py, by what they compute.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, shown
from quantlib.checkpoints.prequantized.packing import decoded_tensor, need, scales
from quantlib.checkpoints.prequantized.scheme import Undecodable

EIGHT_BITS = ("FP8_E4M3", "FP8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ")
CODES = (*EIGHT_BITS, "I8", "U8", "I32", "FP4_E2M1")  # what a scale can be meant for
# Where the scale of a weight lies: after its name, or after its module's. All are multiplied.
OF_NAME = ("_scale_inv", "_scale", ".scale_inv", ".scale")
OF_MODULE = ("scale_weight", "scale_inv", "scale")
OF_ACTIVATIONS = ("scale_input", "input_scale")
NOTE, MARKER, NOTES = "comfy_quant", "scaled_fp8", "_quantization_metadata"
KNOWN_NOTES = ("float8_e4m3fn", "float8_e5m2")
MOST_NOTE = 4096  # bytes
ZERO_POINT = "weight_zero_point"
OF_WEIGHTS = ("weight_scale", "scale_weight", "weight_scale_inv", ZERO_POINT)
SCALE = re.compile(r"[^.:_]*scale.*", re.DOTALL)  # the end of a name, from that word on


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
        scale = _scale_of(name, tensors) if weight.format in EIGHT_BITS and weight.size else None
        if scale is None:
            continue
        made[name] = _scaled(path, weight, scale)
        others = (f"{_module(name)}{suffix}" for suffix in OF_ACTIVATIONS)
        used |= {scale.name, *(other for other in others if other in tensors)}
    return Beside(made, frozenset(used))


def unused_scales(tensors: Mapping[str, Tensor], left: Mapping[str, Tensor]) -> list[str]:
    """Scales and zero points of stored codes that nothing was multiplied with: their names.

    tensors: as they are stored. left: those of them whose place nothing has taken.
    """
    coded = {name for name, tensor in tensors.items() if tensor.format in CODES}
    # A code's own name, and that of its module.
    stems = coded | {name[: max(name.rfind(mark) for mark in ".:")] for name in coded if "." in name or ":" in name}
    return [name for name in left if _is_scale(name, stems) and name not in coded - {_module(name) + ZERO_POINT}]


def _is_scale(name: str, stems: set[str]) -> bool:
    """Whether a tensor's name says that it scales one of these, or the weight beside it, whatever that is stored as."""
    last = name.rpartition(".")[2]
    if last in OF_ACTIVATIONS:
        return False
    if last in OF_WEIGHTS:
        return True
    found = SCALE.search(name, max(0, name.rfind(".")))
    return found is not None and name[: found.start()].rstrip(".:_") in stems


def _module(name: str) -> str:
    """What comes before the last part of a name, with its dot."""
    return name[: name.rfind(".") + 1]


def _scale_of(name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The scale that lies beside a weight, if there is one."""
    names = [name + suffix for suffix in OF_NAME]
    if name.rpartition(".")[2] == "weight":
        names[2:2] = [_module(name) + suffix for suffix in OF_MODULE]
    return next((tensors[other] for other in names if other in tensors), None)


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
    shape = tuple(weight.shape) or (1,)  # a number alone is a vector of one value
    table = scales(path, scale, shape)

    def rows(start: int, stop: int) -> np.ndarray:
        return weight.rows(start, stop) * table.spread(start, stop, weight.n)

    return decoded_tensor(weight.name, shape, weight, f"{weight.format}, scaled", rows)
