"""Qwen3-Next and Qwen3.5: three layers of linear attention (Gated DeltaNet) for each that attends, and a layer that
predicts further tokens (MTP). Source: conversion/qwen.py of llama.cpp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from quantlib.architectures.changes import PLUS_ONE, UNCHANGED, Change, Shape, minus_exp, row_count
from quantlib.architectures.computation import Computation, Delta, Routing
from quantlib.architectures.config import Config, count
from quantlib.architectures.declaration import Architecture, Assumed, Counted, Key, Layers, Weight
from quantlib.architectures.families.llama import SILU
from quantlib.architectures.families.qwen import EXPERT_SIZES, ROUTED, SHARED
from quantlib.architectures.families.qwen_vision import QWEN3_5_VISION
from quantlib.architectures.parts import (
    FEED_FORWARD,
    STANDARD,
    attention,
    head_norms,
    lacking_prediction,
    on,
    outer,
    partly_rotated,
    usual,
)
from quantlib.architectures.rope import unknown_scaling

EVERY = 4


def linear(config: Config) -> list[tuple[int, int]]:
    """The layers of linear attention."""
    return [(layer, layer) for layer, is_linear in enumerate(recurrent(config)) if is_linear and layer < config.layers]


def attending(config: Config) -> list[tuple[int, int]]:
    """The layers that attend to all tokens."""
    return [(n, n) for n, is_linear in enumerate(recurrent(config)) if not is_linear and n < config.layers]


def recurrent(config: Config) -> list[bool]:
    """Which layers are of linear attention; those that predict further tokens are not."""
    kinds = config.layer_types or [
        "full_attention" if (layer + 1) % (config.full_every or EVERY) == 0 else "linear_attention"
        for layer in range(config.layers)
    ]
    return [kind == "linear_attention" for kind in kinds] + [False] * (config.mtp or 0)


def predicting(config: Config) -> Iterable[tuple[int, int]]:
    """The layers that predict further tokens, which stand behind the others in GGUF."""
    return ((config.layers + n, n) for n in range(config.stored_mtp))


def first_predicting(config: Config) -> Iterable[tuple[int, int]]:
    """The first of them, if there is one."""
    return list(predicting(config))[:1]


def ahead(*weights: Weight) -> tuple[Weight, ...]:
    """The weights of a layer as they are called in one that predicts further tokens."""
    return tuple(
        replace(
            weight,
            hf=f"mtp.{weight.hf}",
            others=tuple(replace(other, hf=f"mtp.{other.hf}") for other in weight.others),
            layers=predicting,
        )
        for weight in weights
    )


def sizes(config: Config) -> dict[str, int]:
    """Sizes of linear attention: heads of queries and keys, of values, and what passes the convolution."""
    k, v = config.k_heads * config.k_dim, config.v_heads * config.v_dim
    return {
        "2q": 2 * config.sizes["q"],
        "conv": 2 * k + v,
        "kernel": config.kernel,
        "values": v,
        "value": config.v_dim,
        "v heads": config.v_heads,
        "2v heads": 2 * config.v_heads,
        "2width": 2 * config.width,
    }


def _grouped(config: Config) -> np.ndarray:
    """Rows of the fused projection of each key head, [q, k, v, z]: (key heads, rows)."""
    share = config.v_heads // config.k_heads * config.v_dim
    return np.arange(config.k_heads * 2 * (config.k_dim + share)).reshape(config.k_heads, -1)


def _queries_keys_values(shape: Shape, config: Config) -> np.ndarray:
    """All queries, then all keys, then all values, out of one group after the other."""
    k = config.k_dim
    share = config.v_heads // config.k_heads * config.v_dim
    parts = np.split(_grouped(config), np.cumsum([k, k, share]), axis=1)
    return np.concatenate([part.reshape(-1) for part in parts[:3]])


def _gates(shape: Shape, config: Config) -> np.ndarray:
    share = config.v_heads // config.k_heads * config.v_dim
    return _grouped(config)[:, -share:].reshape(-1)


def _fused(shape: Shape, config: Config) -> Shape:
    return (2 * (config.k_heads * config.k_dim + config.v_heads * config.v_dim), *shape[1:])


def tiled(config: Config, width: int) -> np.ndarray:
    """Value heads, each of so many rows, from one key head after the other to round after round of all key heads."""
    each = config.v_heads // config.k_heads
    return np.arange(config.v_heads * width).reshape(config.k_heads, each, width).swapaxes(0, 1).reshape(-1)


def _rows(width: int | str, before: bool = False) -> Change:
    """Rows that belong to value heads tiled; before: those of queries and keys stand before them, and stay."""

    def rows(shape: Shape, config: Config) -> np.ndarray:
        order = tiled(config, getattr(config, width) if isinstance(width, str) else width)
        start = row_count(shape) - len(order) if before else 0
        return np.concatenate([np.arange(start), start + order])

    return Change(rows=rows)


TILED_HEADS = _rows(1)
TILED_ROWS = _rows("v_dim")
TILED_BEHIND = _rows("v_dim", before=True)
TILED_CONVOLUTION = replace(TILED_BEHIND, source=lambda s, config: (s[0], 1, s[1]))
TILED_COLUMNS = Change(arrange=lambda x, s, config: x[:, tiled(config, config.v_dim)])
SQUEEZED = Change(source=lambda s, config: (s[0], 1, s[1]), rows=lambda s, config: np.arange(s[0]))

NORMS = (
    Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",), PLUS_ONE),
    Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",), PLUS_ONE),
)
GATED = (replace(attention()[0], shape=("2q", "width")), *attention()[1:])
ATTENTION = (*GATED, *head_norms(PLUS_ONE))


def _delta(gguf: str, hf: str, *shape: str, change: Change = UNCHANGED, exact: bool = False) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"layers.{{}}.linear_attn.{hf}", shape, change, exact=exact)


def _state(change: Change) -> tuple[Weight, ...]:
    """Decay and step of the state; change: the order of value heads."""
    return (
        _delta("ssm_a", "A_log", "v heads", change=replace(change, values=minus_exp), exact=True),
        _delta("ssm_dt.bias", "dt_bias", "v heads", change=change, exact=True),
        _delta("ssm_norm", "norm", "value"),
    )


NEXT_DELTA = (
    *_state(UNCHANGED),
    _delta("ssm_conv1d", "conv1d", "conv", "kernel", change=SQUEEZED),
    _delta("ssm_ba", "in_proj_ba", "2v heads", "width"),
    _delta("attn_qkv", "in_proj_qkvz", "conv", "width", change=Change(_fused, _queries_keys_values)),
    _delta("attn_gate", "in_proj_qkvz", "values", "width", change=Change(_fused, _gates)),
    _delta("ssm_out", "out_proj", "width", "values"),
)
DELTA = (
    *_state(TILED_HEADS),
    _delta("ssm_conv1d", "conv1d", "conv", "kernel", change=TILED_CONVOLUTION),
    _delta("ssm_alpha", "in_proj_a", "v heads", "width", change=TILED_HEADS),
    _delta("ssm_beta", "in_proj_b", "v heads", "width", change=TILED_HEADS),
    _delta("attn_qkv", "in_proj_qkv", "conv", "width", change=TILED_BEHIND),
    _delta("attn_gate", "in_proj_z", "values", "width", change=TILED_ROWS),
    _delta("ssm_out", "out_proj", "width", "values", change=TILED_COLUMNS),
)


def _next(gguf: str, hf: str, *shape: str, change: Change = UNCHANGED, layers: Layers = first_predicting) -> Weight:
    return Weight(f"blk.{{}}.nextn.{gguf}", f"mtp.{hf}", shape, change, layers=layers)


AHEAD = (
    _next("eh_proj", "fc", "width", "2width"),
    _next("shared_head_norm", "norm", "width", change=PLUS_ONE),
    _next("enorm", "pre_fc_norm_embedding", "width", change=PLUS_ONE),
    _next("hnorm", "pre_fc_norm_hidden", "width", change=PLUS_ONE),
)


def weights(delta: tuple[Weight, ...], forward: tuple[Weight, ...]) -> tuple[Weight, ...]:
    """All of a model with this linear attention and feed-forward."""
    layer = (*NORMS, *forward)
    return (
        *outer(PLUS_ONE),
        *layer,
        *on(linear, *delta),
        *on(attending, *ATTENTION),
        *ahead(*layer, *ATTENTION),
        *AHEAD,
    )


SETTINGS = {
    "kernel": count("linear_conv_kernel_dim", low=1, high=64),
    "k_heads": count("linear_num_key_heads", low=1, high=2**16),
    "v_heads": count("linear_num_value_heads", low=1, high=2**16),
    "k_dim": count("linear_key_head_dim", low=1, high=2**16),
    "v_dim": count("linear_value_head_dim", low=1, high=2**16),
    "full_every": count("full_attention_interval", low=1, high=1024),
    "mtp": count("mtp_num_hidden_layers", high=16),
}
PREDICTING = Counted(r"mtp\.layers\.(\d+)\.", stated=False)
LINEAR_KEYS = (
    Key("nextn_predict_layers", "uint32", lambda config: config.mtp or None),
    Key("ssm.conv_kernel", "uint32", "kernel"),
    Key("ssm.state_size", "uint32", "k_dim"),
    Key("ssm.group_count", "uint32", "k_heads"),
    Key("ssm.time_step_rank", "uint32", "v_heads"),
    Key("ssm.inner_size", "uint32", lambda config: config.v_dim * config.v_heads),
    Key("attention.recurrent_layers", "array[bool]", recurrent),
    Key("full_attention_interval", "uint32", lambda config: config.full_every or EVERY),
    partly_rotated(0.25),
)
DELTA_SIZES = {"kernel": 4, "k_dim": 128, "v_dim": 128, "k_heads": 16, "v_heads": 32, "head_dim": 256}
MIXED = (*ROUTED, *SHARED)

QWEN3_NEXT = Architecture(
    name="qwen3next",
    title="Qwen3-Next",
    model_type="qwen3_next",
    classes=("Qwen3NextForCausalLM",),
    defaults=usual(
        48, 2048, 16, 5632, 151_936, 32_768,
        kv_heads=2, experts=512, experts_used=10, expert_ffn=512, shared_ffn=512, **DELTA_SIZES,
    ),
    settings=SETTINGS,
    sizes=sizes,
    counted={"mtp": PREDICTING},
    weights=weights(NEXT_DELTA, MIXED),
    keys=(*STANDARD, *EXPERT_SIZES, *LINEAR_KEYS),
    assumed=(SILU, Assumed("norm_topk_prob", (True,)), Assumed("mlp_only_layers", ([],))),
    checks=(unknown_scaling, lacking_prediction),
    prefixes=("model.", ""),
    runs=Computation(
        second_norm="post_attention_norm",
        head_norm="head",
        gated_queries=True,
        delta=Delta(tiled=False, joined=True),
        routing=Routing("softmax", normalized=True),
    ),
)  # fmt: skip


def sections(config: Config) -> tuple[Key, ...]:
    """The coordinates of pictures, always written; where they are the model's usual ones, at the end."""
    return (Key("rope.dimension_sections", "array[int32]", lambda c: list(c.rope.sections) or [11, 11, 10, 0]),)


