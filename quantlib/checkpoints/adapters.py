"""LoRA adapters as the package peft writes them: added to a model's weights, or turned into a GGUF adapter.

An adapter changes a matrix W (out, in) to W + scale · B A, with A (rank, in) and B (out, rank). Source: the package
peft.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, shown
from quantlib.checkpoints.prequantized.packing import decoded_tensor
from quantlib.checkpoints.safetensors_file import read_header
from quantlib.checkpoints.untrusted import Fields, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAX_RANK = 2**16
PREFIX = "base_model.model."
PART = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?")


@dataclass(frozen=True)
class Change:
    """What an adapter does to one matrix. magnitude: the length that each row gets at the end (DoRA)."""

    a: Tensor
    b: Tensor
    scale: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.a.nrows


@dataclass(frozen=True)
class Adapter:
    """An opened adapter. changes and whole: by the name of the module in the base model; whole takes a weight's place.

    alpha: what is divided by the rank to make the scale. turned: matrices are stored as (in, out).
    """

    folder: Path
    changes: Mapping[str, Change]
    whole: Mapping[str, Tensor]
    alpha: float
    turned: bool
    files: tuple[StoredFile, ...]


def open_adapter(folder: Path) -> Adapter:
    """The adapter in a folder. Raises CheckpointError for other kinds of adapters, and for what contradicts itself."""
    path = folder / CONFIG
    fields = Fields(path, read_json(path))
    kind = fields.string("peft_type", "LORA", limit=64)
    if kind != "LORA":
        raise fault(path, f"describes an adapter of the kind {shown(kind)}; only LoRA adapters are read.")
    if not (folder / WEIGHTS).is_file():
        raise fault(
            folder, f"has no {WEIGHTS}: save the adapter again with a newer peft, which writes safetensors by itself."
        )
    file = MappedFile(folder / WEIGHTS)
    try:
        tensors, _ = read_header(file)
        parts, whole = _parts(path, tensors)
        changes = {name: _change(path, name, found, fields) for name, found in parts.items()}
    except BaseException:
        file.close()
        raise
    turned = fields.boolean("fan_in_fan_out", False)
    return Adapter(folder, changes, whole, fields.number("lora_alpha", -1e6, 1e6, 8.0), turned, (file,))


def _parts(path: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The parts of each module that is changed, and the weights that are replaced."""
    parts: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix(PREFIX)
        if ".lora_embedding_" in plain:
            raise fault(
                path, f"changes the token embedding ({shown(name)}), which is not done here: merge it with peft."
            )
        if found := PART.fullmatch(plain):
            parts.setdefault(found[1], {})[found[2]] = tensor
        elif ".base_layer." not in plain:
            whole[re.sub(r"\.modules_to_save(\.default)?", "", plain)] = tensor
    return parts, whole


def _change(path: Path, name: str, found: Mapping[str, Tensor], fields: Fields) -> Change:
    a, b = found.get("lora_A"), found.get("lora_B")
    if a is None or b is None:
        raise fault(path, f"changes {shown(name)}, but the file lacks one of its two matrices.")
    good = len(a.shape) == len(b.shape) == 2 and a.shape[0] == b.shape[1] and a.decodable and b.decodable
    if not good or not 1 <= a.shape[0] <= MAX_RANK:
        raise fault(path, f"changes {shown(name)} with matrices that do not fit: {list(a.shape)} and {list(b.shape)}.")
    own = fields.mapping("alpha_pattern")
    said = next((own[key] for key in own if re.fullmatch(rf"(.*\.)?{re.escape(key)}", name)), None)
    alpha = float(said) if isinstance(said, int | float) else fields.number("lora_alpha", -1e6, 1e6, 8.0)
    rank = a.shape[0]
    scale = alpha / (math.sqrt(rank) if fields.boolean("use_rslora", False) else rank)
    return Change(a, b, scale, found.get("lora_magnitude_vector"))


def merged(base: Checkpoint, folder: str | Path) -> Checkpoint:
    """A model with an adapter added to its weights, computed in FP32 when they are read.

    Raises CheckpointError where the adapter changes what the model does not have, or has in another shape.
    """
    adapter = open_adapter(Path(folder))
    try:
        tensors = dict(base.tensors)
        for name, change in adapter.changes.items():
            found = _weight_of(adapter, base, name)
            tensors[found.name] = _added(adapter, name, found, change)
        for name, tensor in adapter.whole.items():
            found = _weight_of(adapter, base, name.removesuffix(".weight"), name.rpartition(".")[2])
            if found.shape != tensor.shape:
                raise _other_shape(adapter, name, found, list(tensor.shape))
            tensors[found.name] = replace(tensor, name=found.name)
    except BaseException:
        for file in adapter.files:
            file.close()
        raise
    return replace(base, tensors=tensors, files=(*base.files, *adapter.files))


def _weight_of(adapter: Adapter, base: Checkpoint, module: str, kind: str = "weight") -> Tensor:
    """The tensor of the base that a module's name means: peft leaves out what stands before it in some models."""
    name = f"{module.removesuffix('.bias')}.{kind}"
    found = base.tensors.get(name)
    ends = [tensor for other, tensor in base.tensors.items() if other.endswith(f".{name}")] if found is None else []
    if found is None and len(ends) == 1:
        found = ends[0]
    if found is None:
        raise fault(
            adapter.folder / CONFIG,
            f"changes {shown(module)}, which {shown(base.source.name)} does not have: it belongs to another model.",
        )
    return found


def _other_shape(adapter: Adapter, module: str, found: Tensor, shape: list[int]) -> Exception:
    return fault(
        adapter.folder / CONFIG,
        f"changes {shown(module)} as a matrix of shape {shape}, but the model has {list(found.shape)}: it belongs to "
        "another model.",
    )


def _added(adapter: Adapter, module: str, weight: Tensor, change: Change) -> Tensor:
    """weight + scale · B A, row by row; of turned matrices the transpose of that."""
    left, right = (change.a, change.b) if adapter.turned else (change.b, change.a)
    shape = (left.n, right.nrows) if adapter.turned else (left.nrows, right.n)
    if tuple(weight.shape) != shape or not weight.decodable:
        raise _other_shape(adapter, module, weight, list(shape))
    if change.magnitude is not None and (adapter.turned or change.magnitude.size != shape[0]):
        raise fault(adapter.folder / CONFIG, f"gives {shown(module)} lengths that are not one for each row.")

    def rows(start: int, stop: int) -> np.ndarray:
        if adapter.turned:
            delta = change.a.rows()[:, start:stop].T @ change.b.rows().T
        else:
            delta = change.b.rows(start, stop) @ change.a.rows()
        out = weight.rows(start, stop) + np.float32(change.scale) * delta
        if change.magnitude is None:
            return out
        length = np.linalg.norm(out, axis=1, keepdims=True)
        return out * (change.magnitude.rows().reshape(-1, 1)[start:stop] / np.maximum(length, 1e-30))

    return decoded_tensor(weight.name, weight.shape, weight, "with an adapter added", rows)


def scales(adapter: Adapter) -> Iterator[tuple[str, float]]:
    """By how much each B is multiplied, so that llama.cpp's alpha / rank gives the adapter's own scale."""
    for name, change in adapter.changes.items():
        usual = adapter.alpha / change.rank
        yield name, 1.0 if usual == change.scale else change.scale / usual if usual else 0.0
