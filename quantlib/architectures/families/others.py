"""ERNIE 4.5, Hunyuan, Exaone 4, Cohere 2, StarCoder2, GPT-NeoX and MiniMax M2, which have little of their own.

Source: conversion/ernie.py, hunyuan.py, exaone.py, command_r.py, starcoder.py, gptneox.py and minimax.py of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from quantlib.architectures.changes import Change, Shape, row_count
from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.config import Config, count, flag, number
from quantlib.architectures.declaration import Architecture, Assumed, Key, Tokenizer, Weight
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.parts import (
    EPSILON,
    FEED_FORWARD,
    NORMS,
    STANDARD,
    VOCAB_SIZE,
    WINDOW,
    attention,
    experts,
    head_norms,
    outer,
    sliding_pattern,
    unless_denied,
    untied,
    usual,
)
from quantlib.architectures.rope import llama3_factors, unknown_scaling

ERNIE = Architecture(
    name="ernie4_5",
    title="ERNIE 4.5",
    model_type="ernie4_5",
    classes=("Ernie4_5ForCausalLM",),
    defaults=usual(18, 1024, 16, 3072, 103_424, 131_072, kv_heads=2, head_dim=128, rms_eps=1e-5),
    theta=500_000.0,
    weights=(*outer(), *NORMS, *attention(), *FEED_FORWARD),
    keys=STANDARD,
    assumed=(SILU,),
    checks=(unknown_scaling,),
    prefixes=("model.", "ernie.", ""),
    tokenizer=Tokenizer(space_prefix="last"),
    runs=Computation(rotation="neighbours"),
)


def stretched_base(config: Config) -> float | None:
    """The base of rotary positions, raised by the model's own way to reach longer texts: base · alpha^(d / (d - 2))."""
    if config.rope.type not in ("dynamic", "xdrope"):
        return None
    d = config.head_width
    return config.rope.theta * config.rope.numbers.get("alpha", 50.0) ** (d / (d - 2))


def if_stretched(value: object, kinds: tuple[str, ...] = ("dynamic", "xdrope")) -> Callable[[Config], object]:
    """The value, in models whose positions are stretched in that way."""
    return lambda config: value if config.rope.type in kinds else None


