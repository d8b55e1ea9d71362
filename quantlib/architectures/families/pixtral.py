"""Pixtral, which sees pictures in Mistral 3. Source: conversion/llava.py of llama.cpp."""

from __future__ import annotations

import numpy as np

from quantlib.architectures import vision
from quantlib.architectures.changes import UNCHANGED, Change, permuted
from quantlib.architectures.config import Config, count
from quantlib.architectures.declaration import Architecture, Assumed, Key, Weight
from quantlib.architectures.vision import MERGE, epsilon, patches

BREAK = "[IMG_BREAK]"  # the token that stands after each row of patches: llama.cpp wants its vector in this file
USES = {"silu": "use_silu", "gelu": "use_gelu"}
BREAKING = Change(
    source=lambda s, config: (config.vocab, s[0]),
    rows=lambda s, config: np.array([config.broken]),
)


def _flag(name: str) -> Key:
    return Key(name, "bool", lambda config: USES.get(config.activation) == name or None)


def broken(config: Config) -> list[tuple[int, int]]:
    """Once, where the tokenizer has the token."""
    return [(0, 0)] if config.broken else []


def unbroken(config: Config) -> str | None:
    """A warning where it has not."""
    if config.broken:
        return None
    return f"The tokenizer has no {BREAK}, whose vector llama.cpp wants in this file: it will refuse to load it."


def _layer(gguf: str, hf: str, *shape: str, change: Change = UNCHANGED) -> Weight:
    return Weight(f"v.blk.{{}}.{gguf}", f"vision_tower.transformer.layers.{{}}.{hf}", shape, change, bias="optional")


PIXTRAL = Architecture(
    name=vision.NAME,
    title="Pixtral",
    model_type="mistral3",
    classes=(),
    defaults={
        **vision.DEFAULTS,
        "layers": 24, "width": 1024, "heads": 16, "ffn": 4096, "patch": 14, "image_size": 1540, "norm_eps": 1e-5,
        "merge": 2, "activation": "gelu",
    },
    settings={
        **vision.SETTINGS,
        "merge": count("model.spatial_merge_size", low=1, high=64),
        "norm_eps": vision.LAYER_NORM,
        "vocab": count("text.vocab_size", low=1, high=2**22),
        "broken": count(f"token.{BREAK}", high=2**22),
    },
    sizes=vision.sizes,
    theta=None,
    weights=(
        Weight(
            "v.token_embd.img_break",
            "embed_tokens.weight",
            ("projection",),
            BREAKING,
            exact=True,
            layers=broken,
        ),
        Weight("mm.1", "multi_modal_projector.linear_1", ("projection", "width"), bias="optional"),
        Weight("mm.2", "multi_modal_projector.linear_2", ("projection", "projection"), bias="optional"),
        Weight("mm.input_norm", "multi_modal_projector.norm", ("width",)),
        Weight(
            "mm.patch_merger",
            "multi_modal_projector.patch_merger.merging_layer",
            ("width", "merged"),
            stored=vision.as_patches,
        ),
        Weight("v.pre_ln", "vision_tower.ln_pre", ("width",)),
        patches("v.patch_embd", "vision_tower.patch_conv", UNCHANGED),
        _layer("attn_k", "attention.k_proj", "q", "width", change=permuted("heads")),
        _layer("attn_out", "attention.o_proj", "width", "q"),
        _layer("attn_q", "attention.q_proj", "q", "width", change=permuted("heads")),
        _layer("attn_v", "attention.v_proj", "q", "width"),
        _layer("ln1", "attention_norm", "width"),
        _layer("ffn_down", "feed_forward.down_proj", "width", "ffn"),
        _layer("ffn_gate", "feed_forward.gate_proj", "ffn", "width"),
        _layer("ffn_up", "feed_forward.up_proj", "ffn", "width"),
        _layer("ln2", "ffn_norm", "width"),
    ),
    keys=vision.keys(
        epsilon(lambda config: config.norm_eps),
        _flag("use_silu"),
        _flag("use_gelu"),
        MERGE,
        projector="pixtral",
    ),
    assumed=(Assumed("hidden_act", tuple(USES)), Assumed("model_type", ("pixtral",))),
    checks=(unbroken,),
    prefixes=("model.language_model.", "language_model.model.", "language_model.", "model.", ""),
    only=(
        "vision_tower.",
        "model.vision_tower.",
        "multi_modal_projector.",
        "model.multi_modal_projector.",
        "language_model.model.embed_tokens.",
        "model.language_model.embed_tokens.",
    ),
    tokens=(BREAK,),
)  # fmt: skip
