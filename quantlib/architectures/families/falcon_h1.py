"""Falcon-H1: attention and a Mamba 2 mixer side by side, with multipliers that become part of the weights.

Source: conversion/falcon_h1.py of llama.cpp, but for the output matrix of a model that shares its embedding: the
multiplier of each differs, so GGUF gets one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from quantlib.architectures.changes import Change, scaled
from quantlib.architectures.config import Config, count, listed, number
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Key, Source, Tokenizer, Weight
from quantlib.architectures.families.llama import SILU, even_share
from quantlib.architectures.families.mamba import mixer, mixer_sizes
from quantlib.architectures.keeping import Keeping
from quantlib.architectures.parts import RMS_EPSILON, VOCAB_SIZE, attention, usual


def multiplied(*factors: Callable[[Config], float]) -> Change:
    """Numbers multiplied with one factor after the other, in this order."""

    def values(x: np.ndarray, rows: np.ndarray, config: Config) -> np.ndarray:
        for factor in factors:
            x = x * x.dtype.type(factor(config))
        return x

    return Change(values=values)


def _mixed(x: np.ndarray, rows: np.ndarray, config: Config) -> np.ndarray:
    """The multiplier of all, and then that of each of the five parts that the mixer's input is made into."""
    width, state = config.inner, config.ssm_groups * config.state
    starts = np.cumsum([width, width, state, state])
    parts = np.searchsorted(starts, rows, side="right")
    each = np.array(config.ssm_multipliers, x.dtype)[parts]
    return x * x.dtype.type(config.ssm_in) * each[:, None]


def _attended(config: Config) -> float:
    return config.attention_in


CHANGES = {
    "attn_q": multiplied(_attended),
    "attn_k": multiplied(lambda config: config.key_scale, _attended),
    "attn_v": multiplied(_attended),
    "attn_output": scaled(lambda config: config.attention_out),
    "ssm_out": scaled(lambda config: config.ssm_out),
    "ssm_in": Change(values=_mixed),
}


def with_multipliers(*weights: Weight) -> tuple[Weight, ...]:
    """The weights with the multipliers of their kind."""
    named = ((weight, CHANGES.get(weight.gguf.removeprefix("blk.{}."))) for weight in weights)
    return tuple(weight if change is None else replace(weight, change=change) for weight, change in named)


HEAD = scaled(lambda config: config.head_scale)
FALCON_H1 = Architecture(
    name="falcon-h1",
    title="Falcon-H1",
    model_type="falcon_h1",
    classes=("FalconH1ForCausalLM",),
    defaults={
        **usual(32, 4096, 32, 14_336, 128_000, 8192, kv_heads=8, rms_eps=1e-5),
        "head_dim": even_share, "inner": 1024, "ssm_heads": 128, "ssm_head": 8, "ssm_groups": 1, "state": 256,
        "kernel": 4, "attention_in": 1.0, "attention_out": 1.0, "key_scale": 1.0, "ssm_in": 1.0, "ssm_out": 1.0,
        "head_scale": 1.0, "embedding_scale": 1.0, "mlp_scales": (1.0, 1.0), "ssm_multipliers": (1.0,) * 5,
    },
    settings={
        "inner": count("mamba_d_ssm", low=1, high=2**24),
        "ssm_heads": count("mamba_n_heads", low=1, high=2**16),
        "ssm_head": count("mamba_d_head", low=1, high=2**16),
        "ssm_groups": count("mamba_n_groups", low=1, high=2**16),
        "state": count("mamba_d_state", low=1, high=2**16),
        "kernel": count("mamba_d_conv", low=1, high=64),
        "attention_in": number("attention_in_multiplier"),
        "attention_out": number("attention_out_multiplier"),
        "key_scale": number("key_multiplier"),
        "ssm_in": number("ssm_in_multiplier"),
        "ssm_out": number("ssm_out_multiplier"),
        "head_scale": number("lm_head_multiplier"),
        "embedding_scale": number("embedding_multiplier"),
        "mlp_scales": listed("mlp_multipliers"),
        "ssm_multipliers": listed("ssm_multipliers"),
    },
    sizes=lambda config: mixer_sizes(
        config.inner, config.state, config.ssm_groups, config.ssm_heads, config.kernel
    ),
    weights=(
        Weight("token_embd", "embed_tokens", ("vocab", "width"), scaled(lambda config: config.embedding_scale)),
        Weight("output_norm", "final_layernorm", ("width",)),
        Weight("output", "lm_head", ("vocab", "width"), HEAD, others=(Source("embed_tokens", HEAD),)),
        Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
        *with_multipliers(*attention(), *mixer("layers.{}.mamba", norm=None)),
        Weight("blk.{}.ffn_norm", "layers.{}.pre_ff_layernorm.weight", ("width",), exact=True),
        Weight(
            "blk.{}.ffn_gate",
            "layers.{}.feed_forward.gate_proj",
            ("ffn", "width"),
            scaled(lambda config: config.mlp_scales[0]),
        ),
        Weight("blk.{}.ffn_up", "layers.{}.feed_forward.up_proj", ("ffn", "width")),
        Weight(
            "blk.{}.ffn_down",
            "layers.{}.feed_forward.down_proj",
            ("width", "ffn"),
            scaled(lambda config: config.mlp_scales[1]),
        ),
    ),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("embedding_length", "uint32", "width"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("attention.head_count", "uint32", "heads"),
        Key("block_count", "uint32", "layers"),
        Key("ssm.conv_kernel", "uint32", "kernel"),
        Key("ssm.inner_size", "uint32", "inner"),
        Key("ssm.state_size", "uint32", "state"),
        Key("ssm.time_step_rank", "uint32", lambda config: config.inner // config.ssm_head),
        Key("ssm.group_count", "uint32", "ssm_groups"),
        RMS_EPSILON,
        FILE_TYPE,
        VOCAB_SIZE,
        Key("attention.head_count_kv", "uint32", "groups"),
        Key("attention.key_length", "uint32", "head_width"),
        Key("attention.value_length", "uint32", "head_width"),
        Key("rope.freq_base", "float32", lambda config: config.rope.theta),
    ),
    assumed=(SILU,),
    tokenizer=Tokenizer(pre={"llama-bpe": "falcon-h1", "dbrx": "falcon-h1"}),
    keeps=Keeping(state="beside"),
)  # fmt: skip
