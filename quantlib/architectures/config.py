"""The numbers of one model, by the names that declarations use, and where config.json says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from quantlib.architectures.rope import Rope

MAX_LAYERS = 1024
MAX_WIDTH = 2**24
MAX_VOCAB = 2**22
MAX_HEADS = 2**16
MAX_EXPERTS = 2**12
MAX_COUNT = 2**31 - 1
LISTED = 4096  # entries of a list in config.json


@dataclass(frozen=True)
class Setting:
    """A value of config.json: its names there, the first that is there decides, and what it may be.

    kind: "int" and "float" have bounds; "numbers" is a list of them, "words" one of strings, "object" anything.
    each_layer: the list must have an entry for each layer; one number stands for all of them.
    """

    keys: tuple[str, ...]
    low: float = 0
    high: float = MAX_COUNT
    kind: Literal["int", "float", "bool", "str", "numbers", "words", "object"] = "int"
    each_layer: bool = False


def number(*keys: str, low: float = -1e12, high: float = 1e12) -> Setting:
    """A float."""
    return Setting(keys, low, high, "float")


def count(*keys: str, low: int = 0, high: int = MAX_COUNT) -> Setting:
    """An integer."""
    return Setting(keys, low, high)


def flag(*keys: str) -> Setting:
    """True or false."""
    return Setting(keys, kind="bool")


def text(*keys: str) -> Setting:
    """A word."""
    return Setting(keys, kind="str")


def listed(*keys: str, low: float = -1e12, high: float = 1e12, each_layer: bool = False) -> Setting:
    """A list of numbers."""
    return Setting(keys, low, high, "numbers", each_layer)


def words(*keys: str, each_layer: bool = False) -> Setting:
    """A list of words."""
    return Setting(keys, kind="words", each_layer=each_layer)


COMMON = {
    "layers": count("num_hidden_layers", "n_layer", "num_layers", low=1, high=MAX_LAYERS),
    "context": count("max_position_embeddings", "n_positions", "n_ctx", low=1),
    "width": count("hidden_size", "n_embd", low=1, high=MAX_WIDTH),
    "heads": count("num_attention_heads", "n_head", low=1, high=MAX_HEADS),
    "kv_heads": count("num_key_value_heads", low=1, high=MAX_HEADS),
    "head_dim": count("head_dim", low=2, high=MAX_HEADS),
    "ffn": count("intermediate_size", "n_inner", low=1, high=MAX_WIDTH),
    "vocab": count("vocab_size", low=1, high=MAX_VOCAB),
    "rms_eps": number("rms_norm_eps", low=0.0, high=1.0),
    "norm_eps": number("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", low=0.0, high=1.0),
    "experts": count("num_local_experts", "num_experts", "n_routed_experts", high=MAX_EXPERTS),
    "experts_used": count("num_experts_per_tok", "num_experts_per_token", "top_k_experts", high=MAX_EXPERTS),
    "expert_ffn": count("moe_intermediate_size", low=1, high=MAX_WIDTH),
    "shared_ffn": count("shared_expert_intermediate_size", high=MAX_WIDTH),  # 0 in Qwen3-Coder
    "expert_groups": count("n_group", high=MAX_EXPERTS),
    "expert_groups_used": count("topk_group", high=MAX_EXPERTS),
    "scoring": text("scoring_func", "score_function", "score_func"),
    "window": count("sliding_window"),
    "layer_types": words("layer_types", each_layer=True),
    "tied": flag("tie_word_embeddings"),
    "use_bias": flag("use_bias"),
    "attention_bias": flag("attention_bias"),
    "mlp_bias": flag("mlp_bias"),
    "query_norms": flag("use_qk_norm"),
    "attention_cap": number("attn_logit_softcapping", low=0.0, high=1e6),
    "final_cap": number("final_logit_softcapping", low=0.0, high=1e6),
    "query_scalar": number("query_pre_attn_scalar", low=1e-6, high=1e9),
    "token_types": count("type_vocab_size", low=1, high=MAX_VOCAB),
}


@dataclass(frozen=True)
class Config:
    """The hyperparameters of a model, as attributes by the names of its settings; None for those it does not state."""

    found: Mapping[str, object]
    rope: Rope
    pooling: int | None = None
    name_or_path: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.found:
            raise AttributeError(name)
        return self.found[name]

    @property
    def head_width(self) -> int:
        """Values of a head: stated, or an equal share of the width."""
        return self.head_dim or self.width // self.heads

    @property
    def blocks(self) -> int:
        """Layers in GGUF, which counts those that predict further tokens (MTP) too."""
        return self.layers + (self.found.get("mtp") or 0)

    @property
    def groups(self) -> int:
        """Key-value heads: as many as heads where the architecture does not share them."""
        return self.kv_heads or self.heads

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The sizes by which weights are declared; None where this model has no such thing."""
        q, kv = self.heads * self.head_width, self.groups * self.head_width
        return MappingProxyType(
            {
                "vocab": self.vocab,
                "context": self.context,
                "width": self.width,
                "head": self.head_width,
                "heads": self.heads,
                "q": q,
                "kv": kv,
                "qkv": q + 2 * kv,
                "ffn": self.ffn,
                "gate and up": 2 * (self.ffn or 0),
                "experts": self.experts,
                "expert ffn": self.expert_ffn or self.ffn,
                "shared ffn": self.shared_ffn,
                "token types": self.token_types,
                "one": 1,
            }
        )
