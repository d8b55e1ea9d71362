"""Qwen2, Qwen3 and their mixtures of experts. Source: conversion/qwen.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.declaration import Architecture, Assumed, Key, Weight
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.parts import (
    FEED_FORWARD,
    FOLDS,
    NORMS,
    OWN_OUTPUT,
    POOLING,
    STANDARD,
    always,
    attention,
    experts,
    head_norms,
    outer,
)
from quantlib.architectures.quantizing import AS_USUAL, Rules
from quantlib.architectures.rope import unknown_scaling

BIASED = attention(biased=always)  # queries, keys and values
ALL_POSITIONS = Assumed("use_sliding_window", (False,))

QWEN2 = Architecture(
    name="qwen2",
    title="Qwen2",
    model_type="qwen2",
    classes=("Qwen2ForCausalLM", "Qwen2Model"),
    defaults={
        "layers": 32,
        "context": 32_768,
        "width": 4096,
        "heads": 32,
        "kv_heads": 32,
        "ffn": 22_016,
        "vocab": 151_936,
        "rms_eps": 1e-6,
    },
    weights=(*outer(), *NORMS, *BIASED, *FEED_FORWARD),
    keys=(*STANDARD, POOLING),
    assumed=(SILU, ALL_POSITIONS),
    checks=(unknown_scaling,),
    runs=Computation(),
    folds=FOLDS,
    rules=Rules(seventy_b="all"),
)

QWEN3 = replace(
    QWEN2,
    name="qwen3",
    rules=AS_USUAL,
    title="Qwen3",
    model_type="qwen3",
    classes=("Qwen3ForCausalLM",),
    defaults={**QWEN2.defaults, "head_dim": 128},
    weights=(*outer(), *NORMS, *attention(), *head_norms(), *FEED_FORWARD),
    runs=Computation(head_norm="head"),
)

EVERY_LAYER = (Assumed("decoder_sparse_step", (1,)), Assumed("mlp_only_layers", ([],)))
ROUTED = experts(
    "layers.{}.mlp.gate",
    "layers.{}.mlp.experts.{}",
    gate="gate_proj",
    up="up_proj",
    down="down_proj",
    order="down gate up",
)
SHARED = (
    Weight("blk.{}.ffn_gate_inp_shexp", "layers.{}.mlp.shared_expert_gate", ("one", "width")),
    Weight("blk.{}.ffn_gate_shexp", "layers.{}.mlp.shared_expert.gate_proj", ("shared ffn", "width")),
    Weight("blk.{}.ffn_up_shexp", "layers.{}.mlp.shared_expert.up_proj", ("shared ffn", "width")),
    Weight("blk.{}.ffn_down_shexp", "layers.{}.mlp.shared_expert.down_proj", ("width", "shared ffn")),
)
EXPERT_SIZES = (
    Key("expert_feed_forward_length", "uint32", "expert_ffn"),
    Key("expert_shared_feed_forward_length", "uint32", "shared_ffn"),
)

QWEN2_MOE = replace(
    QWEN2,
    name="qwen2moe",
    rules=AS_USUAL,
    title="Qwen2-MoE",
    model_type="qwen2_moe",
    classes=("Qwen2MoeForCausalLM",),
    defaults={
        "layers": 24,
        "context": 32_768,
        "width": 2048,
        "heads": 16,
        "kv_heads": 16,
        "ffn": 5632,
        "vocab": 151_936,
        "rms_eps": 1e-6,
        "experts": 60,
        "experts_used": 4,
        "expert_ffn": 1408,
        "shared_ffn": 5632,
    },
    weights=(*outer(output=OWN_OUTPUT), *NORMS, *BIASED, *ROUTED, *SHARED),
    keys=(*STANDARD, *EXPERT_SIZES),
    assumed=(*QWEN2.assumed, *EVERY_LAYER, Assumed("norm_topk_prob", (False,))),
    folds=None,
    runs=Computation(routing=Routing("softmax", normalized=False)),
)

# llama.cpp makes the weights of the chosen experts add up to one, as all published models do.
QWEN3_MOE = replace(
    QWEN2_MOE,
    name="qwen3moe",
    title="Qwen3-MoE",
    model_type="qwen3_moe",
    classes=("Qwen3MoeForCausalLM",),
    defaults={
        **QWEN2_MOE.defaults,
        "heads": 32,
        "kv_heads": 4,
        "ffn": 6144,
        "experts": 128,
        "experts_used": 8,
        "expert_ffn": 768,
        "shared_ffn": None,
    },
    weights=(*outer(), *NORMS, *attention(), *head_norms(), *ROUTED),
    assumed=(*QWEN2.assumed, *EVERY_LAYER, Assumed("norm_topk_prob", (True,))),
    runs=Computation(head_norm="head", routing=Routing("softmax", normalized=True)),
)
