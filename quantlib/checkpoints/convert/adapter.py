"""A LoRA adapter as llama.cpp loads it: lora_a and lora_b of each changed tensor, named and ordered as GGUF's are.

Source: convert_lora_to_gguf.py of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from quantlib.architectures import Architecture, Config
from quantlib.architectures.declaration import Weight
from quantlib.checkpoints.adapters import CONFIG, Adapter, open_adapter, scales
from quantlib.checkpoints.base import Checkpoint, MetadataValue, Tensor, fault, shown
from quantlib.checkpoints.convert import architecture_of, lazy
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.general import general_metadata
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION
from quantlib.checkpoints.prequantized.packing import decoded_tensor
from quantlib.checkpoints.untrusted import read_json


def adapter_view(folder: str | Path, base: str | Path) -> Checkpoint:
    """An adapter's folder as its GGUF file; base: the folder of the model, of which only config.json is read.

    Raises CheckpointError for what llama.cpp cannot load as an adapter: merge that into the model.
    """
    adapter = open_adapter(Path(folder))
    try:
        path = Path(base) / "config.json"
        values = read_json(path)
        architecture = architecture_of(path, values)
        config = read_config(path, values, architecture)
        _check(adapter)
        tensors = {tensor.name: tensor for tensor in _tensors(adapter, architecture, config)}
    except BaseException:
        for file in adapter.files:
            file.close()
        raise
    changed = sum(change.b.nrows * change.a.n for change in adapter.changes.values())
    general = general_metadata(adapter.folder, None, (-changed, 0, 0, 0), kind="adapter")
    metadata = {
        "general.architecture": MetadataValue("string", architecture.name_of(config)),
        "general.type": general.pop("general.type"),
        "adapter.type": MetadataValue("string", "lora"),
        **general,
        "adapter.lora.alpha": MetadataValue("float32", adapter.alpha),
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
    }
    return Checkpoint(adapter.folder, "gguf", metadata, architecture.name, tensors, (), adapter.files)


def _check(adapter: Adapter) -> None:
    wrong = next(iter(adapter.whole), None)
    if wrong is not None:
        raise fault(
            adapter.folder / CONFIG,
            f"replaces {shown(wrong)} as a whole, which no GGUF adapter can: merge it into the model (--adapter).",
        )
    lengthened = next((name for name, change in adapter.changes.items() if change.magnitude is not None), None)
    if lengthened is not None:
        raise fault(
            adapter.folder / CONFIG,
            f"also changes the lengths of {shown(lengthened)} (DoRA), which no GGUF adapter can: merge it into the "
            "model (--adapter).",
        )


def _tensors(adapter: Adapter, architecture: Architecture, config: Config) -> Iterator[Tensor]:
    """Both matrices of each changed tensor, in the order of the file's names."""
    factors = dict(scales(adapter))
    modules = {_plain(name, architecture): name for name in adapter.changes}
    found: list[tuple[str, Tensor, Tensor]] = []
    used: set[str] = set()
    for weight in architecture.weights:
        for layer, theirs in weight.numbered(config):
            hf = weight.hf.format(theirs) if weight.hf.count("{}") < 2 else ""
            name = modules.get(hf)
            if name is None or weight.stacked or weight.exact:
                continue
            shape = architecture.shape_of(weight, config, layer)
            gguf = f"{weight.gguf.format(layer)}.weight"
            used.add(name)
            found.append((name, *_pair(adapter, name, weight, gguf, shape, config, factors[name])))
    lost = next((name for name in adapter.changes if name not in used), None)
    if lost is not None:
        raise fault(
            adapter.folder / CONFIG,
            f"changes {shown(lost)}, which a GGUF adapter of {architecture.title} cannot: merge it into the model "
            "(--adapter).",
        )
    for _, a, b in sorted(found, key=lambda item: item[0]):
        yield a
        yield b


def _plain(name: str, architecture: Architecture) -> str:
    """A module's name as weights are declared."""
    return name.removeprefix(next(p for p in (*architecture.prefixes, "") if name.startswith(p)))


def _pair(
    adapter: Adapter, name: str, weight: Weight, gguf: str, shape: tuple[int, ...], config: Config, factor: float
) -> tuple[Tensor, Tensor]:
    change, moved = adapter.changes[name], weight.change
    source = moved.source_shape(shape, config)
    stored = (change.b.nrows, change.a.n)
    if len(shape) != 2 or moved.moves_columns or moved.values is not None or adapter.turned:
        raise fault(
            adapter.folder / CONFIG,
            f"changes {shown(name)}, whose numbers or columns are not GGUF's: merge it into the model (--adapter).",
        )
    if stored != source:
        raise fault(
            adapter.folder / CONFIG,
            f"changes {shown(name)} as a matrix of shape {list(stored)}, but config.json makes it {list(source)}: it "
            "belongs to another model.",
        )
    b = lazy.changed(change.b, f"{gguf}.lora_b", (shape[0], change.rank), moved, config)
    if factor != 1.0:
        plain = b
        b = decoded_tensor(b.name, b.shape, b, "scaled", lambda start, stop: plain.rows(start, stop) * factor)
    return replace(change.a, name=f"{gguf}.lora_a"), b
