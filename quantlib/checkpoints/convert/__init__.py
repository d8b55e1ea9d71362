"""Checkpoints as GGUF stores them: gguf_view() gives any opened checkpoint GGUF's names, row order and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakKeyDictionary

from quantlib.checkpoints.base import Checkpoint, MetadataValue, fault, shown
from quantlib.checkpoints.convert.config import read_llama_config
from quantlib.checkpoints.convert.general import general_metadata
from quantlib.checkpoints.convert.llama import gguf_name, hyperparameters, view_tensors
from quantlib.checkpoints.convert.tokenizer import tokenizer_metadata

QUANTIZATION_VERSION = 2  # of the block formats; GGML_QNT_VERSION


_VIEWS: WeakKeyDictionary[Checkpoint, Checkpoint] = WeakKeyDictionary()  # with their file type still a placeholder
FILE_TYPE = "general.file_type"


def gguf_view(checkpoint: Checkpoint, file_type: int | None = None) -> Checkpoint:
    """The checkpoint as a GGUF file would hold it, tensors still in their source's formats and read lazily.

    A GGUF checkpoint is its own view. A Llama or Mistral folder gets GGUF's names, permuted q and k rows, and the
    metadata of llama.cpp's converter, key for key and in its order; general.file_type stands in the converter's place
    where it is given. A bare safetensors file keeps unknown names and the order of all rows, and carries a warning.
    The view is made once for each opened checkpoint: a large tokenizer takes most of a second to convert.
    Raises CheckpointError for other architectures and for what contradicts config.json.
    """
    if checkpoint.kind == "gguf":
        return checkpoint
    view = _VIEWS.get(checkpoint)
    if view is None:
        view = _VIEWS[checkpoint] = _bare(checkpoint) if checkpoint.kind == "safetensors" else _converted(checkpoint)
    return replace(view, metadata=_with_file_type(view.metadata, file_type))


def _with_file_type(metadata: Mapping[str, MetadataValue], file_type: int | None) -> dict[str, MetadataValue]:
    """The metadata with the file type in its place, or without any."""
    if file_type is None:
        return {key: value for key, value in metadata.items() if key != FILE_TYPE}
    given = MetadataValue("uint32", file_type)
    return {key: given if key == FILE_TYPE else value for key, value in metadata.items()}


def _converted(checkpoint: Checkpoint) -> Checkpoint:
    folder = checkpoint.source if checkpoint.source.is_dir() else checkpoint.source.parent
    values = checkpoint.metadata["config"]
    config = read_llama_config(folder / "config.json", values)
    tensors = view_tensors(folder / "config.json", config, checkpoint.tensors)
    size = sum(tensor.size for tensor in tensors.values())
    hyper, rope_warnings = hyperparameters(config, file_type=0)
    tokens, token_warnings = tokenizer_metadata(folder, values, config.vocab)
    metadata = {
        "general.architecture": MetadataValue("string", "llama"),
        **general_metadata(folder, config.name_or_path, size),
        **hyper,
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        **tokens,
    }
    return replace(
        checkpoint,
        metadata=metadata,
        architecture="llama",
        tensors=tensors,
        warnings=checkpoint.warnings + rope_warnings + token_warnings,
    )


def _bare(checkpoint: Checkpoint) -> Checkpoint:
    tensors = {}
    for tensor in checkpoint:
        name = gguf_name(tensor.name) or tensor.name
        if name in tensors:
            raise fault(checkpoint.source, f"holds two tensors that GGUF calls {shown(name)}.")
        tensors[name] = replace(tensor, name=name)
    warning = (
        "There is no config.json beside the file, so the GGUF file will lack what llama.cpp needs to load it: put "
        "config.json and tokenizer.json there, or take it as a container of tensors."
    )
    return replace(
        checkpoint, metadata={}, architecture=None, tensors=tensors, warnings=(*checkpoint.warnings, warning)
    )
