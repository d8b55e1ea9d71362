"""Phi-3. Source: conversion/phi.py of llama.cpp."""

from __future__ import annotations

from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Key, Tokenizer, Weight
from quantlib.architectures.families.llama import SILU, all_heads
from quantlib.architectures.keeping import Keeping
from quantlib.architectures.parts import FREQUENCY, NORMS, RMS_EPSILON, outer, window_ignored
from quantlib.architectures.rope import longrope_attention, longrope_factors, unknown_scaling


# Query, key and value lie in one matrix, gate and up too: llama.cpp keeps both together.
def rotated(config: Config) -> int:
    """How many values of a head turn with their position."""
    return int((1.0 if config.rope.partial is None else config.rope.partial) * config.width) // config.heads


PHI3 = Architecture(
    name="phi3",
    title="Phi-3",
    model_type="phi3",
    classes=("Phi3ForCausalLM",),
    defaults={
        "layers": 32,
        "context": 4096,
        "width": 3072,
        "heads": 32,
        "kv_heads": all_heads,
        "ffn": 8192,
        "vocab": 32_064,
        "rms_eps": 1e-5,
    },
    weights=(
        *outer(),
        *NORMS,
        Weight("blk.{}.attn_qkv", "layers.{}.self_attn.qkv_proj", ("qkv", "width")),
        Weight("blk.{}.attn_output", "layers.{}.self_attn.o_proj", ("width", "q")),
        Weight("blk.{}.ffn_up", "layers.{}.mlp.gate_up_proj", ("gate and up", "width")),
        Weight("blk.{}.ffn_down", "layers.{}.mlp.down_proj", ("width", "ffn")),
    ),
    early=(Key("rope.scaling.attn_factor", "float32", longrope_attention),),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("rope.scaling.original_context_length", "uint32", lambda c: c.rope.original_context or 4096),
        Key("embedding_length", "uint32", "width"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("block_count", "uint32", "layers"),
        Key("attention.head_count", "uint32", "heads"),
        Key("attention.head_count_kv", "uint32", "kv_heads"),
        RMS_EPSILON,
        Key(
            "rope.dimension_count",
            "uint32",
            rotated,
        ),
        FREQUENCY,
        FILE_TYPE,
        Key("attention.sliding_window", "uint32", lambda c: c.window or 0),  # 0 is what tells Phi-4 from Phi-3
    ),
    extra=longrope_factors,
    assumed=(SILU,),
    checks=(unknown_scaling, window_ignored),
    tokenizer=Tokenizer(json_tokens=True),
    runs=Computation(fused_attention=True, fused_gate=True),
    keeps=Keeping(whole=True),
)