QWEN3_5 = Architecture(
    name="qwen35",
    title="Qwen3.5",
    model_type="qwen3_5",
    classes=("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
    defaults=usual(32, 4096, 16, 12_288, 248_320, 32_768, kv_heads=4, **DELTA_SIZES),
    settings=SETTINGS,
    sizes=sizes,
    counted={"mtp": PREDICTING},
    weights=weights(DELTA, FEED_FORWARD),
    keys=(*STANDARD, *LINEAR_KEYS, sections),
    assumed=(SILU,),
    checks=(unknown_scaling, lacking_prediction),
    prefixes=("model.language_model.", "language_model.model.", "language_model.", "model.", ""),
    ignored=("visual.", "model.visual."),
    nested="text_config",
    sees=QWEN3_5_VISION,
    runs=Computation(
        second_norm="post_attention_norm",
        head_norm="head",
        gated_queries=True,
        delta=Delta(),
        routing=Routing("softmax", normalized=True),
    ),
)
QWEN3_5_MOE = replace(
    QWEN3_5,
    name="qwen35moe",
    title="Qwen3.5-MoE",
    model_type="qwen3_5_moe",
    classes=("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"),
    defaults=usual(
        40, 2048, 16, None, 248_320, 32_768,
        kv_heads=2, experts=256, experts_used=8, expert_ffn=512, shared_ffn=512, **DELTA_SIZES,
    ),
    weights=weights(DELTA, MIXED),
    keys=(*STANDARD, *EXPERT_SIZES, *LINEAR_KEYS, sections),
)  # fmt: skip
QWEN3_5_TEXT = replace(QWEN3_5, model_type="qwen3_5_text", nested=None, sees=None)
QWEN3_5_MOE_TEXT = replace(QWEN3_5_MOE, model_type="qwen3_5_moe_text", nested=None, sees=None)
