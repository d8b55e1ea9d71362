"""Llama and the architectures that GGUF knows by its name or that are made like it.

Source: conversion/llama.py of llama.cpp; defaults of transformers' configurations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.declaration import Architecture, Assumed, Key, Tokenizer
from quantlib.architectures.parts import (
    FEED_FORWARD,
    FOLDS,
    NORMS,
    STANDARD,
    attention,
    experts,
    outer,
    window_ignored,
)
from quantlib.architectures.quantizing import AS_USUAL, Rules
from quantlib.architectures.rope import llama3_factors, unknown_scaling


def all_heads(found: dict[str, Any]) -> int:
    """As many key-value heads as heads."""
    return found["heads"]


def even_share(found: dict[str, Any]) -> int | None:
    """An equal share of the width for each head, where it divides."""
    return None if found["width"] % found["heads"] else found["width"] // found["heads"]


def generation(vocab: int, layers: int, ffn: int) -> str | None:
    """Which of the families that GGUF calls Llama a model of these sizes is; "" where several could be, None: others.

    Llama 2 and Mistral have vocabularies of one size, and other widths.
    """
    if vocab == 128_256:
        return "Llama-3"
    if vocab in (32_000, 32_001) and (layers, ffn) in ((32, 11_008), (40, 13_824), (80, 28_672)):
        return "Llama-2"
    if vocab in (32_000, 32_001, 32_768, 131_072):
        return "Mistral" if ffn in (14_336, 32_768, 28_672) else ""
    return None


SILU = Assumed("hidden_act", ("silu",))

LLAMA = Architecture(
    name="llama",
    title="Llama",
    model_type="llama",
    classes=("LlamaForCausalLM", "LlamaModel"),
    defaults={
        "layers": 32,
        "context": 2048,
        "width": 4096,
        "heads": 32,
        "kv_heads": all_heads,
        "head_dim": even_share,
        "ffn": 11_008,
        "vocab": 32_000,
        "rms_eps": 1e-6,
    },
    weights=(*outer(), *NORMS, *attention(interleaved=True), *FEED_FORWARD),
    keys=(
        *STANDARD,
        Key("vocab_size", "uint32", "vocab"),
        Key("rope.dimension_count", "uint32", "head_width"),
    ),
    extra=llama3_factors,
    assumed=(SILU,),
    checks=(unknown_scaling,),
    tokenizer=Tokenizer(space_prefix="config", vocab_size=True),
    runs=Computation(rotation="neighbours", routing=Routing("softmax", normalized=True)),
    folds=FOLDS,
    rules=Rules(seventy_b="shared"),
    generation=generation,
)

MISTRAL = replace(
    LLAMA,
    title="Mistral",
    model_type="mistral",
    classes=("MistralForCausalLM",),
    defaults={**LLAMA.defaults, "context": 131_072, "ffn": 14_336, "kv_heads": 8},
    checks=(unknown_scaling, window_ignored),
    config_window=True,
)

# The experts of Mixtral's own files are called w1 (gate), w3 (up) and w2 (down).
MIXTRAL = replace(
    MISTRAL,
    title="Mixtral",
    model_type="mixtral",
    classes=("MixtralForCausalLM",),
    defaults={**MISTRAL.defaults, "head_dim": None, "rms_eps": 1e-5, "experts": 8, "experts_used": 2},
    theta=1_000_000.0,
    config_window=False,
    folds=None,
    weights=(
        *outer(),
        *NORMS,
        *attention(interleaved=True),
        *experts(
            "layers.{}.block_sparse_moe.gate",
            "layers.{}.block_sparse_moe.experts.{}",
            gate="w1",
            up="w3",
            down="w2",
            order="gate down up",
        ),
    ),
)

# Every fourth layer has no positions, which llama.cpp knows of the architecture and no key says.
SMOLLM3 = replace(
    LLAMA,
    name="smollm3",
    title="SmolLM3",
    model_type="smollm3",
    classes=("SmolLM3ForCausalLM",),
    defaults={
        "layers": 36,
        "context": 32_768,
        "width": 2048,
        "heads": 16,
        "kv_heads": 4,
        "ffn": 11_008,
        "vocab": 128_256,
        "rms_eps": 1e-6,
        "tied": True,
    },
    theta=2_000_000.0,
    assumed=(SILU, Assumed("no_rope_layer_interval", (4,)), Assumed("use_sliding_window", (False,))),
    runs=Computation(rotation="neighbours", unrotated=4),
    folds=None,
    tokenizer=replace(LLAMA.tokenizer, pre={"llama-bpe": "smaug-bpe"}),
    rules=AS_USUAL,
    generation=None,
)
