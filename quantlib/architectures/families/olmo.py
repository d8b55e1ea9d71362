"""OLMo 2 and OLMo 3. Source: conversion/olmo.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.computation import Computation
from quantlib.architectures.declaration import Architecture, Key, Weight
from quantlib.architectures.families.llama import SILU, all_heads
from quantlib.architectures.parts import (
    FEED_FORWARD,
    OWN_OUTPUT,
    SLIDING_FREQUENCY,
    STANDARD,
    WINDOW,
    attention,
    outer,
    sliding_pattern,
)
from quantlib.architectures.rope import unknown_scaling

OLMO2 = Architecture(
    name="olmo2",
    title="OLMo 2",
    model_type="olmo2",
    classes=("Olmo2ForCausalLM",),
    defaults={
        "layers": 32,
        "context": 2048,
        "width": 4096,
        "heads": 32,
        "kv_heads": all_heads,
        "ffn": 11_008,
        "vocab": 50_304,
        "rms_eps": 1e-5,
    },
    weights=(
        *outer(output=OWN_OUTPUT),
        *attention(),
        Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm", ("q",)),
        Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm", ("kv",)),
        Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
        *FEED_FORWARD,
        Weight("blk.{}.post_ffw_norm", "layers.{}.post_feedforward_layernorm", ("width",)),
    ),
    keys=STANDARD,
    assumed=(SILU,),
    checks=(unknown_scaling,),
    runs=Computation(norm_before=False, norm_after=True, head_norm="all"),
    global_every=4,
)

SAME_FREQUENCY = Key("rope.freq_base_swa", "float32", lambda config: config.rope.local_theta or config.rope.theta)
# Three layers of four have a window, and positions that are not stretched; llama.cpp knows it as OLMo 2.
OLMO3 = replace(
    OLMO2,
    title="OLMo 3",
    model_type="olmo3",
    classes=("Olmo3ForCausalLM",),
    defaults={**OLMO2.defaults, "window": 4096},
    theta=500_000.0,
    keys=(
        *(SAME_FREQUENCY if key is SLIDING_FREQUENCY else key for key in STANDARD),
        WINDOW,
        sliding_pattern(4),
    ),
)
