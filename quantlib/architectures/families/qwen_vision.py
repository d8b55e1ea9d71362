"""What sees pictures in Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3.5. Source: conversion/qwenvl.py and qwen3vl.py."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from quantlib.architectures import vision
from quantlib.architectures.config import Config, count, listed, number
from quantlib.architectures.declaration import Architecture, Key, Weight
from quantlib.architectures.vision import MERGE, always, epsilon, moment, patches, third

WHERE: dict[str, Any] = {
    "prefixes": ("model.visual.", "thinker.visual.", "visual.", ""),
    "only": ("visual.", "model.visual.", "thinker.visual."),
    "theta": None,
}
SETTINGS = {
    **vision.SETTINGS,
    "layers": count("depth", low=1, high=1024),
    "heads": count("num_heads", low=1, high=2**16),
    "model_eps": number("model.rms_norm_eps", low=0.0, high=1.0),
    "text_eps": number("text.rms_norm_eps", low=0.0, high=1.0),
    "whole": listed("fullatt_block_indexes", low=0, high=1023),
    "deepstack": listed("deepstack_visual_indexes", low=0, high=1023),
    "places": count("num_position_embeddings", low=1, high=2**24),
    "embedded": count("hidden_size", low=1, high=2**24),
    "mlp_ratio": count("mlp_ratio", low=1, high=64),
}
DEFAULTS = {**vision.DEFAULTS, "merge": 2, "heads": 16, "embedded": None, "mlp_ratio": 4}
PATCHES = (
    patches("v.patch_embd", "patch_embed.proj", moment(0)),
    patches("v.patch_embd.weight.1", "patch_embed.proj.weight", moment(1), exact=True),
)


def _two(gguf: str, hf: str, *shape: str) -> Weight:
    return Weight(gguf, hf, shape, bias="needed")


ATTENTION = (
    Weight("v.blk.{}.attn_q", "blocks.{}.attn.qkv", ("width", "width"), third(0), bias="needed"),
    Weight("v.blk.{}.attn_k", "blocks.{}.attn.qkv", ("width", "width"), third(1), bias="needed"),
    Weight("v.blk.{}.attn_v", "blocks.{}.attn.qkv", ("width", "width"), third(2), bias="needed"),
    _two("v.blk.{}.attn_out", "blocks.{}.attn.proj", "width", "width"),
)
MERGER = (
    _two("mm.0", "merger.mlp.0", "merged", "merged"),
    _two("mm.2", "merger.mlp.2", "projection", "merged"),
)


def windows(config: Config) -> int | None:
    """One layer in so many sees the whole picture; None where they do not follow each other evenly."""
    whole = config.whole or ()
    first = whole[0] + 1 if whole else 0
    return int(first) if first and all(b - a == first for a, b in pairwise(whole)) else None


def uneven(config: Config) -> str | None:
    """A warning where llama.cpp cannot be told which layers see the whole picture."""
    if windows(config) is not None:
        return None
    return (
        "The layers that see the whole picture do not follow each other evenly, which no key of GGUF can say: "
        "llama.cpp will see otherwise than the model."
    )


QWEN2_5_VISION = Architecture(
    name=vision.NAME,
    title="Qwen2.5-VL's vision",
    model_type="qwen2_5_vl",
    classes=(),
    defaults={
        **DEFAULTS,
        "layers": 32, "width": 3584, "ffn": 3420, "patch": 14, "image_size": 560, "whole": (7, 15, 23, 31),
    },
    settings=SETTINGS,
    sizes=vision.sizes,
    weights=(
        *PATCHES,
        Weight("v.blk.{}.ln1", "blocks.{}.norm1", ("width",)),
        Weight("v.blk.{}.ln2", "blocks.{}.norm2", ("width",)),
        *ATTENTION,
        _two("v.blk.{}.ffn_gate", "blocks.{}.mlp.gate_proj", "ffn", "width"),
        _two("v.blk.{}.ffn_up", "blocks.{}.mlp.up_proj", "ffn", "width"),
        _two("v.blk.{}.ffn_down", "blocks.{}.mlp.down_proj", "width", "ffn"),
        Weight("v.post_ln", "merger.ln_q", ("width",)),
        *MERGER,
    ),
    keys=vision.keys(
        always("use_silu", True),
        Key("vision.n_wa_pattern", "uint32", windows),
        epsilon(lambda config: config.model_eps or 1e-6),
        projector="qwen2.5vl_merger",
    ),
    checks=(uneven,),
    **WHERE,
)  # fmt: skip

QWEN2_VISION = replace(
    QWEN2_5_VISION,
    title="Qwen2-VL's vision",
    model_type="qwen2_vl",
    defaults={**DEFAULTS, "layers": 32, "width": 1280, "ffn": 3584, "patch": 14, "image_size": 560},
    settings={
        **SETTINGS,
        "width": count("embed_dim", low=1, high=2**24),
        "ffn": count("hidden_size", low=1, high=2**24),  # what the converter writes, which is not what the layers have
    },
    sizes=lambda config: {**vision.sizes(config), "inner": config.width * config.mlp_ratio},
    weights=(
        *PATCHES,
        _two("v.blk.{}.ln1", "blocks.{}.norm1", "width"),
        _two("v.blk.{}.ln2", "blocks.{}.norm2", "width"),
        *ATTENTION,
        _two("v.blk.{}.ffn_up", "blocks.{}.mlp.fc1", "inner", "width"),
        _two("v.blk.{}.ffn_down", "blocks.{}.mlp.fc2", "width", "inner"),
        _two("v.post_ln", "merger.ln_q", "width"),
        *MERGER,
    ),
    keys=vision.keys(epsilon(lambda config: config.model_eps or 1e-6), projector="qwen2vl_merger"),
    checks=(),
)


def picture(found: dict[str, object]) -> int | None:
    """The side of the picture whose patches have places of their own."""
    places, patch = found["places"], found["patch"]
    return int(places**0.5 * patch) if isinstance(places, int) and isinstance(patch, int) else None


def deepstack(config: Config) -> list[bool]:
    """Which layers also go into the language model's first layers."""
    return [layer in (config.deepstack or ()) for layer in range(config.layers)]


