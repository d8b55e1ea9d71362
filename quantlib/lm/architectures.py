"""Architectures as values: what makes one kind of transformer differ from another, and the numbers of one model.

Names of tensors and metadata are GGUF's, for every source.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError

MOST = 2**24  # layers, heads and channels that a header may claim


@dataclass(frozen=True)
class Architecture:
    """A kind of transformer. Biases, and an output matrix of its own, are used wherever the checkpoint has them.

    norm: "rms" divides by the root of the mean square, "layer" subtracts the mean first and adds a bias.
    norm_before, norm_after: whether attention and feed-forward read normalized values, and return them normalized.
    head_norm: queries and keys are normalized head by head ("head") or all heads at once ("all").
    rotation: which channels turn together, neighbours (2i, 2i + 1) or the two halves (i, i + d/2); None: positions
    are learned vectors, added to the embedding.
    """

    name: str  # as general.architecture says it
    norm: str = "rms"
    norm_before: bool = True
    norm_after: bool = False
    head_norm: str | None = None
    rotation: str | None = "halves"
    activation: str = "silu"
    gated: bool = True
    fused_attention: bool = False  # one matrix for queries, keys and values
    fused_gate: bool = False  # one matrix for gate and up

    def needed(self, layers: int) -> Iterator[str]:
        """The tensors without which a model of this kind cannot be run."""
        parts = ["attn_qkv"] if self.fused_attention else ["attn_q", "attn_k", "attn_v"]
        parts += ["attn_output", "ffn_up", "ffn_down"]
        parts += ["ffn_gate"] * (self.gated and not self.fused_gate)
        parts += ["attn_norm", "ffn_norm"] * self.norm_before + [
            "post_attention_norm",
            "post_ffw_norm",
        ] * self.norm_after
        parts += ["attn_q_norm", "attn_k_norm"] * (self.head_norm is not None)
        yield from ("token_embd.weight", "output_norm.weight")
        yield from ["position_embd.weight"] * (self.rotation is None)
        for layer in range(layers):
            yield from (f"blk.{layer}.{part}.weight" for part in parts)


ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture("llama", rotation="neighbours"),  # Mistral and SmolLM are of this kind too
    )
}


@dataclass(frozen=True)
class Shape:
    """The numbers that make one model differ from another of its kind."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rope_base: float
    rotated: int  # channels of a head that turn with the position

    @property
    def scale(self) -> float:
        """What scores are multiplied with: 1 / sqrt(head_dim)."""
        return 1 / math.sqrt(self.head_dim)


def read_shape(view: Checkpoint, architecture: Architecture) -> Shape:
    """The numbers in a GGUF view's metadata. Raises CheckpointError where one is missing or cannot be."""

    def read(key: str, default: float | None = None) -> float:
        key = f"{architecture.name}.{key}"
        value = view.value(key, default)
        if value is None:
            raise CheckpointError(f"{view.source} does not say its {key}, without which it cannot be run.")
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
            raise CheckpointError(f"{view.source} gives {key} as {str(value)[:40]}, and a number above 0 was expected.")
        return float(value)

    def count(key: str, default: float | None = None) -> int:
        value = read(key, default)
        if value > MOST or value != int(value):
            raise CheckpointError(f"{view.source} claims {value:,} for {architecture.name}.{key}, which cannot be.")
        return int(value)

    hidden, heads = count("embedding_length"), count("attention.head_count")
    head_dim = count("attention.key_length", hidden // heads or None)
    embedding = view.tensors.get("token_embd.weight")
    return Shape(
        layers=count("block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=count("attention.head_count_kv", heads),
        head_dim=head_dim,
        vocabulary=embedding.shape[0] if embedding is not None else 0,
        context=count("context_length"),
        norm_epsilon=read(f"attention.layer_norm_{'rms_' if architecture.norm == 'rms' else ''}epsilon"),
        rope_base=read("rope.freq_base", 10000.0),
        rotated=count("rope.dimension_count", head_dim),
    )
