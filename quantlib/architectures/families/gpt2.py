"""GPT-2. Source: conversion/gpt2.py of llama.cpp."""

from __future__ import annotations

from quantlib.architectures.changes import TRANSPOSED, UNCHANGED, Change
from quantlib.architectures.computation import Computation
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Weight
from quantlib.architectures.parts import EPSILON, OUTPUT, SIZES


def _gpt2(gguf: str, hf: str, *shape: str, change: Change = UNCHANGED) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"h.{{}}.{hf}", shape, change, bias="needed")


GPT2 = Architecture(
    name="gpt2",
    title="GPT-2",
    model_type="gpt2",
    classes=("GPT2LMHeadModel",),
    defaults={
        "layers": 12,
        "context": 1024,
        "width": 768,
        "heads": 12,
        "ffn": lambda found: 4 * found["width"],
        "vocab": 50_257,
        "norm_eps": 1e-5,
        "tied": True,
    },
    theta=None,
    weights=(
        Weight("token_embd", "wte", ("vocab", "width")),
        Weight("position_embd", "wpe", ("context", "width")),
        Weight("output_norm", "ln_f", ("width",), bias="needed"),
        OUTPUT,
        _gpt2("attn_norm", "ln_1", "width"),
        _gpt2("attn_qkv", "attn.c_attn", "qkv", "width", change=TRANSPOSED),
        _gpt2("attn_output", "attn.c_proj", "width", "width", change=TRANSPOSED),
        _gpt2("ffn_norm", "ln_2", "width"),
        _gpt2("ffn_up", "mlp.c_fc", "ffn", "width", change=TRANSPOSED),
        _gpt2("ffn_down", "mlp.c_proj", "width", "ffn", change=TRANSPOSED),
    ),
    keys=(*SIZES, EPSILON, FILE_TYPE),
    assumed=(
        Assumed("activation_function", ("gelu_new", "gelu_pytorch_tanh")),
        Assumed("scale_attn_weights", (True,)),
        Assumed("scale_attn_by_inverse_layer_idx", (False,)),
        Assumed("add_cross_attention", (False,)),
    ),
    prefixes=("transformer.", ""),
    ignored=("h.{}.attn.bias", "h.{}.attn.masked_bias"),  # masks
    runs=Computation(norm="layer", rotation=None, activation="gelu", gated=False, fused_attention=True),
)
