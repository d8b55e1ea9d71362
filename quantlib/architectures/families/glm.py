"""GLM-4 and GLM-4-MoE. Source: conversion/glm.py of llama.cpp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.config import Config, count, flag, number
from quantlib.architectures.declaration import Architecture, Counted, Key, Tokenizer, Weight
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.parts import (
    FEED_FORWARD,
    STANDARD,
    attention,
    experts,
    head_norms,
    lacking_prediction,
    never,
    on,
    outer,
    partly_rotated,
    unless_denied,
    usual,
)
from quantlib.architectures.rope import unknown_scaling

END, USER = "<|endoftext|>", "<|user|>"
GLM4 = Architecture(
    name="glm4",
    title="GLM-4",
    model_type="glm4",
    classes=("Glm4ForCausalLM",),
    defaults=usual(40, 4096, 32, 13_696, 151_552, 131_072, kv_heads=2, head_dim=128, rms_eps=1.5625e-7),
    weights=(
        *outer(),
        Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
        Weight("blk.{}.post_attention_norm", "layers.{}.post_self_attn_layernorm", ("width",)),
        Weight("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm", ("width",)),
        Weight("blk.{}.post_ffw_norm", "layers.{}.post_mlp_layernorm", ("width",)),
        *attention(output_biased=never),
        Weight("blk.{}.ffn_up", "layers.{}.mlp.gate_up_proj", ("gate and up", "width")),
        Weight("blk.{}.ffn_down", "layers.{}.mlp.down_proj", ("width", "ffn")),
    ),
    keys=(*STANDARD, partly_rotated(0.5)),
    assumed=(SILU,),
    checks=(unknown_scaling,),
    tokenizer=Tokenizer(
        pre={"dbrx": "glm4", "llama-bpe": "glm4"}, tokens=(("eos", END), ("eot", USER), ("unk", END), ("bos", END))
    ),
    runs=Computation(norm_after=True, rotation="neighbours", fused_gate=True),
)


def stored_layers(config: Config) -> int:
    """Layers whose tensors are there, with those that predict further tokens."""
    return int(config.layers + config.stored_mtp)


def dense(config: Config) -> Iterable[tuple[int, int]]:
    """The first layers, which have no experts."""
    return ((layer, layer) for layer in range(min(config.dense or 0, config.layers)))


def mixed(config: Config) -> Iterable[tuple[int, int]]:
    """The layers with experts, those that predict further tokens among them."""
    return ((layer, layer) for layer in range(config.dense or 0, stored_layers(config)))


def predicting(config: Config) -> Iterable[tuple[int, int]]:
    """The layers that predict further tokens (MTP)."""
    return ((layer, layer) for layer in range(config.layers, stored_layers(config)))


def every(config: Config) -> Iterable[tuple[int, int]]:
    """All layers, those that predict further tokens too."""
    return ((layer, layer) for layer in range(stored_layers(config)))


SHARED = (
    Weight("blk.{}.ffn_gate_shexp", "layers.{}.mlp.shared_experts.gate_proj", ("shared", "width")),
    Weight("blk.{}.ffn_up_shexp", "layers.{}.mlp.shared_experts.up_proj", ("shared", "width")),
    Weight("blk.{}.ffn_down_shexp", "layers.{}.mlp.shared_experts.down_proj", ("width", "shared")),
)
ROUTED = experts(
    "layers.{}.mlp.gate",
    "layers.{}.mlp.experts.{}",
    gate="gate_proj",
    up="up_proj",
    down="down_proj",
    order="down gate up",
)
BALANCE = Weight(
    "blk.{}.exp_probs_b.bias",
    "layers.{}.mlp.gate.e_score_correction_bias",
    ("experts",),
    needed=False,
    exact=True,
    there=unless_denied("balanced"),
)


def _own(gguf: str, hf: str) -> Weight:
    """Embedding and output matrix of a layer that predicts further tokens, which some models share with the others."""
    return Weight(gguf, hf, ("vocab", "width"), needed=False, there=unless_denied("own_embedding"))


AHEAD = (
    Weight("blk.{}.nextn.eh_proj", "layers.{}.eh_proj", ("width", "2width"), needed=False),
    _own("blk.{}.nextn.embed_tokens", "layers.{}.embed_tokens"),
    Weight("blk.{}.nextn.enorm", "layers.{}.enorm", ("width",), needed=False),
    Weight("blk.{}.nextn.hnorm", "layers.{}.hnorm", ("width",), needed=False),
    _own("blk.{}.nextn.shared_head_head", "layers.{}.shared_head.head"),
    Weight("blk.{}.nextn.shared_head_norm", "layers.{}.shared_head.norm", ("width",), needed=False),
)
MIXTURE = {
    "dense": count("first_k_dense_replace", high=1024),
    "shared_count": count("n_shared_experts", high=1024),
    "mtp": count("num_nextn_predict_layers", high=16),
    "routed_scale": number("routed_scaling_factor"),
    "normalized": flag("norm_topk_prob"),
    "balanced": flag("balanced"),
    "own_embedding": flag("mtp_embeddings"),
}


def shared_sizes(config: Config) -> dict[str, int]:
    """The width of all shared experts together, and what joins two embeddings."""
    return {"shared": (config.shared_count or 0) * (config.expert_ffn or 0), "2width": 2 * config.width}


GLM4_MOE = Architecture(
    name="glm4moe",
    title="GLM-4-MoE",
    model_type="glm4_moe",
    classes=("Glm4MoeForCausalLM",),
    defaults=usual(
        46, 4096, 96, 10_944, 151_552, 131_072,
        kv_heads=8, head_dim=128, rms_eps=1e-5, experts=128, experts_used=8, expert_ffn=1408,
        expert_groups=1, expert_groups_used=1,
        dense=1, shared_count=1, mtp=1, routed_scale=1.0, normalized=True,
    ),
    settings=MIXTURE,
    sizes=shared_sizes,
    counted={"mtp": Counted(r"layers\.(\d+)\.eh_proj\.")},
    weights=(
        *outer(),
        *on(
            every,
            Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
            Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
            *attention(output_biased=never),
            *(replace(w, needed=False, there=unless_denied("query_norms")) for w in head_norms()),
        ),
        *on(dense, *FEED_FORWARD),
        *on(mixed, *ROUTED, BALANCE, *SHARED),
        *on(predicting, *AHEAD),
    ),
    keys=(
        *STANDARD,
        partly_rotated(0.5),
        Key("expert_feed_forward_length", "uint32", "expert_ffn"),
        Key("expert_shared_count", "uint32", "shared_count"),
        Key("leading_dense_block_count", "uint32", "dense"),
        Key("expert_gating_func", "uint32", lambda config: 2),
        Key("expert_weights_scale", "float32", "routed_scale"),
        Key("expert_weights_norm", "bool", "normalized"),
        Key("nextn_predict_layers", "uint32", lambda config: config.mtp or 0),
    ),
    assumed=(SILU,),
    checks=(unknown_scaling, lacking_prediction),
    tokenizer=Tokenizer(
        pre={"dbrx": "glm4", "llama-bpe": "glm4"},
        tokens=(("bos", "[gMASK]"), ("eot", USER), ("unk", END), ("eom", "<|observation|>")),
    ),
    runs=Computation(second_norm="post_attention_norm", head_norm="head", routing=Routing("sigmoid", normalized=True)),
)  # fmt: skip