def stacked(config: Config) -> list[tuple[int, int]]:
    """The layers that do, and where their weights stand."""
    return [(int(layer), at) for at, layer in enumerate(config.deepstack or ())]


def _deep(gguf: str, hf: str, *shape: str) -> Weight:
    return replace(_two(f"v.deepstack.{{}}.{gguf}", f"deepstack_merger_list.{{}}.{hf}", *shape), layers=stacked)


QWEN3_VISION = Architecture(
    name=vision.NAME,
    title="Qwen3-VL's vision",
    model_type="qwen3_vl",
    classes=(),
    defaults={
        **DEFAULTS,
        "layers": 27, "width": 1152, "ffn": 4304, "patch": 16, "places": 2304, "deepstack": (8, 16, 24),
        "image_size": picture,
    },
    settings=SETTINGS,
    sizes=lambda config: {**vision.sizes(config), "places": config.places, "3width": 3 * config.width},
    weights=(
        *PATCHES,
        Weight("v.position_embd", "pos_embed", ("places", "width")),
        _two("v.blk.{}.ln1", "blocks.{}.norm1", "width"),
        _two("v.blk.{}.ln2", "blocks.{}.norm2", "width"),
        Weight("v.blk.{}.attn_qkv", "blocks.{}.attn.qkv", ("3width", "width"), bias="needed"),
        _two("v.blk.{}.attn_out", "blocks.{}.attn.proj", "width", "width"),
        _two("v.blk.{}.ffn_up", "blocks.{}.mlp.linear_fc1", "ffn", "width"),
        _two("v.blk.{}.ffn_down", "blocks.{}.mlp.linear_fc2", "width", "ffn"),
        _deep("norm", "norm", "merged"),
        _deep("fc1", "linear_fc1", "merged", "merged"),
        _deep("fc2", "linear_fc2", "projection", "merged"),
        _two("v.post_ln", "merger.norm", "width"),
        _two("mm.0", "merger.linear_fc1", "merged", "merged"),
        _two("mm.2", "merger.linear_fc2", "projection", "merged"),
    ),
    keys=vision.keys(
        always("use_gelu", True),
        MERGE,
        epsilon(lambda config: config.text_eps or 1e-6),
        Key("vision.is_deepstack_layers", "array[bool]", deepstack),
        projector="qwen3vl_merger",
    ),
    **WHERE,
)  # fmt: skip
QWEN3_5_VISION = replace(
    QWEN3_VISION,
    title="Qwen3.5's vision",
    model_type="qwen3_5",
    defaults={key: value for key, value in QWEN3_VISION.defaults.items() if key != "deepstack"},
)
