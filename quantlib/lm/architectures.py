"""The kinds of transformers that run, as they are declared, and the numbers of one model.

Names of tensors and metadata are GGUF's, for every source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quantlib.architectures import RUNNABLE, Computation, by_name
from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError

MOST = 2**24  # layers, heads and channels that a header may claim


@dataclass(frozen=True)
class Architecture(Computation):
    """A kind of transformer as it is declared, under the name that general.architecture says."""

    name: str = ""
    global_every: int | None = None

    @classmethod
    def named(cls, name: str) -> Architecture | None:
        """The kind of this name; None where none is known or its computation is not declared."""
        found = by_name(name)
        if found is None or found.runs is None:
            return None
        return cls(**vars(found.runs), name=name, global_every=found.global_every)

    def windowed(self, layer: int) -> bool:
        """Whether a window, if the model has one, holds in this layer."""
        return self.global_every is None or (layer + 1) % self.global_every != 0

    def rotates(self, layer: int) -> bool:
        """Whether queries and keys of this layer turn with their positions."""
        return self.rotation is not None and (self.unrotated is None or (layer + 1) % self.unrotated != 0)

    def needed(self, s: Shape) -> dict[str, tuple[int, ...]]:
        """The tensors without which a model of this kind cannot be run, with their shapes."""
        q, kv, hidden, ffn = s.heads * s.head_dim, s.kv_heads * s.head_dim, s.hidden, s.feed_forward
        parts = {"attn_output": (hidden, q), "ffn_down": (hidden, ffn)}
        parts["ffn_up"] = (2 * ffn if self.fused_gate else ffn, hidden)
        if self.gated and not self.fused_gate:
            parts["ffn_gate"] = (ffn, hidden)
        if self.fused_attention:
            parts["attn_qkv"] = (q + 2 * kv, hidden)
        else:
            parts |= {"attn_q": (q, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden)}
        norms = ["attn_norm", "ffn_norm"] * self.norm_before + [
            "post_attention_norm",
            "post_ffw_norm",
        ] * self.norm_after
        parts |= dict.fromkeys(norms, (hidden,))
        if self.head_norm is not None:
            whole = self.head_norm == "all"
            parts |= {"attn_q_norm": (q if whole else s.head_dim,), "attn_k_norm": (kv if whole else s.head_dim,)}
        found = {f"blk.{layer}.{part}.weight": size for layer in range(s.layers) for part, size in parts.items()}
        found |= {"token_embd.weight": (s.vocabulary, hidden), "output_norm.weight": (hidden,)}
        if self.rotation is None:
            found["position_embd.weight"] = (s.context, hidden)
        if self.norm == "layer":
            found |= {n.replace("weight", "bias"): size for n, size in found.items() if "norm" in n}
        return found


ARCHITECTURES = {name: Architecture.named(name) for name in RUNNABLE}


@dataclass(frozen=True)
class Shape:
    """The numbers that make one model differ from another of its kind. window, caps: None where it has none."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    context: int
    norm_epsilon: float
    rotary: Rotary
    scale: float  # what scores are multiplied with
    window: int | None = None
    attention_cap: float | None = None  # c · tanh(scores / c)
    final_cap: float | None = None


@dataclass(frozen=True)
class Rotary:
    """How queries and keys turn with their position: base^(-2i/dims), stretched in one of several ways.

    local_base: of layers with a window. scaling: "linear", "yarn" or "longrope"; factor: of how much more context.
    """

    dims: int  # channels of a head that turn
    base: float = 10000.0
    local_base: float | None = None
    scaling: str | None = None
    factor: float = 1.0
    original_context: int | None = None
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0


@dataclass(frozen=True)
class _Reader:
    """Numbers of a GGUF view's metadata, checked."""

    view: Checkpoint
    name: str

    def number(self, key: str, default: float | None = None) -> float:
        value = self.optional(key, default)
        if value is None:
            raise CheckpointError(
                f"{self.view.source} does not say its {self.name}.{key}, without which it cannot be run."
            )
        return value

    def optional(self, key: str, default: float | None = None) -> float | None:
        """A number above 0; 0 counts as not given."""
        value = self.view.value(f"{self.name}.{key}", default)
        if value is None or (value == 0 and not isinstance(value, str | np.ndarray)):
            return default
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise CheckpointError(
                f"{self.view.source} gives {self.name}.{key} as {str(value)[:40]}, where a number above 0 was expected."
            )
        return float(value)

    def count(self, key: str, default: int | None = None) -> int:
        value = self.number(key, default)
        if value > MOST or value != int(value):
            raise CheckpointError(f"{self.view.source} claims {value:,} for {self.name}.{key}, which cannot be.")
        return int(value)


def read_shape(view: Checkpoint, architecture: Architecture, window: int | None = None) -> Shape:
    """The numbers in a GGUF view's metadata. window: where the metadata has none.

    Raises CheckpointError where one is missing or cannot be.
    """
    read = _Reader(view, architecture.name)
    hidden, heads, layers = (read.count(k) for k in ("embedding_length", "attention.head_count", "block_count"))
    head_dim = read.count("attention.key_length", hidden // heads or None)
    kv_heads = read.count("attention.head_count_kv", heads)
    if heads % kv_heads:
        raise CheckpointError(f"{view.source} has {heads} heads, which {kv_heads} key-value heads cannot share evenly.")
    embedding, down = (view.tensors.get(name) for name in ("token_embd.weight", "blk.0.ffn_down.weight"))
    own_window = read.optional("attention.sliding_window", window)
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        feed_forward=down.shape[-1] if down is not None and down.shape else 0,
        vocabulary=embedding.shape[0] if embedding is not None and embedding.shape else 0,
        context=read.count("context_length"),
        norm_epsilon=read.number(f"attention.layer_norm_{'rms_' if architecture.norm == 'rms' else ''}epsilon"),
        rotary=_read_rotary(read, head_dim, architecture.local_base),
        scale=1 / math.sqrt(hidden // heads if layers in architecture.wide_scale else head_dim),
        window=None if own_window is None else int(own_window),
        attention_cap=read.optional("attn_logit_softcapping"),
        final_cap=read.optional("final_logit_softcapping"),
    )


def _read_rotary(read: _Reader, head_dim: int, local_base: float | None) -> Rotary:
    dims, kind = read.count("rope.dimension_count", head_dim), read.view.value(f"{read.name}.rope.scaling.type")
    if dims > head_dim or dims % 2:
        raise CheckpointError(f"{read.view.source} turns {dims} channels of heads that have {head_dim}.")
    original = read.optional("rope.scaling.original_context_length")
    return Rotary(
        dims=dims,
        base=read.number("rope.freq_base", 10000.0),
        local_base=read.optional("rope.freq_base_swa", local_base),
        scaling=str(kind) if kind in ("linear", "yarn", "longrope") else None,
        factor=read.number("rope.scaling.factor", 1.0),
        original_context=None if original is None else int(original),
        attention_factor=read.optional(
            "rope.scaling.yarn_attn_factor" if kind == "yarn" else "rope.scaling.attn_factor"
        ),
        beta_fast=read.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=read.number("rope.scaling.yarn_beta_slow", 1.0),
    )
