"""T5's encoder in a single file, as it comes beside image models: no config.json, but its tensors tell all of it.

The result is what ComfyUI-GGUF reads, which is also what llama.cpp's converter makes of the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from quantlib.architectures import by_config
from quantlib.architectures.families.t5 import EMBEDDINGS, SECOND_TABLE, encoder_config
from quantlib.checkpoints.base import Checkpoint, MetadataValue, Tensor
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.hyperparameters import metadata_of
from quantlib.checkpoints.convert.tensors import view_tensors
from quantlib.checkpoints.convert.unigram import of_sentencepiece
from quantlib.checkpoints.gguf_types import QUANTIZATION_VERSION

SENTENCEPIECE = "spiece_model"  # a tensor that holds the bytes of the tokenizer's file
MOST = 2**24  # bytes of it
# Ends of names that tell what else stands beside an image model, and is used from safetensors.
BESIDE = {
    "text_model.encoder.layers.0.self_attn.q_proj.weight": "a CLIP text encoder",
    "transformer.resblocks.0.attn.in_proj_weight": "a CLIP text encoder",
    "decoder.conv_in.weight": "an image decoder (VAE)",
    "decoder.conv1.weight": "a video decoder (VAE)",
    "decoder.conv_in.conv.weight": "a video decoder (VAE)",
}
# Ids of T5's special tokens, which are the same in all its models.
SPECIAL = {"eos": 1, "unknown": 2, "padding": 0}


def converted(checkpoint: Checkpoint) -> Checkpoint | None:
    """The T5 or UMT5 encoder that a bare file holds, as GGUF has it; None where it holds another model.

    Raises CheckpointError where its tensors contradict each other.
    """
    names = {name.removeprefix("text_encoders."): tensor for name, tensor in checkpoint.tensors.items()}
    described = encoder_config({name: tuple(tensor.shape) for name, tensor in names.items()})
    if described is None:
        return None
    path = checkpoint.source
    architecture = by_config(described["model_type"], described["architectures"][0])
    config = read_config(path, described, architecture)
    own = {n: replace(t, name=n) for n, t in names.items() if n.startswith("encoder.") or n in EMBEDDINGS}
    tokens, notes = _tokens(path, names, config.vocab)
    metadata = {
        "general.architecture": MetadataValue("string", architecture.name),
        "general.type": MetadataValue("string", "model"),
        **metadata_of(architecture.keys, architecture, config, file_type=0),
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        **tokens,
    }
    tensors = view_tensors(path, architecture, config, own)
    return replace(
        checkpoint,
        metadata=metadata,
        architecture=architecture.name,
        tensors=tensors,
        warnings=(*checkpoint.warnings, *notes),
    )


def note_of(checkpoint: Checkpoint) -> str | None:
    """What to know of a file that stands beside an image model and that no loader reads from GGUF; None for others."""
    for end, what in BESIDE.items():
        if any(name.endswith(end) for name in checkpoint.tensors):
            return (
                f"This is {what}, which ComfyUI reads from safetensors only: use the file as it is. The GGUF file will "
                "be a container of tensors that no loader takes."
            )
    return None


def _tokens(path: Path, tensors: Mapping[str, Tensor], size: int) -> tuple[dict[str, MetadataValue], tuple[str, ...]]:
    """The tokenizer's keys, where the file brings the tokenizer; else a note where the loader needs it."""
    model = tensors.get(SENTENCEPIECE)
    if model is None or model.nbytes > MOST:
        note = (
            "The file brings no tokenizer (a tensor spiece_model), and ComfyUI-GGUF needs UMT5's: take the file that "
            "ComfyUI offers, or the folder with spiece.model."
        )
        return {"tokenizer.ggml.model": MetadataValue("string", "none")}, (note,) if SECOND_TABLE in tensors else ()
    found = of_sentencepiece(path, model.raw().tobytes(), size, {})
    ids = {f"tokenizer.ggml.{name}_token_id": MetadataValue("uint32", number) for name, number in SPECIAL.items()}
    return found.metadata(None) | ids | {"tokenizer.ggml.add_eos_token": MetadataValue("bool", True)}, ()
