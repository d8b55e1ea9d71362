"""The half of a model that sees pictures, as llama.cpp keeps it in a file of its own (mmproj)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantlib.architectures import Architecture
from quantlib.checkpoints.base import Checkpoint, MetadataValue, fault, shown
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.general import count_weights, general_metadata
from quantlib.checkpoints.convert.hyperparameters import metadata_of
from quantlib.checkpoints.convert.tensors import view_tensors
from quantlib.checkpoints.convert.vocabulary import added_tokens
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION
from quantlib.checkpoints.untrusted import Fields, read_json_if_there

# What says how pictures are prepared, the later file first, and where within it that may stand.
PREPARED = (("preprocessor_config.json", "media_proc_cfg"), ("processor_config.json", "image_processor"))


def half_of(checkpoint: Checkpoint, folder: Path, architecture: Architecture, called: str | None) -> Checkpoint:
    """The half that sees, as a GGUF file would hold it. Raises CheckpointError for a model that has none."""
    path, half = folder / "config.json", architecture.sees
    values = checkpoint.metadata["config"]
    if half is None or not Fields(path, values).mapping("vision_config"):
        raise fault(path, f"describes no half that sees pictures and is converted here: {architecture.title}.")
    described = _values(folder, path, values, half)
    config = read_config(path, described, half)
    tensors = view_tensors(path, half, config, checkpoint.tensors)
    metadata = {
        "general.architecture": MetadataValue("string", half.name),
        **general_metadata(folder, config.name_or_path, count_weights(tensors.values()), called, "mmproj"),
        **metadata_of(half.keys, half, config, file_type=0),
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
    }
    warnings = tuple(warning for check in half.checks if (warning := check(config)))
    return replace(
        checkpoint,
        metadata=metadata,
        architecture=half.name,
        tensors=tensors,
        warnings=checkpoint.warnings + warnings,
    )


def _values(folder: Path, path: Path, values: dict[str, object], half: Architecture) -> dict[str, object]:
    """What all files say of it in one object, see `quantlib.architectures.vision`."""
    fields = Fields(path, values)
    text = values | fields.mapping("text_config")
    prepared = _prepared(folder)
    for key in ("image_mean", "image_std"):
        if prepared.get(key) is None:
            raise fault(
                path,
                f"describes a model that sees pictures, but {shown(PREPARED[0][0])} beside it does not say "
                f"{shown(key)}: copy that file from the model's page.",
            )
    whole = {f"model.{key}": value for key, value in values.items() if not isinstance(value, dict)}
    audio = fields.mapping("audio_config").get("hidden_size")
    return {
        **{f"preprocessor.{key}": value for key, value in prepared.items()},
        **{f"text.{key}": value for key, value in text.items()},
        **whole,
        "model.audio_config.hidden_size": audio,
        **{f"token.{token}": number for token, number in _numbers(folder, half).items()},
        **fields.mapping("vision_config"),
    }


def _prepared(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, within in PREPARED:
        said = read_json_if_there(folder / name) or {}
        found |= said | Fields(folder / name, said).mapping(within)
    return found


def _numbers(folder: Path, half: Architecture) -> dict[str, int]:
    """The numbers of the tokens that the half asks for, as the tokenizer's files say them."""
    if not half.tokens:
        return {}
    path = folder / "tokenizer_config.json"
    decoder = Fields(path, read_json_if_there(path) or {}).mapping("added_tokens_decoder")
    found = {
        token["content"]: int(number)
        for number, token in decoder.items()
        if number.isdecimal() and len(number) < 10 and isinstance(token, dict) and isinstance(token.get("content"), str)
    }
    if not set(half.tokens) <= set(found):
        path = folder / "tokenizer.json"
        found = {token.content: token.id for token in added_tokens(path, read_json_if_there(path) or {})} | found
    return {token: found[token] for token in half.tokens if token in found}
