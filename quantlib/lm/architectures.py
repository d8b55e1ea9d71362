"""The kinds of transformers that run, as they are declared, and the numbers of one model.

Names of tensors and metadata are GGUF's, for every source.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from quantlib.architectures import RUNNABLE, Computation, by_name
from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError
from quantlib.lm.shape import DeltaShape, Experts, Latent, Rotary, Shape

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
        """Whether a window, if the model has one and does not say itself where, holds in this layer."""
        return self.global_every is None or (layer + 1) % self.global_every != 0

    def local(self, s: Shape, layer: int) -> bool:
        """Whether a layer sees a window only."""
        if s.window is None:
            return False
        return s.windows[layer] if s.windows is not None else self.windowed(layer)

    def rotates(self, layer: int, local: bool) -> bool:
        """Whether queries and keys of this layer turn with their positions; local: it has a window."""
        if self.windows_rotate and not local:
            return False
        return self.rotation is not None and (self.unrotated is None or (layer + 1) % self.unrotated != 0)

    def needed(self, s: Shape, there: Container[str]) -> dict[str, tuple[int, ...]]:
        """The tensors without which a model of this kind cannot be run, with their shapes; there: those it has."""
        found = {"token_embd.weight": (s.vocabulary, s.hidden)}
        found |= {f"{'token_embd_norm' if self.convolved else 'output_norm'}.weight": (s.hidden,)}
        if self.rotation is None:
            found["position_embd.weight"] = (s.context, s.hidden)
        for layer in range(s.layers):
            w = f"blk.{layer}."
            parts = self._norms(s, f"{w}{self.second_norm}.weight" in there)
            parts |= self._mixing(s, layer, there)
            parts |= self._experts(s) if f"{w}ffn_gate_inp.weight" in there else self._forward(s, layer)
            found |= {f"{w}{part}.weight": size for part, size in parts.items()}
        return found

    def _norms(self, s: Shape, second: bool) -> dict[str, tuple[int, ...]]:
        before = ("attn_norm", *((self.second_norm,) if second or not self.parallel else ()))
        names = before * self.norm_before + ("post_attention_norm", "post_ffw_norm") * self.norm_after
        return dict.fromkeys(names, (s.hidden,))

    def _mixing(self, s: Shape, layer: int, there: Container[str]) -> dict[str, tuple[int, ...]]:
        """Matrices of the attention of a layer; of a layer of another kind, those that say how large it is."""
        if f"blk.{layer}.ssm_out.weight" in there and s.delta is not None:
            d = s.delta
            return {
                "attn_qkv": (d.channels, s.hidden),
                "attn_gate": (d.values, s.hidden),
                "ssm_out": (s.hidden, d.values),
                "ssm_conv1d": (d.channels, d.kernel),
                "ssm_norm": (d.value_dim,),
            }
        if f"blk.{layer}.shortconv.conv.weight" in there and self.convolved:
            return {"shortconv.in_proj": (3 * s.hidden, s.hidden), "shortconv.out_proj": (s.hidden, s.hidden)}
        if s.latent is not None:
            return s.latent.needed(s)
        head = s.head_of(self.local(s, layer))
        q, kv = s.heads * head, s.kv_heads * head
        if layer >= s.layers - s.shared_layers:  # it has queries only
            return {"attn_output": (s.hidden, q), "attn_q": (q, s.hidden)}
        parts = {"attn_output": (s.hidden, q)}
        if self.fused_attention:
            parts["attn_qkv"] = (q + 2 * kv, s.hidden)
        else:
            parts |= {"attn_q": (q * (1 + self.gated_queries), s.hidden), "attn_k": (kv, s.hidden)}
            parts |= {"attn_v": (kv, s.hidden)}
        if self.head_norm is not None:
            whole = self.head_norm == "all"
            parts |= {"attn_q_norm": (q if whole else head,), "attn_k_norm": (kv if whole else head,)}
        return parts

    def _forward(self, s: Shape, layer: int) -> dict[str, tuple[int, ...]]:
        ffn = s.feed_forward if s.feed_forwards is None else s.feed_forwards[layer]
        parts = {"ffn_down": (s.hidden, ffn), "ffn_up": (2 * ffn if self.fused_gate else ffn, s.hidden)}
        if self.gated and not self.fused_gate:
            parts["ffn_gate"] = (ffn, s.hidden)
        return parts

    def _experts(self, s: Shape) -> dict[str, tuple[int, ...]]:
        if s.experts is None:
            return {}
        count, width = s.experts.count, s.experts.width
        parts = dict.fromkeys(("ffn_gate_exps", "ffn_up_exps"), (count, width, s.hidden))
        return parts | {"ffn_down_exps": (count, s.hidden, width), "ffn_gate_inp": (count, s.hidden)}


ARCHITECTURES = {name: Architecture.named(name) for name in RUNNABLE}


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
        if value is None or (isinstance(value, int | float) and value == 0):
            return default
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise CheckpointError(
                f"{self.view.source} gives {self.name}.{key} as {str(value)[:40]}, where a number above 0 was expected."
            )
        return float(value)

    def most(self, key: str, default: int) -> int:
        """A count that a file states once, or for each layer: the largest."""
        value = self.view.value(f"{self.name}.{key}")
        if not isinstance(value, list | tuple | np.ndarray):
            return self.count(key, default)
        largest = max((int(v) for v in value if isinstance(v, int | np.integer)), default=0)
        if not 0 < largest <= MOST:
            raise CheckpointError(f"{self.view.source} claims {largest:,} for {self.name}.{key}, which cannot be.")
        return largest

    def counts(self, key: str, layers: int) -> tuple[int, ...] | None:
        """A count for each layer; None where the file states one for all."""
        value = self.view.value(f"{self.name}.{key}")
        if not isinstance(value, list | tuple | np.ndarray) or len(value) < layers:
            return None
        found = np.asarray(list(value[:layers]))
        if found.dtype.kind not in "iu" or not ((found >= 0) & (found <= MOST)).all():
            raise CheckpointError(f"{self.view.source} lists values of {self.name}.{key} that cannot be.")
        return tuple(found.tolist())

    def flags(self, key: str, layers: int) -> tuple[bool, ...] | None:
        """Whether something holds, for each layer; None where the file does not say it layer by layer."""
        value = self.view.value(f"{self.name}.{key}")
        if not isinstance(value, list | tuple | np.ndarray) or len(value) < layers:
            return None
        return tuple(bool(each) for each in value[:layers])

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
    layers -= int(read.optional("nextn_predict_layers", 0) or 0)  # those that predict further tokens are not run
    head_dim = read.count("attention.key_length", hidden // heads or None)
    kv_heads = read.most("attention.head_count_kv", heads)
    if heads % kv_heads:
        raise CheckpointError(f"{view.source} has {heads} heads, which {kv_heads} key-value heads cannot share evenly.")
    embedding = view.tensors.get("token_embd.weight")
    down = next(
        (view.tensors[n] for layer in range(layers) if (n := f"blk.{layer}.ffn_down.weight") in view.tensors), None
    )
    own_window = read.optional("attention.sliding_window", window)
    latent = _read_latent(read) if architecture.latent else None
    rotary = _read_rotary(read, latent.turning if latent else head_dim, architecture)
    scale = 1 / math.sqrt(hidden // heads if layers in architecture.wide_scale else head_dim)
    scale = 1.0 if architecture.unscaled else scale
    if latent is not None:
        scale = _yarn_size(read, rotary) ** 2 / math.sqrt(latent.still + latent.turning)
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
        rotary=rotary,
        scale=read.number("attention.scale", scale),
        window=None if own_window is None else int(own_window),
        attention_cap=read.optional("attn_logit_softcapping"),
        final_cap=read.optional("final_logit_softcapping"),
        windows=read.flags("attention.sliding_window_pattern", layers),
        local_head_dim=int(read.optional("attention.key_length_swa") or 0) or None,
        shared_layers=int(read.optional("attention.shared_kv_layers", 0) or 0),
        layer_input=int(read.optional("embedding_length_per_layer_input", 0) or 0),
        feed_forwards=read.counts("feed_forward_length", layers),
        embedding_scale=read.optional("embedding_scale"),
        residual_scale=read.optional("residual_scale"),
        logit_scale=read.optional("logit_scale"),
        experts=_read_experts(read, architecture, layers),
        temperature=read.optional("attention.temperature_scale"),
        latent=latent,
        delta=_read_delta(read) if architecture.delta else None,
    )


SCORINGS = {1: "softmax", 2: "sigmoid", 3: "softmax of the chosen"}


def _read_experts(read: _Reader, architecture: Architecture, layers: int) -> Experts | None:
    count = read.optional("expert_count")
    if not count or count < 2:
        return None
    stacks = (read.view.tensors.get(f"blk.{layer}.ffn_down_exps.weight") for layer in range(layers))
    width = next((stack.shape[-1] for stack in stacks if stack is not None and stack.shape), 0)
    return Experts(
        count=read.count("expert_count"),
        used=min(read.count("expert_used_count"), int(count)),
        width=width,
        scoring=SCORINGS.get(int(read.number("expert_gating_func", 0)) or 0, architecture.routing.scoring),
        normalized=read.view.flag(f"{read.name}.expert_weights_norm", architecture.routing.normalized),
        scale=read.number("expert_weights_scale", 1.0),
        groups=read.count("expert_group_count", 1),
        groups_used=read.count("expert_group_used_count", 1),
    )


def _read_latent(read: _Reader) -> Latent:
    turning, key = read.count("rope.dimension_count"), read.count("attention.key_length_mla")
    if key <= turning:
        raise CheckpointError(f"{read.view.source} turns {turning} channels of keys that have {key}.")
    return Latent(
        read.count("attention.kv_lora_rank"), turning, key - turning, read.count("attention.value_length_mla")
    )


def _read_delta(read: _Reader) -> DeltaShape:
    heads = read.count("ssm.time_step_rank")
    return DeltaShape(
        key_heads=read.count("ssm.group_count"),
        value_heads=heads,
        key_dim=read.count("ssm.state_size"),
        value_dim=read.count("ssm.inner_size") // heads,
        kernel=read.count("ssm.conv_kernel"),
    )


def _yarn_size(read: _Reader, rotary: Rotary) -> float:
    """By how much queries and keys grow where positions are stretched, as models with latents say it."""
    log = read.optional("rope.scaling.yarn_log_multiplier")
    return 1 + log * math.log(rotary.factor) if log and rotary.factor > 1 else 1.0


def _read_rotary(read: _Reader, head_dim: int, architecture: Architecture) -> Rotary:
    dims, kind = read.count("rope.dimension_count", head_dim), read.view.text(f"{read.name}.rope.scaling.type")
    if dims > head_dim or dims % 2:
        raise CheckpointError(f"{read.view.source} turns {dims} channels of heads that have {head_dim}.")
    original = read.optional("rope.scaling.original_context_length")
    return Rotary(
        dims=dims,
        base=read.number("rope.freq_base", 10000.0),
        local_base=read.optional("rope.freq_base_swa", architecture.local_base),
        scaling=kind if kind in ("linear", "yarn", "longrope") else None,
        factor=read.number("rope.scaling.factor", 1.0),
        original_context=None if original is None else int(original),
        attention_factor=read.optional(
            "rope.scaling.yarn_attn_factor" if kind == "yarn" else "rope.scaling.attn_factor"
        ),
        beta_fast=read.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=read.number("rope.scaling.yarn_beta_slow", 1.0),
        local_dims=int(read.optional("rope.dimension_count_swa") or 0) or None,
        exact=architecture.exact_yarn,
        sized=not read.optional("rope.scaling.yarn_log_multiplier"),
    )
