"""The matrices of a Hugging Face checkpoint that an export quantizes: what layers multiply their activations with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.architectures import Architecture, Config
from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.checkpoints.convert import architecture_of
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.tensors import gguf_name
from quantlib.checkpoints.image_models import check_reads_text
from quantlib.errors import CheckpointError

# What stands behind "blk.N." in GGUF's name of a matrix that is quantized.
KINDS = ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
FLOATS = ("FP32", "FP16", "BF16")


@dataclass(frozen=True, eq=False)
class Linear:
    """A matrix (outputs, inputs) of a layer. module: its Hugging Face name without ".weight"; gguf: GGUF's name."""

    module: str
    gguf: str
    tensor: Tensor

    def weight(self) -> np.ndarray:
        """float32 (outputs, inputs)."""
        return self.tensor.rows()

    @property
    def dtype(self) -> np.dtype:
        """The numpy type of the stored numbers."""
        return stored_dtype(self.tensor)


def stored_dtype(tensor: Tensor) -> np.dtype:
    """The numpy type of a tensor of floats, ml_dtypes' for BF16."""
    return formats.get(tensor.format).dtype


def stored(tensor: Tensor) -> np.ndarray:
    """A tensor of floats as it is stored, in its own shape and type."""
    return tensor.raw().reshape(-1).view(stored_dtype(tensor)).reshape(tensor.shape)


def declared(checkpoint: Checkpoint) -> tuple[Architecture, Config]:
    """What config.json of a Hugging Face folder says."""
    source = Path(checkpoint.source)
    path, values = (source if source.is_dir() else source.parent) / "config.json", checkpoint.metadata["config"]
    architecture = architecture_of(path, values)
    return architecture, read_config(path, values, architecture, checkpoint.tensors)


def linears_of(checkpoint: Checkpoint) -> Mapping[str, Linear]:
    """The matrices that an export quantizes, by their tensor's name.

    Raises CheckpointError for a source that is no Hugging Face folder of floats, for mixtures of experts and for
    models that store their matrices the other way round, which loaders of quantized files do not take.
    """
    check_reads_text(checkpoint)
    if checkpoint.kind != "huggingface":
        raise CheckpointError(
            f"{checkpoint.source} is no Hugging Face folder; exports need one, with config.json and tokenizer files."
        )
    architecture, _ = declared(checkpoint)
    if architecture.has_experts:
        raise CheckpointError(
            f"{checkpoint.source} is a mixture of experts ({architecture.title}), which is not exported; quantize it "
            "to a GGUF file instead."
        )
    if any(weight.change.moves_columns for weight in architecture.weights):
        raise CheckpointError(
            f"{checkpoint.source} is a {architecture.title} model, which stores its matrices the other way round; "
            "loaders of exported files do not take that, so quantize it to a GGUF file instead."
        )
    found = {}
    for name, tensor in checkpoint.tensors.items():
        gguf = gguf_name(architecture, name) or ""
        if tensor.format not in FLOATS:
            raise CheckpointError(f"{name} is stored as {tensor.format}; an export starts from 16- or 32-bit floats.")
        if gguf.endswith(".weight") and gguf.startswith("blk.") and gguf.split(".")[2] in KINDS:
            found[name] = Linear(name.removesuffix(".weight"), gguf, tensor)
    if not found:
        raise CheckpointError(f"{checkpoint.source} has no matrix of a layer that an export quantizes.")
    return found
