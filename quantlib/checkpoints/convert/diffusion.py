"""Image and video models as ComfyUI-GGUF reads them: names of their own, and the shapes of what is folded."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np

from quantlib.architectures.diffusion import (
    ORIGINAL_SHAPE,
    SIXTEEN,
    family_of,
    other_layout_of,
    own_names,
)
from quantlib.checkpoints.base import Checkpoint, MetadataValue, Tensor, fault, shown
from quantlib.checkpoints.convert.lazy import row_bytes
from quantlib.checkpoints.convert.plain import UNSTORABLE
from quantlib.checkpoints.gguf_types import INTEGERS, QUANTIZATION_VERSION

PART = "_class_name"  # of a part of a pipeline, in its config.json
SHARD = re.compile(r"-\d{5}-of-(\d{5})\.")
CONFIG = "config"  # a string that some checkpoints carry, without which their loader cannot build the model


def converted(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint's diffusion model; general.file_type is a placeholder, 0. None where it holds none that is known.

    Raises CheckpointError for the Diffusers library's layout of a model that has another one.
    """
    names = own_names(checkpoint.tensors)
    family = family_of(names.values())
    if (model := other_layout_of(names.values()) or (_part(checkpoint) if family is None else None)) is not None:
        raise fault(
            checkpoint.source,
            f"holds {model} in the layout of the Diffusers library, whose matrices have other names and cuts than "
            "loaders of GGUF files expect: take the original checkpoint, often a single file, instead.",
        )
    if family is None:
        return None
    if (why := checkpoint.metadata.get("undecoded")) is not None:
        raise fault(checkpoint.source, f"cannot be converted: {why}; start from the original checkpoint.")
    if checkpoint.kind != "gguf" and (shard := SHARD.search(checkpoint.source.name)) is not None:
        raise fault(
            checkpoint.source, f"is one of {int(shard[1])} shards of a model: open the folder that they are in."
        )
    if len(set(names.values())) < len(names):
        raise fault(checkpoint.source, "holds the same diffusion model twice, under two prefixes.")
    ordered = sorted(checkpoint, key=lambda t: (t.file, t.offset or 0))  # the order of the file decides mixtures
    tensors, shapes = {}, {}
    for tensor in ordered:
        name = names.get(tensor.name)
        if name is None or family.drops(name):
            continue
        if tensor.format in INTEGERS or tensor.format in UNSTORABLE:
            _check_is_no_weight(checkpoint, tensor)
            continue
        given = checkpoint.metadata.get(ORIGINAL_SHAPE + tensor.name)
        blocks = tensor.format not in SIXTEEN and tensor.format != "FP32"  # their rows stay as they are
        shape = (tuple(tensor.shape) or (1,)) if blocks or given else family.folded(tensor.shape)
        if given is not None:
            shapes[ORIGINAL_SHAPE + name] = given
        elif tensor.shape and shape != tuple(tensor.shape):
            shapes[ORIGINAL_SHAPE + name] = MetadataValue("array[int32]", tuple(tensor.shape))
        tensors[name] = _reshaped(tensor, name, shape)
    metadata = {
        "general.architecture": MetadataValue("string", family.name),
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        "general.file_type": MetadataValue("uint32", 0),
        **shapes,
    }
    return replace(
        checkpoint,
        metadata=metadata | _config(checkpoint),
        architecture=family.name,
        tensors=tensors,
        warnings=checkpoint.warnings + _left_out([t.name for t in checkpoint if names.get(t.name) not in tensors]),
    )


def _check_is_no_weight(checkpoint: Checkpoint, tensor: Tensor) -> None:
    """Raise CheckpointError where a matrix is stored in integers: codes of a method that is not decoded here."""
    if len(tensor.shape) > 1 and tensor.name.endswith(".weight"):
        raise fault(
            checkpoint.source,
            f"holds {shown(tensor.name)} as integers ({tensor.format}): it is quantized by a method that is not "
            "decoded here. Start from the original checkpoint in 16 bits.",
        )


def _part(checkpoint: Checkpoint) -> str | None:
    """The class of a part of a pipeline of the Diffusers library; None for other checkpoints."""
    part = checkpoint.metadata.get(PART)
    if not isinstance(part, str):
        return None
    if part.startswith("Autoencoder"):
        raise fault(
            checkpoint.source,
            f"holds {shown(part)}, which turns the model's numbers into images: loaders read it from its safetensors "
            "file as it is, so there is nothing to quantize.",
        )
    return shown(part)


def _config(checkpoint: Checkpoint) -> dict[str, MetadataValue]:
    text = checkpoint.value(CONFIG)
    return {CONFIG: MetadataValue("string", text)} if isinstance(text, str) else {}


def _left_out(others: list[str]) -> tuple[str, ...]:
    """The note on tensors beside the diffusion model."""
    if not others:
        return ()
    return (
        f"{len(others)} tensors beside the diffusion model are left out, {shown(others[0])} the first: loaders take a "
        "text encoder and an image decoder from files of their own.",
    )


def _reshaped(tensor: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    """The same bytes as rows of another length."""
    if shape == tuple(tensor.shape):
        return replace(tensor, name=name)
    width, size = row_bytes(tensor), tensor.nbytes // max(1, tensor.size)
    new = size * shape[-1]

    def read(start: int, stop: int) -> np.ndarray:
        if stop <= start:
            return np.empty((0, new), np.uint8)
        low, high = start * new // width, -(-stop * new // width)
        found = tensor.read(low, high).reshape(-1)
        return found[start * new - low * width : stop * new - low * width].reshape(stop - start, new)

    return replace(tensor, name=name, shape=shape, nbytes=size * math.prod(shape), read=read)
