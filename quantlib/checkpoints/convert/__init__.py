"""Conversion: any opened checkpoint with GGUF's names, row order and metadata. Other modules ask for a gguf_view()."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantlib.architectures import PLAIN, Architecture, by_config
from quantlib.checkpoints.base import Checkpoint, MetadataValue, fault, shown
from quantlib.checkpoints.convert import diffusion, text_encoder, vision
from quantlib.checkpoints.convert.config import read_config, text_values
from quantlib.checkpoints.convert.general import count_weights, general_metadata
from quantlib.checkpoints.convert.hyperparameters import metadata_of
from quantlib.checkpoints.convert.plain import storable
from quantlib.checkpoints.convert.tensors import gguf_name, view_tensors
from quantlib.checkpoints.convert.tokenizer import tokenizer_metadata
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION
from quantlib.checkpoints.halves import PART, VISION
from quantlib.checkpoints.hub import Address
from quantlib.checkpoints.untrusted import Fields

TIED = "tie_word_embeddings"
SEEING = (
    "This is the half that reads and writes. What sees pictures becomes a file of its own, which llama.cpp takes with "
    "--mmproj: `quantlib quantize FOLDER mmproj.gguf --mmproj`."
)


def converted(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint as a GGUF file would hold it; general.file_type is a placeholder, 0.

    A GGUF file is its own, unless it holds an image model and does not say so.
    Raises CheckpointError for other architectures and for what contradicts config.json.
    """
    image_model = diffusion.converted(checkpoint)
    if image_model is not None or checkpoint.kind == "gguf":
        return image_model or checkpoint
    if checkpoint.kind == "huggingface":
        return _of_folder(checkpoint)
    if (why := checkpoint.metadata.get("undecoded")) is not None:
        raise fault(checkpoint.source, f"cannot be converted: {why}; start from the original checkpoint.")
    return text_encoder.converted(checkpoint) or _bare(checkpoint)


def _of_folder(checkpoint: Checkpoint) -> Checkpoint:
    folder = checkpoint.source if checkpoint.source.is_dir() else checkpoint.source.parent
    path, values = folder / "config.json", checkpoint.metadata["config"]
    architecture = architecture_of(path, values)
    if (why := checkpoint.metadata.get("undecoded")) is not None and not architecture.packs:
        raise fault(path, f"describes a model that cannot be converted: {why}; start from the original checkpoint.")
    if checkpoint.metadata.get(PART) == VISION:
        return vision.half_of(checkpoint, folder, architecture, _called(checkpoint))
    config = read_config(path, values, architecture, checkpoint.tensors)
    tensors = view_tensors(path, architecture, config, checkpoint.tensors)
    text, name = text_values(path, values, architecture), architecture.name_of(config)
    tokens, token_warnings = tokenizer_metadata(folder, text, config, architecture)
    metadata = {
        "general.architecture": MetadataValue("string", name),
        **metadata_of(architecture.early, architecture, config),
        **general_metadata(folder, config.name_or_path, count_weights(tensors.values()), _called(checkpoint)),
        **metadata_of(architecture.keys, architecture, config, file_type=0),
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        **tokens,
    }
    if "tokenizer.ggml.tokens" not in tokens:
        metadata.setdefault(f"{name}.vocab_size", MetadataValue("uint32", config.vocab))
    warnings = tuple(warning for check in architecture.checks if (warning := check(config)))
    if _sees(architecture, checkpoint):
        warnings += (SEEING,)
    warnings += output_notes(architecture, text.get(TIED), "output.weight" in tensors)
    return replace(
        checkpoint,
        metadata=metadata,
        architecture=name,
        tensors=tensors,
        warnings=(() if architecture.packs else checkpoint.warnings) + warnings + token_warnings,
    )


def _sees(architecture: Architecture, checkpoint: Checkpoint) -> bool:
    """Whether there are tensors of a half that sees pictures, and not only what it shares with the other."""
    half = architecture.sees
    return half is not None and any(n.startswith(half.only) and "embed_tokens" not in n for n in checkpoint.tensors)


def output_notes(architecture: Architecture, tied: object, stored: bool) -> tuple[str, ...]:
    """A note where an output matrix of the model's own is stored or missing otherwise than config.json says."""
    own = "an output matrix of its own"
    tied = True if tied is None and architecture.defaults.get("tied") else tied
    if not any(weight.gguf == "output" for weight in architecture.weights) or bool(tied) != stored:
        return ()
    if stored:
        return (
            f"config.json says that the output matrix is the token embedding, but the checkpoint stores {own}: it is "
            "kept, and llama.cpp uses it, where transformers would take the embedding.",
        )
    said = "does not say that the model has none" if tied is None else f"says that the model has {own}"
    return (f"The checkpoint stores no output matrix and config.json {said}: the token embedding takes its place.",)


def _called(checkpoint: Checkpoint) -> str | None:
    """The name of a model of the hub, whose folder in the cache is named after its commit."""
    return Address.parse(checkpoint.origin).repository.rpartition("/")[2] if checkpoint.origin else None


def architecture_of(path: Path, values: dict[str, object]) -> Architecture:
    """The architecture that a config.json describes; CheckpointError, which says the way on, for others."""
    fields = Fields(path, values)
    model_type = fields.string("model_type", limit=256)
    classes = fields.array("architectures")
    name = classes[0] if classes and isinstance(classes[0], str) else None
    found = by_config(model_type, name)
    if found is None:
        raise fault(
            path,
            f"describes the architecture {shown(name or model_type)}, which is none of those that are converted here "
            "(`quantlib architectures` lists them); its tensors can be looked at and measured, and for more convert "
            "it to GGUF first, with llama.cpp's `convert_hf_to_gguf.py FOLDER`.",
        )
    return found


def _bare(checkpoint: Checkpoint) -> Checkpoint:
    tensors = {}
    kept, notes = storable(checkpoint)
    for tensor in kept:
        name = gguf_name(PLAIN, tensor.name) or tensor.name
        if name in tensors:
            raise fault(checkpoint.source, f"holds two tensors that GGUF calls {shown(name)}.")
        tensors[name] = replace(tensor, name=name)
    warning = text_encoder.note_of(checkpoint) or (
        "There is no config.json beside the file, so the GGUF file will lack what llama.cpp needs to load it: put "
        "config.json and tokenizer.json there, or take it as a container of tensors."
    )
    return replace(
        checkpoint, metadata={}, architecture=None, tensors=tensors, warnings=(*checkpoint.warnings, warning, *notes)
    )