NORMED = unless_denied("query_norms")
LONG = 256 * 1024
HUNYUAN = Architecture(
    name="hunyuan-dense",
    title="Hunyuan",
    model_type="hunyuan_v1_dense",
    classes=("HunYuanDenseV1ForCausalLM",),
    defaults=usual(32, 4096, 32, 11_008, 290_943, 2048, kv_heads=32, rms_eps=1e-5),
    weights=(
        *outer(),
        *NORMS,
        *attention(),
        Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.query_layernorm", ("head",), needed=False, there=NORMED),
        Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.key_layernorm", ("head",), needed=False, there=NORMED),
        *FEED_FORWARD,
    ),
    keys=(
        *STANDARD,
        Key("rope.freq_base", "float32", stretched_base),
        Key("rope.scaling.type", "string", if_stretched("none")),
        Key("rope.scaling.factor", "float32", if_stretched(1.0)),
        Key("rope.scaling.original_context_length", "uint32", if_stretched(LONG, ("dynamic",))),
        Key("context_length", "uint32", if_stretched(LONG, ("dynamic",))),
    ),
    assumed=(SILU,),
    checks=(),
    tokenizer=Tokenizer(pre={"deepseek-v3": "hunyuan-dense"}, ends=("eod_token_id",)),
    runs=Computation(head_norm="head", normed_after=True),
)
EXAONE4 = Architecture(
    name="exaone4",
    title="Exaone 4",
    model_type="exaone4",
    classes=("Exaone4ForCausalLM",),
    defaults=usual(32, 4096, 32, 16_384, 102_400, 2048, kv_heads=32, rms_eps=1e-5),
    weights=(
        *outer(),
        *attention(),
        *head_norms(),
        Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
        *FEED_FORWARD,
        Weight("blk.{}.post_ffw_norm", "layers.{}.post_feedforward_layernorm", ("width",)),
    ),
    keys=(*STANDARD, VOCAB_SIZE, WINDOW, sliding_pattern(4)),
    extra=llama3_factors,
    assumed=(SILU,),
    checks=(unknown_scaling,),
    global_every=4,
    tokenizer=Tokenizer(pre={"gpt-2": "exaone4"}),
    runs=Computation(norm_before=False, norm_after=True, head_norm="head", windows_rotate=True),
)
COHERE2 = Architecture(
    name="cohere2",
    title="Cohere 2",
    model_type="cohere2",
    classes=("Cohere2ForCausalLM",),
    defaults={
        **usual(40, 8192, 64, 22_528, 256_000, 8192, kv_heads=64, head_dim=128, window=4096),
        "rms_eps": None, "norm_eps": 1e-5, "logit_scale": 0.0625, "turning": 1.0,
    },
    settings={"logit_scale": number("logit_scale"), "turning": number("rotary_pct", low=0.0, high=1.0)},
    weights=(*outer()[:2], NORMS[0], *(replace(w, bias="none") for w in attention()), *FEED_FORWARD),
    keys=(
        *STANDARD,
        Key("logit_scale", "float32", "logit_scale"),
        WINDOW,
        VOCAB_SIZE,
        Key("rope.dimension_count", "uint32", lambda config: int(config.turning * (config.width // config.heads))),
        Key("rope.scaling.type", "string", lambda config: "none"),
    ),
    assumed=(SILU,),
    global_every=4,
    tokenizer=Tokenizer(pre={"smollm": "command-r"}),
    runs=Computation(norm="layer", parallel=True, rotation="neighbours", windows_rotate=True),
)  # fmt: skip


def _biased(gguf: str, hf: str, *shape: str) -> Weight:
    return Weight(gguf, hf, shape, bias="optional")


STARCODER2 = Architecture(
    name="starcoder2",
    title="StarCoder2",
    model_type="starcoder2",
    classes=("Starcoder2ForCausalLM",),
    defaults={**usual(30, 3072, 24, 12_288, 49_152, 4096, kv_heads=2, tied=True), "rms_eps": None, "norm_eps": 1e-5},
    weights=(
        outer()[0],
        _biased("output_norm", "norm", "width"),
        outer()[2],
        _biased("blk.{}.attn_norm", "layers.{}.input_layernorm", "width"),
        _biased("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm", "width"),
        *attention(),
        _biased("blk.{}.ffn_up", "layers.{}.mlp.c_fc", "ffn", "width"),
        _biased("blk.{}.ffn_down", "layers.{}.mlp.c_proj", "width", "ffn"),
    ),
    keys=STANDARD,
    checks=(unknown_scaling,),
    tokenizer=Tokenizer(pre={"smollm": "starcoder"}),
    runs=Computation(norm="layer", activation="gelu", gated=False),
)


def _by_part(shape: Shape, config: Config) -> np.ndarray:
    """All queries, then all keys, then all values, out of those of one head after the other."""
    return np.arange(row_count(shape)).reshape(config.heads, 3, -1).swapaxes(0, 1).reshape(-1)


NEOX = "layers.{}.attention"
GPT_NEOX = Architecture(
    name="gptneox",
    title="GPT-NeoX",
    model_type="gpt_neox",
    classes=("GPTNeoXForCausalLM",),
    defaults={
        **usual(44, 6144, 64, 24_576, 50_432, 2048),
        "rms_eps": None, "norm_eps": 1e-5, "turning": 0.25, "parallel": True,
    },
    settings={
        "turning": number("rotary_pct", "partial_rotary_factor", low=0.0, high=1.0),
        "parallel": flag("use_parallel_residual"),
    },
    weights=(
        Weight("token_embd", "embed_in", ("vocab", "width")),
        Weight("output", "embed_out", ("vocab", "width"), needed=False, there=untied),
        _biased("output_norm", "final_layer_norm", "width"),
        _biased("blk.{}.attn_norm", "layers.{}.input_layernorm", "width"),
        replace(_biased("blk.{}.attn_qkv", f"{NEOX}.query_key_value", "qkv", "width"), change=Change(rows=_by_part)),
        _biased("blk.{}.attn_output", f"{NEOX}.dense", "width", "width"),
        _biased("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm", "width"),
        _biased("blk.{}.ffn_up", "layers.{}.mlp.dense_h_to_4h", "ffn", "width"),
        _biased("blk.{}.ffn_down", "layers.{}.mlp.dense_4h_to_h", "width", "ffn"),
    ),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("embedding_length", "uint32", "width"),
        Key("block_count", "uint32", "layers"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("rope.dimension_count", "uint32", lambda config: int(config.turning * (config.width // config.heads))),
        Key("attention.head_count", "uint32", "heads"),
        Key("use_parallel_residual", "bool", "parallel"),
        EPSILON,
    ),
    assumed=(Assumed("hidden_act", ("gelu", "gelu_new", "gelu_fast")),),
    prefixes=("gpt_neox.", ""),
    ignored=("layers.{}.attention.bias", "layers.{}.attention.masked_bias", "layers.{}.attention.rotary_emb"),
    tokenizer=Tokenizer(pre={"gpt-2": "olmo"}),
    runs=Computation(
        norm="layer", parallel=True, activation="erf", gated=False, fused_attention=True
    ),
)  # fmt: skip
MINIMAX_M2 = Architecture(
    name="minimax-m2",
    title="MiniMax M2",
    model_type="minimax_m2",
    classes=("MiniMaxM2ForCausalLM",),
    defaults=usual(
        62, 3072, 48, 1536, 200_064, 196_608, kv_heads=8, head_dim=128, experts=256, experts_used=8, turning=64
    ),
    settings={"turning": count("rotary_dim", high=2**16)},
    theta=5_000_000.0,
    weights=(
        *outer(),
        *NORMS,
        *attention(),
        Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm", ("q",), needed=False, there=NORMED),
        Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm", ("kv",), needed=False, there=NORMED),
        *experts(
            "layers.{}.block_sparse_moe.gate",
            "layers.{}.block_sparse_moe.experts.{}",
            gate="w1",
            up="w3",
            down="w2",
            order="gate down up",
        ),
        Weight(
            "blk.{}.exp_probs_b.bias",
            "layers.{}.block_sparse_moe.e_score_correction_bias",
            ("experts",),
            needed=False,
            exact=True,
        ),
    ),
    keys=(
        *STANDARD,
        Key("expert_feed_forward_length", "uint32", "ffn"),
        Key("rope.dimension_count", "uint32", "turning"),
    ),
    assumed=(SILU,),
    checks=(unknown_scaling,),
    tokenizer=Tokenizer(pre={"gpt-4o": "minimax-m2"}),
    runs=Computation(head_norm="all", routing=Routing("sigmoid", normalized=True)),
)
