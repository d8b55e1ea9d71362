"""What sees pictures in Gemma 4. Source: conversion/gemma.py of llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quantlib.architectures import vision
from quantlib.architectures.changes import Change, Shape
from quantlib.architectures.config import Config, count, number
from quantlib.architectures.declaration import Architecture, Weight
from quantlib.architectures.vision import epsilon, patches


def _channels_first(x: np.ndarray, shape: Shape, config: Config) -> np.ndarray:
    """Each patch lies row by row with its colours side by side; llama.cpp wants one colour after the other."""
    width, channels, patch, _ = shape
    return x.reshape(width, patch, patch, channels).transpose(0, 3, 1, 2)


FLAT = Change(source=lambda s, config: (s[0], s[1] * s[2] * s[3]), arrange=_channels_first)
# Matrices by GGUF's name, with the shape of each; of some models each has bounds for what goes in and comes out.
MATRICES: Mapping[str, tuple[str, tuple[str, str]]] = {
    "ffn_down": ("mlp.down_proj", ("width", "ffn")),
    "ffn_gate": ("mlp.gate_proj", ("ffn", "width")),
    "ffn_up": ("mlp.up_proj", ("ffn", "width")),
    "attn_k": ("self_attn.k_proj", ("kv", "width")),
    "attn_out": ("self_attn.o_proj", ("width", "q")),
    "attn_q": ("self_attn.q_proj", ("q", "width")),
    "attn_v": ("self_attn.v_proj", ("kv", "width")),
}
NORMS = {
    "ln1": ("input_layernorm", "width"),
    "attn_post_norm": ("post_attention_layernorm", "width"),
    "ffn_post_norm": ("post_feedforward_layernorm", "width"),
    "ln2": ("pre_feedforward_layernorm", "width"),
    "attn_k_norm": ("self_attn.k_norm", "head"),
    "attn_q_norm": ("self_attn.q_norm", "head"),
}
BOUNDS = ("input_max", "input_min", "output_max", "output_min")
_LAYER = "vision_tower.encoder.layers.{}."


def _bounded(gguf: str, hf: str) -> tuple[Weight, ...]:
    """The bounds of a matrix, one number each."""
    return tuple(
        Weight(f"v.blk.{{}}.{gguf}.{bound}", f"{_LAYER}{hf}.{bound}", ("one",), exact=True, needed=False)
        for bound in BOUNDS
    )


def unheard(config: Config) -> str | None:
    """A note where the model also hears."""
    return "What hears is left out: only what sees pictures is converted." if config.audio else None


GEMMA4_VISION = Architecture(
    name=vision.NAME,
    title="Gemma 4's vision",
    model_type="gemma4",
    classes=(),
    defaults={
        **vision.DEFAULTS,
        "layers": 16, "width": 768, "heads": 12, "kv_heads": 12, "head_dim": 64, "ffn": 3072, "patch": 16,
        "places": 10_240, "image_size": 224,  # which nobody reads
    },
    settings={
        **vision.SETTINGS,
        "image_size": count(),
        "places": count("position_embedding_size", low=1, high=2**20),
        "norm_eps": number("layer_norm_eps", low=0.0, high=1.0),
        "audio": count("model.audio_config.hidden_size"),
    },
    sizes=lambda config: {**vision.sizes(config), "places": config.places, "axes": 2},
    theta=None,
    weights=(
        Weight("mm.input_projection", "embed_vision.embedding_projection", ("projection", "width")),
        *(Weight(f"v.blk.{{}}.{gguf}", f"{_LAYER}{hf}", (size,)) for gguf, (hf, size) in NORMS.items()),
        *(Weight(f"v.blk.{{}}.{gguf}", f"{_LAYER}{hf}.linear", shape) for gguf, (hf, shape) in MATRICES.items()),
        *(bound for gguf, (hf, _) in MATRICES.items() for bound in _bounded(gguf, hf)),
        Weight("v.blk.{}.out_scale.weight", f"{_LAYER}layer_scalar", ("one",), exact=True, needed=False),
        Weight("v.std_bias", "vision_tower.std_bias", ("width",), exact=True, needed=False),
        Weight("v.std_scale", "vision_tower.std_scale", ("width",), exact=True, needed=False),
        patches("v.patch_embd", "vision_tower.patch_embedder.input_proj", FLAT),
        Weight(
            "v.position_embd.weight",
            "vision_tower.patch_embedder.position_embedding_table",
            ("axes", "places", "width"),
            exact=True,
        ),
    ),
    keys=vision.keys(
        epsilon(lambda config: config.norm_eps or 1e-6),
        projector="gemma4v",
        own=True,
    ),
    checks=(unheard,),
    prefixes=("model.", ""),
    only=("model.vision_tower.", "vision_tower.", "model.embed_vision.", "embed_vision."),
)  # fmt: skip
