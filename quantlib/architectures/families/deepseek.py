"""DeepSeek V2, V3 and R1: keys and values made of a few numbers for each token (MLA).

Source: conversion/deepseek.py of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from quantlib.architectures.changes import Change, Shape
from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.config import Config, count
from quantlib.architectures.declaration import Architecture, Key, Weight
from quantlib.architectures.families.glm import BALANCE, MIXTURE, ROUTED, SHARED, shared_sizes
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.parts import FEED_FORWARD, NORMS, STANDARD, on, outer, usual
from quantlib.architectures.rope import unknown_scaling


def dense(config: Config) -> Iterable[tuple[int, int]]:
    """The first layers, which have no experts."""
    return ((layer, layer) for layer in range(min(config.dense or 0, config.layers)))


def mixed(config: Config) -> Iterable[tuple[int, int]]:
    """The layers with experts."""
    return ((layer, layer) for layer in range(config.dense or 0, config.layers))


def sizes(config: Config) -> dict[str, int]:
    """What is made of a token: latents, from which keys (with a part that turns) and values of all heads come."""
    return shared_sizes(config) | {
        "latent": config.kv_rank,
        "latent and turning": config.kv_rank + config.turning,
        "q latent": config.q_rank or 0,
        "mla q": config.heads * (config.still + config.turning),
        "mla v": config.heads * config.v_head,
        "still": config.still,
        "v head": config.v_head,
    }


def _both(shape: Shape, config: Config) -> Shape:
    return (config.heads * (config.still + config.v_head), config.kv_rank)


def _keys(x: np.ndarray, shape: Shape, config: Config) -> np.ndarray:
    return x.reshape(config.heads, -1, config.kv_rank)[:, : config.still].swapaxes(1, 2)


def _values(shape: Shape, config: Config) -> np.ndarray:
    both = np.arange(config.heads * (config.still + config.v_head)).reshape(config.heads, -1)
    return both[:, config.still :].reshape(-1)


def _attention(gguf: str, hf: str, *shape: str, change: Change | None = None) -> Weight:
    weight = Weight(f"blk.{{}}.{gguf}", f"layers.{{}}.self_attn.{hf}", shape)
    return weight if change is None else replace(weight, change=change)


def with_latent_queries(config: Config) -> Iterable[tuple[int, int]]:
    """All layers, where queries are made of latents too."""
    return ((layer, layer) for layer in range(config.layers if config.q_rank else 0))


def with_plain_queries(config: Config) -> Iterable[tuple[int, int]]:
    """All layers, where they are not."""
    return ((layer, layer) for layer in range(0 if config.q_rank else config.layers))


ATTENTION = (
    _attention("attn_kv_a_norm", "kv_a_layernorm", "latent"),
    _attention("attn_kv_a_mqa", "kv_a_proj_with_mqa", "latent and turning", "width"),
    _attention("attn_k_b", "kv_b_proj", "heads", "latent", "still", change=Change(_both, arrange=_keys)),
    _attention("attn_v_b", "kv_b_proj", "heads", "v head", "latent", change=Change(_both, rows=_values)),
    _attention("attn_output", "o_proj", "width", "mla v"),
    *on(with_plain_queries, _attention("attn_q", "q_proj", "mla q", "width")),
    *on(
        with_latent_queries,
        _attention("attn_q_a_norm", "q_a_layernorm", "q latent"),
        _attention("attn_q_a", "q_a_proj", "q latent", "width"),
        _attention("attn_q_b", "q_b_proj", "mla q", "q latent"),
    ),
)


def yarn(config: Config) -> float | None:
    """A tenth of what the model says, by which llama.cpp corrects the size of stretched positions."""
    scale = config.rope.numbers.get("mscale_all_dim")
    return None if scale is None else 0.1 * scale


# llama.cpp sees attention to latents as heads that all share one key and value.
LATENT_KEYS = (
    Key("attention.head_count_kv", "uint32", lambda config: 1),
    Key("leading_dense_block_count", "uint32", lambda config: config.dense or 0),
    Key("vocab_size", "uint32", "vocab"),
    Key("attention.q_lora_rank", "uint32", "q_rank"),
    Key("attention.kv_lora_rank", "uint32", "kv_rank"),
    Key("attention.key_length", "uint32", lambda config: config.kv_rank + config.turning),
    Key("attention.value_length", "uint32", "kv_rank"),
    Key("attention.key_length_mla", "uint32", lambda config: config.still + config.turning),
    Key("attention.value_length_mla", "uint32", "v_head"),
    Key("expert_feed_forward_length", "uint32", lambda config: config.expert_ffn or config.ffn),
    Key("expert_shared_count", "uint32", lambda config: config.shared_count or 0),
    Key("expert_weights_scale", "float32", "routed_scale"),
    Key("expert_weights_norm", "bool", lambda config: config.normalized or None),
    Key("rope.dimension_count", "uint32", "turning"),
    Key("rope.scaling.yarn_log_multiplier", "float32", yarn),
)


def last_layers(config: Config) -> tuple[str, ...]:
    """Starts of the names of layers that predict further tokens, which are not converted."""
    return tuple(f"layers.{config.layers + n}." for n in range(16))


DEEPSEEK_V3 = Architecture(
    name="deepseek2",
    title="DeepSeek V3",
    model_type="deepseek_v3",
    classes=("DeepseekV3ForCausalLM",),
    defaults=usual(
        61, 7168, 128, 18_432, 129_280, 4096,
        kv_heads=128, head_dim=64, kv_rank=512, q_rank=1536, turning=64, still=128, v_head=128,
        experts=256, experts_used=8, expert_ffn=2048, expert_groups=8, expert_groups_used=4, dense=3, shared_count=1,
        routed_scale=2.5, normalized=True,
    ),
    settings={
        **{name: setting for name, setting in MIXTURE.items() if name != "mtp"},
        "kv_rank": count("kv_lora_rank", low=1, high=2**16),
        "q_rank": count("q_lora_rank", low=1, high=2**16),
        "turning": count("qk_rope_head_dim", low=2, high=2**16),
        "still": count("qk_nope_head_dim", low=1, high=2**16),
        "v_head": count("v_head_dim", low=1, high=2**16),
    },
    sizes=sizes,
    weights=(*outer(), *NORMS, *ATTENTION, *on(dense, *FEED_FORWARD), *on(mixed, *ROUTED, BALANCE, *SHARED)),
    keys=(*STANDARD, *LATENT_KEYS),
    assumed=(SILU,),
    checks=(unknown_scaling,),
    dropped=last_layers,
    runs=Computation(rotation="neighbours", latent=True, routing=Routing("softmax")),
)  # fmt: skip
DEEPSEEK_V2 = replace(
    DEEPSEEK_V3,
    title="DeepSeek V2",
    model_type="deepseek_v2",
    classes=("DeepseekV2ForCausalLM",),
    defaults=usual(
        32, 4096, 32, 11_008, 102_400, 2048,
        kv_heads=32, head_dim=64, kv_rank=512, turning=64, still=128, v_head=128, experts=64, experts_used=6,
        expert_ffn=1407, dense=0, shared_count=2, routed_scale=1.0, normalized=False,
    ),
)  # fmt: skip
