"""gpt-oss: experts in MXFP4, attention with sinks. Source: conversion/gpt_oss.py of llama.cpp."""

from __future__ import annotations

from quantlib.architectures.changes import UNCHANGED, Change, every_other
from quantlib.architectures.computation import Computation, Routing
from quantlib.architectures.declaration import Architecture, Key, Source, Weight
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.parts import STANDARD, WINDOW, always, attention, outer, usual
from quantlib.architectures.rope import unknown_scaling

WHERE = "layers.{}.mlp.experts."


def _columns(index: int) -> Change:
    """Every other column of each expert's matrix, which is stored as (in, out)."""
    return Change(
        source=lambda s, config: (s[0], s[2], 2 * s[1]), arrange=lambda x, s, config: x[:, index::2].T, by_matrix=True
    )


TURNED = Change(source=lambda s, config: (s[0], s[2], s[1]), arrange=lambda x, s, config: x.T, by_matrix=True)


def _values(index: int) -> Change:
    """Every other value of each expert's bias."""
    return Change(source=lambda s, config: (s[0], 2 * s[1]), arrange=lambda x, s, config: x[:, index::2])


def _experts(gguf: str, hf: str, shape: tuple[str, ...], packed: Change, floats: Change) -> Weight:
    """A stack that is kept as its blocks of MXFP4 where it is stored so, or made of floats."""
    return Weight(
        f"blk.{{}}.{gguf}.weight",
        f"{WHERE}{hf}",
        shape,
        floats,
        others=(Source(f"{WHERE}{hf}", packed, packed=("_blocks", "_scales")),),
        exact=True,
    )


INNER = ("experts", "ffn", "width")
GPT_OSS = Architecture(
    name="gpt-oss",
    title="gpt-oss",
    model_type="gpt_oss",
    classes=("GptOssForCausalLM",),
    defaults=usual(
        36, 2880, 64, 2880, 201_088, 131_072,
        kv_heads=8, head_dim=64, rms_eps=1e-5, experts=128, experts_used=4, window=128,
    ),
    theta=150_000.0,
    weights=(
        *outer(),
        Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
        Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
        *attention(biased=always, output_biased=always),
        Weight("blk.{}.attn_sinks.weight", "layers.{}.self_attn.sinks", ("heads",), exact=True),
        Weight("blk.{}.ffn_gate_inp", "layers.{}.mlp.router", ("experts", "width"), bias="needed"),
        _experts("ffn_down_exps", "down_proj", ("experts", "width", "ffn"), UNCHANGED, TURNED),
        _experts("ffn_gate_exps", "gate_up_proj", INNER, every_other(0), _columns(0)),
        _experts("ffn_up_exps", "gate_up_proj", INNER, every_other(1), _columns(1)),
        Weight("blk.{}.ffn_down_exps.bias", f"{WHERE}down_proj_bias", ("experts", "width"), exact=True),
        Weight("blk.{}.ffn_gate_exps.bias", f"{WHERE}gate_up_proj_bias", ("experts", "ffn"), _values(0), exact=True),
        Weight("blk.{}.ffn_up_exps.bias", f"{WHERE}gate_up_proj_bias", ("experts", "ffn"), _values(1), exact=True),
    ),
    keys=(*STANDARD, WINDOW, Key("expert_feed_forward_length", "uint32", "ffn")),
    assumed=(SILU,),
    checks=(unknown_scaling,),
    global_every=2,
    runs=Computation(
        second_norm="post_attention_norm",
        activation="swiglu",
        routing=Routing("softmax of the chosen"),
        exact_yarn=True,
    ),
)  # fmt: skip
