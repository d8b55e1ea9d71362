"""A model as its config.json describes it: every tensor by GGUF's name and shape, the metadata, and no weights.

Names, shapes and keys follow from the architecture's declaration, as those of a conversion do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.architectures import KNOWN, Architecture, Config, by_config
from quantlib.checkpoints import Checkpoint, MetadataValue, Tensor
from quantlib.checkpoints.base import fault
from quantlib.checkpoints.convert import architecture_of
from quantlib.checkpoints.convert.config import read_config, text_values
from quantlib.checkpoints.convert.hyperparameters import metadata_of
from quantlib.errors import CheckpointError
from quantlib.recipes import quantizable

PUBLISHED_AS = "BF16"
CONFIG = Path("config.json")  # what messages call it
MOST_TENSORS = 3000  # the largest known model has 1,700; every recipe plans each of them


def described(values: Mapping[str, object], name: str) -> Checkpoint:
    """The checkpoint that a parsed config.json describes; it can be planned and sized, and says so when it is read.

    Its metadata lack the vocabulary, some megabytes of a real file. Raises CheckpointError for an architecture that is
    not known and for what contradicts itself.
    """
    values = dict(values)
    architecture = _architecture(values)
    config = read_config(CONFIG, values, architecture)
    text, gguf = text_values(CONFIG, values, architecture), architecture.name_of(config)
    metadata = {
        "general.architecture": MetadataValue("string", gguf),
        **metadata_of(architecture.early, architecture, config),
        **metadata_of(architecture.keys, architecture, config),
    }
    metadata.setdefault(f"{gguf}.vocab_size", MetadataValue("uint32", config.vocab))
    tensors: dict[str, Tensor] = {}
    for tensor, shape, packed in _tensors(architecture, config, text):
        if len(tensors) > MOST_TENSORS or not all(type(n) is int and n > 0 for n in shape):
            raise fault(CONFIG, "describes tensors that cannot be: a size is missing, or there are too many of them.")
        tensors[tensor] = hollow(tensor, shape, name, packed)
    return Checkpoint(Path(name), "gguf", metadata, gguf, tensors)


def _architecture(values: dict[str, object]) -> Architecture:
    """By model_type, else by the first of the architectures: Kimi K2 has a type of its own and DeepSeek V3's class."""
    classes = values.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else None
    model_type = values.get("model_type")
    found = by_config(model_type, name) or by_config(model_type) if isinstance(model_type, str) else None
    named = next((each for each in KNOWN if name in each.classes), None) if name else None
    return found or named or architecture_of(CONFIG, values)


def _tensors(
    architecture: Architecture, config: Config, text: Mapping[str, object]
) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Name, shape and whether it comes in blocks of MXFP4."""
    quantized = text.get("quantization_config")
    packed = isinstance(quantized, dict) and quantized.get("quant_method") == "mxfp4"
    for name, values in (architecture.extra(config) if architecture.extra else {}).items():
        yield name, tuple(values.shape), False
    for weight in architecture.weights:
        for layer, _ in weight.numbered(config):
            if not weight.is_there(config, layer):
                continue
            name, shape = weight.gguf.format(layer), architecture.shape_of(weight, config, layer)
            in_blocks = packed and any(source.packed for source in weight.others)
            yield name if weight.exact else f"{name}.weight", shape, in_blocks
            if weight.has_bias(config):
                yield f"{name}.bias", shape[:1], False


def hollow(name: str, shape: tuple[int, ...], model: str, packed: bool = False) -> Tensor:
    """A tensor that is known by its shape alone. packed: in blocks of MXFP4."""
    # What recipes leave alone is kept in FP32 by the converter.
    format = formats.get("MXFP4" if packed else PUBLISHED_AS if quantizable(name, shape) else "FP32")

    def read(start: int, stop: int) -> np.ndarray:
        raise CheckpointError(f"Only the shape of {model} is known here, not its weights: open its files to read them.")

    return Tensor(name, shape, format.name, prod(shape[:-1]) * format.row_bytes(shape[-1]), read)


@lru_cache(maxsize=16)
def original_of(view: Checkpoint) -> Checkpoint:
    """What a quantized file was made from, by its shape alone."""
    tensors = {t.name: hollow(t.name, t.shape, "the original") for t in view}
    return replace(view, tensors=tensors, files=())
