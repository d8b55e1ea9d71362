"""LFM2: short convolutions in most layers, attention in some. Source: conversion/lfm2.py of llama.cpp."""

from __future__ import annotations

import numpy as np

from quantlib.architectures.changes import Change
from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config, count, flag, listed, number
from quantlib.architectures.declaration import Architecture, Key, Layers, Tokenizer, Weight
from quantlib.architectures.parts import STANDARD, VOCAB_SIZE, on, outer, usual
from quantlib.architectures.rope import unknown_scaling


def kinds(config: Config) -> list[bool]:
    """Which layers attend."""
    if config.layer_types is not None:
        return [kind != "conv" for kind in config.layer_types]
    return [layer in (config.attending or range(config.layers)) for layer in range(config.layers)]


def where(attends: bool) -> Layers:
    """The layers that attend, or the others."""
    return lambda config: [(layer, layer) for layer, each in enumerate(kinds(config)) if each == attends]


def forward(config: Config) -> int:
    """The width of the feed-forward part: what is stated, or two thirds of it, scaled and rounded up."""
    if not config.adjusted:
        return config.ffn
    width = int(2 * config.ffn / 3)
    if config.ffn_scale is not None:
        width = int(config.ffn_scale * width)
    return config.multiple * -(-width // config.multiple)


SQUEEZED = Change(source=lambda s, config: (s[0], 1, s[1]), rows=lambda s, config: np.arange(s[0]))
CONVOLUTION = (
    Weight("blk.{}.shortconv.conv", "layers.{}.conv.conv", ("width", "kernel"), SQUEEZED),
    Weight("blk.{}.shortconv.in_proj", "layers.{}.conv.in_proj", ("3width", "width"), bias="optional"),
    Weight("blk.{}.shortconv.out_proj", "layers.{}.conv.out_proj", ("width", "width"), bias="optional"),
)
ATTENTION = (
    Weight("blk.{}.attn_q", "layers.{}.self_attn.q_proj", ("q", "width")),
    Weight("blk.{}.attn_k", "layers.{}.self_attn.k_proj", ("kv", "width")),
    Weight("blk.{}.attn_v", "layers.{}.self_attn.v_proj", ("kv", "width")),
    Weight("blk.{}.attn_output", "layers.{}.self_attn.out_proj", ("width", "q")),
    Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.q_layernorm", ("head",)),
    Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.k_layernorm", ("head",)),
)
LFM2 = Architecture(
    name="lfm2",
    title="LFM2",
    model_type="lfm2",
    classes=("Lfm2ForCausalLM",),
    defaults=usual(
        32, 2560, 32, 12_288, 65_536, 128_000,
        kv_heads=8, rms_eps=1e-5, kernel=3, adjusted=True, ffn_scale=1.0, multiple=256, tied=True,
    ),
    settings={
        "ffn": count("block_ff_dim", "intermediate_size", low=1, high=2**24),
        "rms_eps": number("norm_eps", "block_norm_eps", low=0.0, high=1.0),
        "kernel": count("conv_L_cache", low=1, high=64),
        "attending": listed("full_attn_idxs", low=0, high=1023),
        "adjusted": flag("block_auto_adjust_ff_dim"),
        "ffn_scale": number("block_ffn_dim_multiplier", low=0.0, high=64.0),
        "multiple": count("block_multiple_of", low=1, high=2**20),
    },
    sizes=lambda config: {"kernel": config.kernel, "3width": 3 * config.width, "forward": forward(config)},
    theta=1_000_000.0,
    weights=(
        outer()[0],
        Weight("token_embd_norm", "embedding_norm", ("width",)),
        outer()[2],
        Weight("blk.{}.attn_norm", "layers.{}.operator_norm", ("width",)),
        Weight("blk.{}.ffn_norm", "layers.{}.ffn_norm", ("width",)),
        *on(where(False), *CONVOLUTION),
        *on(where(True), *ATTENTION),
        Weight("blk.{}.ffn_gate", "layers.{}.feed_forward.w1", ("forward", "width")),
        Weight("blk.{}.ffn_down", "layers.{}.feed_forward.w2", ("width", "forward")),
        Weight("blk.{}.ffn_up", "layers.{}.feed_forward.w3", ("forward", "width")),
    ),
    keys=(
        *STANDARD,
        Key("attention.head_count_kv", "array[int32]", lambda c: [c.groups if each else 0 for each in kinds(c)]),
        Key("feed_forward_length", "uint32", forward),
        VOCAB_SIZE,
        Key("shortconv.l_cache", "uint32", "kernel"),
    ),
    checks=(unknown_scaling,),
    tokenizer=Tokenizer(pre={"llama-bpe": "lfm2", "dbrx": "lfm2"}),
    runs=Computation(head_norm="head", convolved=True),
)  # fmt: skip
