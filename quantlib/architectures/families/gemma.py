"""Gemma 2 and the language half of Gemma 3: norms stored as their distance from 1. Source: conversion/gemma.py."""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.changes import PLUS_ONE
from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Key, Tokenizer, Weight
from quantlib.architectures.families.siglip import SIGLIP
from quantlib.architectures.parts import (
    FEED_FORWARD,
    FREQUENCY,
    HEADS,
    RMS_EPSILON,
    SIZES,
    WINDOW,
    attention,
    head_norms,
    outer,
    scaling_keys,
    usual,
)
from quantlib.architectures.rope import unknown_scaling

NORMS = (
    Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",), PLUS_ONE),
    Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",), PLUS_ONE),
    Weight("blk.{}.ffn_norm", "layers.{}.pre_feedforward_layernorm", ("width",), PLUS_ONE),
    Weight("blk.{}.post_ffw_norm", "layers.{}.post_feedforward_layernorm", ("width",), PLUS_ONE),
)
LARGEST = frozenset({46, 62})  # layers of the 27B models of Gemma 2 and 3


def other_attention_scale(config: Config) -> str | None:
    """A warning where the model divides attention by another number than llama.cpp takes for granted."""
    usual = config.width // config.heads if config.layers in LARGEST else config.head_width
    if config.query_scalar is None or config.query_scalar == usual:
        return None
    return (
        f"The model scales attention by the square root of {config.query_scalar:g} and llama.cpp by that of {usual}, "
        "which no key of GGUF changes: its answers will differ from the original's."
    )


def other_frequency(config: Config) -> float | None:
    """The base frequency, where it is not the one that llama.cpp takes for granted."""
    return None if config.rope.theta == 10_000.0 else config.rope.theta


GEMMA = Architecture(
    name="gemma",
    title="Gemma",
    model_type="gemma",
    classes=("GemmaForCausalLM",),
    defaults=usual(28, 3072, 16, 24_576, 256_000, 8192, kv_heads=16, head_dim=256),
    weights=(
        *outer(PLUS_ONE)[:2],
        NORMS[0],
        replace(NORMS[1], gguf="blk.{}.ffn_norm"),
        *attention(),
        *FEED_FORWARD,
    ),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("embedding_length", "uint32", "width"),
        Key("block_count", "uint32", "layers"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("attention.head_count", "uint32", "heads"),
        Key("attention.head_count_kv", "uint32", "groups"),
        RMS_EPSILON,
        *HEADS,
        FILE_TYPE,
    ),
    assumed=(Assumed("hidden_activation", ("gelu_pytorch_tanh", "gelu")),),
    checks=(unknown_scaling,),
    ignored=("lm_head.",),
    tokenizer=Tokenizer(space_prefix=False, ids=(("eot", 107),)),
    runs=Computation(activation="gelu", scaled_embedding=True),
)

GEMMA2_RUNS = Computation(norm_after=True, activation="gelu", scaled_embedding=True, wide_scale=frozenset({46}))
GEMMA2 = Architecture(
    name="gemma2",
    title="Gemma 2",
    model_type="gemma2",
    classes=("Gemma2ForCausalLM",),
    defaults={
        "layers": 26,
        "context": 8192,
        "width": 2304,
        "heads": 8,
        "kv_heads": 4,
        "head_dim": 256,
        "ffn": 9216,
        "vocab": 256_000,
        "rms_eps": 1e-6,
        "window": 4096,
        "attention_cap": 50.0,
        "final_cap": 30.0,
        "query_scalar": 256.0,
    },
    weights=(*outer(PLUS_ONE)[:2], *NORMS, *attention(), *FEED_FORWARD),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("embedding_length", "uint32", "width"),
        Key("block_count", "uint32", "layers"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("attention.head_count", "uint32", "heads"),
        Key("attention.head_count_kv", "uint32", "kv_heads"),
        RMS_EPSILON,
        *HEADS,
        FILE_TYPE,
        Key("attn_logit_softcapping", "float32", "attention_cap"),
        Key("final_logit_softcapping", "float32", "final_cap"),
        WINDOW,
        Key("rope.freq_base", "float32", other_frequency),
    ),
    assumed=(Assumed("hidden_activation", ("gelu_pytorch_tanh",)),),
    checks=(unknown_scaling, other_attention_scale),
    ignored=("lm_head.",),  # the embedding, which llama.cpp uses for the output
    tokenizer=Tokenizer(space_prefix=False),
    runs=GEMMA2_RUNS,
    global_every=2,
    window=4096,
)

GEMMA3 = replace(
    GEMMA2,
    name="gemma3",
    title="Gemma 3",
    model_type="gemma3_text",
    classes=("Gemma3ForCausalLM",),
    defaults={
        "layers": 26,
        "context": 131_072,
        "width": 2304,
        "heads": 8,
        "kv_heads": 4,
        "head_dim": 256,
        "ffn": 9216,
        "vocab": 262_208,
        "rms_eps": 1e-6,
        "window": 4096,
        "query_scalar": 256.0,
        "tied": True,
    },
    theta=1_000_000.0,
    weights=(*outer(PLUS_ONE), *NORMS, *attention(), *head_norms(PLUS_ONE), *FEED_FORWARD),
    keys=(
        *SIZES,
        scaling_keys,
        FREQUENCY,
        Key("rope.freq_base_swa", "float32", lambda config: config.rope.local_theta or 10_000.0),
        RMS_EPSILON,
        *HEADS,
        FILE_TYPE,
        Key("final_logit_softcapping", "float32", "final_cap"),
        WINDOW,
    ),
    assumed=(
        *GEMMA2.assumed,
        Assumed("use_bidirectional_attention", (False,)),
        Assumed("sliding_window_pattern", (6,)),
    ),
    ignored=(),
    runs=replace(GEMMA2_RUNS, head_norm="head", wide_scale=frozenset({62}), local_base=10_000.0),
    global_every=6,
    window=0,
)

# The whole of Gemma 3 sees pictures too; GGUF keeps what sees them in a file of its own.
GEMMA3_WHOLE = replace(
    GEMMA3,
    model_type="gemma3",
    classes=("Gemma3ForConditionalGeneration",),
    prefixes=("model.language_model.", "language_model.model.", "language_model.", "model.", ""),
    ignored=("vision_tower.", "multi_modal_projector."),
    nested="text_config",
    sees=SIGLIP,
)
