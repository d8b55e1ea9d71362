"""Checkpoints as GGUF stores them: gguf_view() gives any opened checkpoint GGUF's names, row order and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from quantlib.architectures.diffusion import UNNAMED
from quantlib.checkpoints.base import Checkpoint, MetadataValue

_VIEWS: WeakKeyDictionary[Checkpoint, Checkpoint] = WeakKeyDictionary()  # with their file type still a placeholder
FILE_TYPE = "general.file_type"


def gguf_view(checkpoint: Checkpoint, file_type: int | None = None) -> Checkpoint:
    """The checkpoint as a GGUF file would hold it, tensors still in their source's formats and read lazily.

    A GGUF checkpoint is its own view, unless it is an image model that does not say so. A Hugging Face folder of a
    known architecture gets GGUF's names and row order, and the metadata of llama.cpp's converter, key for key and in
    its order; general.file_type stands in the converter's place where it is given. A bare safetensors file keeps
    unknown names and the order of all rows, and carries a warning. The view is made once for each opened checkpoint: a
    large tokenizer takes most of a second to convert.
    Raises CheckpointError for other architectures and for what contradicts config.json.
    """
    if checkpoint.kind == "gguf" and checkpoint.architecture not in UNNAMED:
        return checkpoint
    view = _VIEWS.get(checkpoint)
    if view is None:
        from quantlib.checkpoints.convert import converted  # all architectures: loaded when there is one to convert

        view = _VIEWS[checkpoint] = converted(checkpoint)
    if view is checkpoint:
        return checkpoint
    return replace(view, metadata=_with_file_type(view.metadata, file_type))


def _with_file_type(metadata: Mapping[str, MetadataValue], file_type: int | None) -> dict[str, MetadataValue]:
    """The metadata with the file type in its place, or without any."""
    if file_type is None:
        return {key: value for key, value in metadata.items() if key != FILE_TYPE}
    given = MetadataValue("uint32", file_type)
    return {key: given if key == FILE_TYPE else value for key, value in metadata.items()}
