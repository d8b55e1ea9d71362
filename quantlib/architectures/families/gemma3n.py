"""Gemma 3n: inputs for each layer, layers that share keys and values. Source: conversion/gemma.py."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np

from quantlib.architectures.changes import Change
from quantlib.architectures.config import Config, Setting, count, listed
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Key, Source, Tokenizer, Weight
from quantlib.architectures.keeping import Keeping
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
    usual,
)

NORMS = (
    Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
    Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
    Weight("blk.{}.ffn_norm", "layers.{}.pre_feedforward_layernorm", ("width",)),
    Weight("blk.{}.post_ffw_norm", "layers.{}.post_feedforward_layernorm", ("width",)),
)


def there(config: Config) -> int:
    """Tokens that have rows of their own; pictures and sounds have none in these tables."""
    return min(config.vocab, config.own_vocab or config.vocab)


PADDED = Change(
    source=lambda s, config: (there(config), *s[1:]),
    rows=lambda s, config: np.where(np.arange(s[0]) < there(config), np.arange(s[0]), -1),
)


PER_LAYER = (
    Weight("per_layer_model_proj", "per_layer_model_projection", ("layers' inputs", "width")),
    Weight("per_layer_proj_norm", "per_layer_projection_norm", ("layer input",)),
    Weight("blk.{}.inp_gate", "layers.{}.per_layer_input_gate", ("layer input", "width")),
    Weight("blk.{}.proj", "layers.{}.per_layer_projection", ("width", "layer input")),
    Weight("blk.{}.post_norm", "layers.{}.post_per_layer_input_norm", ("width",)),
)
TABLE = Weight("per_layer_token_embd", "embed_tokens_per_layer", ("vocab", "layers' inputs"))


def sparsity(config: Config) -> list[float]:
    """How many deviations above the mean an activation must be to count, so that this share of them does not.

    sqrt(2) · erfinv(2 · share - 1), each step in float32.
    """
    return [float("-inf") if share == 0 else _deviations(np.float32(share)) for share in config.sparse]


def _deviations(share: np.float32) -> float:
    x = np.float32(2) * share - np.float32(1)
    inverse = np.float32(NormalDist().inv_cdf((float(x) + 1) / 2) / math.sqrt(2))
    return float(inverse * np.float32(math.sqrt(2)))


def windows(config: Config) -> list[bool]:
    """Which layers see a window only."""
    kinds = config.layer_types
    if kinds is None:
        return [(layer + 1) % 5 != 0 for layer in range(config.layers)]
    return [kind == "sliding_attention" for kind in kinds]


def each_forward(config: Config, layer: int) -> int:
    """The width of the feed-forward part of a layer."""
    return int(config.forward[min(layer, len(config.forward) - 1)])


def _altup(gguf: str, hf: str, *shape: str, **more: Any) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"layers.{{}}.{hf}", shape, **more)


STACK = ("other altups", "width", "width")
PREFIXES = ("model.language_model.", "language_model.model.", "language_model.", "model.", "")
SEEING = (
    "vision_tower.",
    "audio_tower.",
    "embed_vision.",
    "embed_audio.",
    "multi_modal_projector.",
    "vision_embedder.",
)
GEMMA3N_TEXT = Architecture(
    name="gemma3n",
    title="Gemma 3n",
    model_type="gemma3n_text",
    classes=("Gemma3nForCausalLM",),
    defaults={
        **usual(35, 2048, 8, None, 262_400, 32_768, kv_heads=2, head_dim=256, window=512, final_cap=30.0, tied=True),
        "forward": lambda found: (16_384,) * found["layers"], "own_vocab": 262_144,
        "layer_input": 256, "altups": 4, "altup": 0, "laurel": 64,
        "shared_kv": 15, "sparse": lambda found: ((0.95,) * 10 + (0.0,) * found["layers"])[: found["layers"]],
    },
    settings={
        "ffn": Setting((), kind="object"),
        "forward": listed("intermediate_size", low=1, high=2**24, each_layer=True),
        "own_vocab": count("vocab_size_per_layer_input", low=1, high=2**22),
        "layer_input": count("hidden_size_per_layer_input", low=1, high=2**20),
        "altups": count("altup_num_inputs", low=1, high=64),
        "altup": count("altup_active_idx", high=64),
        "laurel": count("laurel_rank", low=1, high=2**16),
        "shared_kv": count("num_kv_shared_layers", high=1024),
        "sparse": listed("activation_sparsity_pattern", low=0.0, high=0.999999, each_layer=True),
    },
    sizes=lambda config: {
        "layers' inputs": config.layers * config.layer_input,
        "layer input": config.layer_input,
        "altups": config.altups,
        "other altups": config.altups - 1,
        "altups²": config.altups**2,
        "laurel": config.laurel,
    },
    theta=1_000_000.0,
    weights=(
        replace(outer()[0], others=(Source("embed_tokens", PADDED),)),
        *outer()[1:],
        replace(TABLE, change=PADDED, others=(Source("embed_tokens_per_layer"),)),
        Weight("altup_proj", "altup_projections.{}", STACK, over="other altups"),
        Weight("altup_unembd_proj", "altup_unembed_projections.{}", STACK, over="other altups"),
        _altup("altup_correct_scale.weight", "altup.correct_output_scale", "width", exact=True),
        _altup("altup_correct_coef", "altup.correction_coefs", "altups", "altups"),
        _altup("altup_router", "altup.modality_router", "altups", "width"),
        _altup("altup_predict_coef", "altup.prediction_coefs", "altups²", "altups"),
        _altup("altup_router_norm", "altup.router_norm", "width"),
        _altup("laurel_l", "laurel.linear_left", "laurel", "width"),
        _altup("laurel_r", "laurel.linear_right", "width", "laurel"),
        _altup("laurel_post_norm", "laurel.post_laurel_norm", "width"),
        *NORMS,
        *attention(),
        *head_norms(),
        *(replace(w, shape=tuple(each_forward if s == "ffn" else s for s in w.shape)) for w in FEED_FORWARD),
        *PER_LAYER,
    ),
    keys=(
        *SIZES[:3],
        Key("feed_forward_length", "array[int32]", lambda config: [int(width) for width in config.forward]),
        *SIZES[4:],
        FREQUENCY,
        Key("rope.freq_base_swa", "float32", lambda config: config.rope.local_theta or 10_000.0),
        RMS_EPSILON,
        *HEADS,
        FILE_TYPE,
        Key("final_logit_softcapping", "float32", lambda config: config.final_cap or None),
        WINDOW,
        Key("altup.active_idx", "uint32", "altup"),
        Key("altup.num_inputs", "uint32", "altups"),
        Key("embedding_length_per_layer_input", "uint32", "layer_input"),
        Key("attention.shared_kv_layers", "uint32", "shared_kv"),
        Key("activation_sparsity_scale", "array[float32]", sparsity),
        Key("attention.sliding_window_pattern", "array[bool]", windows),
    ),
    assumed=(Assumed("hidden_activation", ("gelu_pytorch_tanh",)), Assumed("altup_num_inputs", (4,))),
    prefixes=PREFIXES,
    ignored=SEEING,
    global_every=5,
    keeps=Keeping(own=20),
    tokenizer=Tokenizer(space_prefix=False),
)  # fmt: skip
GEMMA3N = replace(
    GEMMA3N_TEXT, model_type="gemma3n", classes=("Gemma3nForConditionalGeneration",), nested="text_config"
)
