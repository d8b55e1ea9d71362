"""The matrices of a Hugging Face checkpoint that an export quantizes: what layers multiply their activations with."""

import re
from collections.abc import Mapping, Sequence
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
from quantlib.errors import CheckpointError, MethodError

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


def kept_of(linears: Mapping[str, Linear], ignore: Sequence[str]) -> Mapping[str, Linear]:
    """The matrices in whose module's name none of these regular expressions is found: those that are quantized.

    Raises MethodError for what is no expression, for one that fits nothing, and where nothing is left to quantize.
    """
    for pattern in ignore:
        try:
            if not any(re.search(pattern, linear.module) for linear in linears.values()):
                first = next(iter(linears.values())).module
                raise MethodError(f"No matrix fits {pattern!r}, which is to be ignored; they are named like {first}.")
        except re.error as error:
            raise MethodError(f"{pattern!r} is not a regular expression: {error}.") from None
    kept = {n: lin for n, lin in linears.items() if not any(re.search(p, lin.module) for p in ignore)}
    if not kept:
        raise MethodError("All matrices are to be ignored, so nothing would be quantized; leave some of them out.")
    return kept


TOGETHER = (("attn_q", "attn_k", "attn_v"), ("ffn_gate", "ffn_up"))  # that vLLM multiplies as one matrix


def parted(linears: Mapping[str, Linear], kept: Mapping[str, Linear]) -> str:
    """A sentence where matrices are ignored beside others that some loaders put together with them; else nothing."""
    by_name, quantized = {linear.gguf: linear for linear in linears.values()}, {linear.gguf for linear in kept.values()}
    for name in by_name:
        stem, kind = name.removesuffix(".weight").rsplit(".", 1)
        for group in (group for group in TOGETHER if kind == group[0]):
            there = [by_name[n] for n in (f"{stem}.{other}.weight" for other in group) if n in by_name]
            if 0 < sum(other.gguf in quantized for other in there) < len(there):
                listed = ", ".join(other.module.rpartition(".")[2] for other in there)
                return f"vLLM multiplies {listed} as one matrix: ignore all of them or none, or load it elsewhere."
    return ""


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
