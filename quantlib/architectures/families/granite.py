"""Granite, Granite-MoE and the hybrid of attention and Mamba 2. Source: conversion/granite.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.changes import half
from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.config import Config, count, number
from quantlib.architectures.declaration import FILE_TYPE, Key, Tokenizer, Weight
from quantlib.architectures.families.llama import LLAMA, SILU
from quantlib.architectures.families.mamba import mixer, mixer_sizes
from quantlib.architectures.parts import (
    EPSILON,
    EXPERTS,
    NORMS,
    RMS_EPSILON,
    ROTARY,
    SIZES,
    VOCAB_SIZE,
    attention,
    multiplied,
    of_type,
    on,
    outer,
    usual,
)
from quantlib.architectures.quantizing import AS_USUAL

MULTIPLIERS = {
    "attention_scale": number("attention_multiplier"),
    "embedding_scale": number("embedding_multiplier"),
    "residual_scale": number("residual_multiplier"),
    "logit_scale": number("logits_scaling"),
}
SCALES = (
    multiplied("attention.scale", "attention_scale"),
    multiplied("embedding_scale", "embedding_scale"),
    multiplied("residual_scale", "residual_scale"),
    multiplied("logit_scale", "logit_scale"),
)
EVEN_SHARE = Key("rope.dimension_count", "uint32", lambda config: config.width // config.heads)
KEYS = (*SIZES, *ROTARY, RMS_EPSILON, EPSILON, *EXPERTS, FILE_TYPE, VOCAB_SIZE, EVEN_SHARE, *SCALES)
TOKENIZER = Tokenizer(space_prefix="config", vocab_size=True, pre={"smollm": "refact"})

GRANITE = replace(
    LLAMA,
    name="granite",
    rules=AS_USUAL,
    generation=None,
    title="Granite",
    model_type="granite",
    classes=("GraniteForCausalLM",),
    defaults={**usual(32, 4096, 32, 11_008, 32_000, 2048, kv_heads=32), **dict.fromkeys(MULTIPLIERS, 1.0)},
    settings=MULTIPLIERS,
    keys=KEYS,
    tokenizer=TOKENIZER,
    folds=None,
    runs=Computation(rotation="neighbours", divides_logits=True),
)
ROUTED = (
    Weight("blk.{}.ffn_gate_inp", "layers.{}.block_sparse_moe.router.layer", ("experts", "width")),
    Weight("blk.{}.ffn_gate_exps", "layers.{}.block_sparse_moe.input_linear", ("experts", "ffn", "width"), half(0)),
    Weight("blk.{}.ffn_up_exps", "layers.{}.block_sparse_moe.input_linear", ("experts", "ffn", "width"), half(1)),
    Weight("blk.{}.ffn_down_exps", "layers.{}.block_sparse_moe.output_linear", ("experts", "width", "ffn")),
)
SHARED = (
    Weight("blk.{}.ffn_gate_shexp", "layers.{}.shared_mlp.input_linear", ("shared", "width"), half(0)),
    Weight("blk.{}.ffn_up_shexp", "layers.{}.shared_mlp.input_linear", ("shared", "width"), half(1)),
    Weight("blk.{}.ffn_down_shexp", "layers.{}.shared_mlp.output_linear", ("width", "shared")),
)
DENSE = tuple(replace(weight, gguf=weight.gguf.replace("_shexp", "")) for weight in SHARED)
SHARED_WIDTH = Key("expert_shared_feed_forward_length", "uint32", lambda config: config.shared or None)


def with_experts(config: Config) -> list[tuple[int, int]]:
    """All layers, where the model is a mixture of experts."""
    return [(layer, layer) for layer in range(config.layers if config.experts else 0)]


def with_shared(config: Config) -> list[tuple[int, int]]:
    """All layers of a mixture that has experts which every token uses."""
    return with_experts(config) if config.shared else []


def without_experts(config: Config) -> list[tuple[int, int]]:
    """All layers, where it is none."""
    return [(layer, layer) for layer in range(0 if config.experts else config.layers)]


FORWARD = (*on(with_experts, *ROUTED), *on(with_shared, *SHARED), *on(without_experts, *DENSE))
GRANITE_MOE = replace(
    GRANITE,
    name="granitemoe",
    title="Granite-MoE",
    model_type="granitemoe",
    classes=("GraniteMoeForCausalLM",),
    defaults={**GRANITE.defaults, "experts": 8, "experts_used": 2},
    settings={**MULTIPLIERS, "shared": count("shared_intermediate_size")},
    sizes=lambda config: {"shared": config.shared or 0},
    weights=(*outer(), *NORMS, *attention(interleaved=True), *FORWARD),
    keys=(*KEYS, SHARED_WIDTH),
    runs=Computation(rotation="neighbours", divides_logits=True, routing=Routing("softmax of the chosen")),
)
GRANITE_MOE_SHARED = replace(
    GRANITE_MOE, title="Granite-MoE", model_type="granitemoeshared", classes=("GraniteMoeSharedForCausalLM",)
)

MAMBA = ("mamba", "linear_attention")
attending, recurrent = of_type("attention", "full_attention"), of_type(*MAMBA)


def is_plain(config: Config) -> bool:
    """Models of this kind all of whose layers attend are plain ones to llama.cpp."""
    return not list(recurrent(config))


def kv_heads(config: Config) -> list[int]:
    """Key-value heads of each layer; 0 where it has a state instead."""
    with_heads = {layer for layer, _ in attending(config)}
    return [config.groups if layer in with_heads else 0 for layer in range(config.layers)]


GRANITE_HYBRID = replace(
    GRANITE_MOE,
    name="granitehybrid",
    variants={
        "granitemoe": lambda config: is_plain(config) and bool(config.experts_used),
        "granite": lambda config: is_plain(config) and not config.experts_used,
    },
    title="Granite hybrid",
    runs=None,
    model_type="granitemoehybrid",
    classes=("GraniteMoeHybridForCausalLM",),
    settings={
        **GRANITE_MOE.settings,
        "kernel": count("mamba_d_conv", low=1, high=64),
        "state": count("mamba_d_state", low=1, high=2**16),
        "ssm_groups": count("mamba_n_groups", low=1, high=2**16),
        "ssm_heads": count("mamba_n_heads", low=1, high=2**16),
        "expand": count("mamba_expand", low=1, high=64),
    },
    defaults={
        **usual(32, 4096, 32, 11_008, 32_000, 2048, kv_heads=32),
        "experts_used": None, "shared": 1024, "kernel": 4, "state": 256, "ssm_groups": 1, "ssm_heads": 128, "expand": 2,
    },
    sizes=lambda config: {
        "shared": config.shared or 0,
        **mixer_sizes(config.expand * config.width, config.state, config.ssm_groups, config.ssm_heads, config.kernel),
    },
    weights=(
        *outer(),
        *NORMS,
        *on(attending, *attention(interleaved=True)),
        *on(recurrent, *mixer("layers.{}.mamba")),
        *FORWARD,
    ),
    keys=(
        *KEYS,
        SHARED_WIDTH,
        Key("ssm.conv_kernel", "uint32", "kernel"),
        Key("ssm.state_size", "uint32", "state"),
        Key("ssm.group_count", "uint32", "ssm_groups"),
        Key("ssm.inner_size", "uint32", lambda config: config.expand * config.width),
        Key("ssm.time_step_rank", "uint32", "ssm_heads"),
        Key("attention.head_count_kv", "array[int32]", kv_heads),
        Key("rope.scaling.finetuned", "bool", lambda config: not list(recurrent(config))),
        Key("context_length", "uint32", lambda config: 2**20 if list(recurrent(config)) else config.context),
    ),
    assumed=(SILU,),
    tokenizer=Tokenizer(padded=lambda config: -(-config.vocab // 8) * 8 if list(recurrent(config)) else config.vocab),
)  # fmt: skip
