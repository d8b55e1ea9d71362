"""Image and video models as ComfyUI-GGUF reads them: names of their own, and the shapes of what is folded."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from quantlib.architectures.diffusion import (
    ORIGINAL_SHAPE,
    family_of,
    own_names,
    split_layout_of,
)
from quantlib.checkpoints.base import Checkpoint, MetadataValue, Tensor, fault, shown
from quantlib.checkpoints.convert.lazy import row_bytes
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION

CONFIG = "config"  # a string that some checkpoints carry, without which their loader cannot build the model


def converted(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint's diffusion model; general.file_type is a placeholder, 0. None where it holds none that is known.

    Raises CheckpointError for the Diffusers library's layout of a model that has another one.
    """
    names = own_names(checkpoint.tensors)
    family = family_of(names.values())
    if (model := split_layout_of(names.values())) is not None:
        raise fault(
            checkpoint.source,
            f"holds {model} in the layout of the Diffusers library, whose matrices are cut differently from those that "
            "loaders of GGUF files expect: take the original checkpoint in one file instead.",
        )
    if family is None:
        return None
    if len(set(names.values())) < len(names):
        raise fault(checkpoint.source, "holds the same diffusion model twice, under two prefixes.")
    ordered = sorted(checkpoint, key=lambda t: (t.file, t.offset or 0))  # the order of the file decides mixtures
    tensors, shapes = {}, {}
    for tensor in ordered:
        name = names.get(tensor.name)
        if name is None or family.drops(name):
            continue
        shape = family.folded(tensor.shape)
        if tensor.shape and shape != tuple(tensor.shape):
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


def _config(checkpoint: Checkpoint) -> dict[str, MetadataValue]:
    text = checkpoint.metadata.get(CONFIG)
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
