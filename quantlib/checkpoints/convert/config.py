"""config.json of a model that GGUF knows, read with nothing taken on trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.convert.architecture import Architecture
from quantlib.checkpoints.convert.pooling import read_pooling
from quantlib.checkpoints.convert.rope import NO_ROPE, Rope, read_rope
from quantlib.checkpoints.untrusted import Fields

MAX_LAYERS = 1024
MAX_WIDTH = 2**24
MAX_VOCAB = 2**22
MAX_HEADS = 2**16
MAX_EXPERTS = 2**12

# Name in Config -> (its names in config.json, lowest, highest value); floats where the bounds are.
SETTINGS = {
    "layers": (("num_hidden_layers", "n_layer"), 1, MAX_LAYERS),
    "context": (("max_position_embeddings", "n_positions", "n_ctx"), 1, 2**31 - 1),
    "width": (("hidden_size", "n_embd"), 1, MAX_WIDTH),
    "heads": (("num_attention_heads", "n_head"), 1, MAX_HEADS),
    "kv_heads": (("num_key_value_heads",), 1, MAX_HEADS),
    "head_dim": (("head_dim",), 2, MAX_HEADS),
    "ffn": (("intermediate_size", "n_inner"), 1, MAX_WIDTH),
    "vocab": (("vocab_size",), 1, MAX_VOCAB),
    "rms_eps": (("rms_norm_eps",), 0.0, 1.0),
    "norm_eps": (("layer_norm_eps", "layer_norm_epsilon"), 0.0, 1.0),
    "experts": (("num_local_experts", "num_experts"), 1, MAX_EXPERTS),
    "experts_used": (("num_experts_per_tok",), 1, MAX_EXPERTS),
    "expert_ffn": (("moe_intermediate_size",), 1, MAX_WIDTH),
    "shared_ffn": (("shared_expert_intermediate_size",), 1, MAX_WIDTH),
    "window": (("sliding_window",), 0, 2**31 - 1),
    "attention_cap": (("attn_logit_softcapping",), 0.0, 1e6),
    "final_cap": (("final_logit_softcapping",), 0.0, 1e6),
    "query_scalar": (("query_pre_attn_scalar",), 1e-6, 1e9),
    "token_types": (("type_vocab_size",), 1, MAX_VOCAB),
}


@dataclass(frozen=True)
class Config:
    """The hyperparameters of a model; None for those that its architecture does not have or state."""

    layers: int
    context: int
    width: int
    heads: int
    ffn: int
    vocab: int
    kv_heads: int | None
    head_dim: int | None
    rms_eps: float | None
    norm_eps: float | None
    experts: int | None
    experts_used: int | None
    expert_ffn: int | None
    shared_ffn: int | None
    window: int | None
    attention_cap: float | None
    final_cap: float | None
    query_scalar: float | None
    token_types: int | None
    rope: Rope
    pooling: int | None
    name_or_path: str | None

    @property
    def head_width(self) -> int:
        """Values of a head: stated, or an equal share of the width."""
        return self.head_dim or self.width // self.heads

    @property
    def groups(self) -> int:
        """Key-value heads: as many as heads where the architecture does not share them."""
        return self.kv_heads or self.heads

    @property
    def sizes(self) -> Mapping[str, int | None]:
        """The sizes by which weights are declared."""
        q, kv = self.heads * self.head_width, self.groups * self.head_width
        return MappingProxyType(
            {
                "vocab": self.vocab,
                "context": self.context,
                "width": self.width,
                "head": self.head_width,
                "q": q,
                "kv": kv,
                "qkv": q + 2 * kv,
                "ffn": self.ffn,
                "gate and up": 2 * self.ffn,
                "experts": self.experts,
                "expert ffn": self.expert_ffn or self.ffn,
                "shared ffn": self.shared_ffn,
                "token types": self.token_types,
                "one": 1,
            }
        )


def read_config(path: Path, values: dict[str, object], architecture: Architecture) -> Config:
    """The hyperparameters in a config.json at `path`, absent ones as transformers fills them in.

    Raises CheckpointError for a value of the wrong type or out of range, for numbers that contradict each other, and
    for what llama.cpp does otherwise than the model.
    """
    fields = Fields(path, text_values(path, values, architecture))
    found: dict[str, object] = {}
    for name, (keys, low, high) in SETTINGS.items():
        default = architecture.defaults.get(name)
        found[name] = _first(fields, keys, low, high, default(found) if callable(default) else default)
    if not architecture.has_experts and found["experts"] is not None:
        raise fault(path, f"describes a mixture of experts, which {architecture.title} models in GGUF are not.")
    _check_assumed(path, fields, architecture)
    name = fields.str("_name_or_path", limit=4096)
    rope = read_rope(path, fields, architecture.theta) if architecture.theta else NO_ROPE
    pooling = read_pooling(path.parent)
    config = Config(**found, rope=rope, pooling=pooling, name_or_path=name)
    _check_heads(path, config, rotary=architecture.theta is not None)
    return config


def text_values(path: Path, values: dict[str, object], architecture: Architecture) -> dict[str, object]:
    """config.json with what it says of the language model within it brought to the top."""
    return {**values, **Fields(path, values).object(architecture.nested)} if architecture.nested else values


def _first(fields: Fields, keys: tuple[str, ...], low: float, high: float, default: object) -> object:
    read = fields.int if isinstance(low, int) else fields.float
    values = (read(key, low, high) for key in keys)
    return next((value for value in values if value is not None), default)


def _check_assumed(path: Path, fields: Fields, architecture: Architecture) -> None:
    for assumed in architecture.assumed:
        value = fields.values.get(assumed.key)
        if value is not None and value not in assumed.allowed:
            allowed = " or ".join(shown(value) for value in assumed.allowed)
            raise fault(
                path,
                f"says {shown(assumed.key)} is {shown(value)}, and llama.cpp runs {architecture.title} models only "
                f"with {allowed}.",
            )


def _check_heads(path: Path, config: Config, rotary: bool) -> None:
    width, heads, groups = config.width, config.heads, config.groups
    if config.head_dim is None and width % heads:
        raise fault(path, f"divides hidden_size {width:,} by {heads:,} attention heads, which leaves a remainder.")
    if heads % groups:
        raise fault(
            path, f"shares {groups:,} key-value heads among {heads:,} attention heads, which leaves a remainder."
        )
    if rotary and config.head_width % 2:
        raise fault(path, f"has a head_dim of {config.head_width:,}; rotary positions need an even one.")
