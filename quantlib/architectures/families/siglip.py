"""What sees pictures in Gemma 3: SigLIP, and one matrix into the language model. Source: conversion/gemma.py."""

from __future__ import annotations

from quantlib.architectures import vision
from quantlib.architectures.changes import PLUS_ONE, UNCHANGED
from quantlib.architectures.config import Config, count
from quantlib.architectures.declaration import Architecture, Key, Source, Weight
from quantlib.architectures.vision import always, epsilon, patches

USUAL_SCALE = 4  # patches along a side that become one, which needs no key


def scale(config: Config) -> int | None:
    """How many patches along a side become one, where it is not the usual number."""
    side = int((config.tokens if config.tokens is not None else 256) ** 0.5)
    found = config.image_size // config.patch // side if side else 0
    return found if found > 0 and found != USUAL_SCALE else None


def _two(gguf: str, hf: str, *shape: str) -> Weight:
    return Weight(gguf, f"vision_model.{hf}", shape, bias="needed")


_LAYER = "encoder.layers.{}."
SIGLIP = Architecture(
    name=vision.NAME,
    title="Gemma 3's vision",
    model_type="gemma3",
    classes=(),
    defaults={
        **vision.DEFAULTS,
        "layers": 12, "width": 768, "heads": 12, "ffn": 3072, "patch": 16, "image_size": 224, "norm_eps": 1e-6,
    },
    settings={**vision.SETTINGS, "norm_eps": vision.LAYER_NORM, "tokens": count("preprocessor.image_seq_length")},
    sizes=lambda config: {**vision.sizes(config), "places": (config.image_size // config.patch) ** 2},
    theta=None,
    weights=(
        # The matrix is read across in llama.cpp, which it can do in FP16 only.
        Weight(
            "mm.input_projection.weight",
            "multi_modal_projector.mm_input_projection_weight",
            ("width", "projection"),
            exact=True,
            others=(Source("multi_modal_projector.mm_input_projection", UNCHANGED),),
            stored=lambda asked: "FP16",
        ),
        Weight("mm.soft_emb_norm", "multi_modal_projector.mm_soft_emb_norm", ("width",), PLUS_ONE),
        patches("v.patch_embd", "vision_model.embeddings.patch_embedding", UNCHANGED),
        Weight("v.position_embd", "vision_model.embeddings.position_embedding", ("places", "width")),
        _two("v.blk.{}.ln1", f"{_LAYER}layer_norm1", "width"),
        _two("v.blk.{}.ln2", f"{_LAYER}layer_norm2", "width"),
        _two("v.blk.{}.ffn_up", f"{_LAYER}mlp.fc1", "ffn", "width"),
        _two("v.blk.{}.ffn_down", f"{_LAYER}mlp.fc2", "width", "ffn"),
        _two("v.blk.{}.attn_k", f"{_LAYER}self_attn.k_proj", "width", "width"),
        _two("v.blk.{}.attn_out", f"{_LAYER}self_attn.out_proj", "width", "width"),
        _two("v.blk.{}.attn_q", f"{_LAYER}self_attn.q_proj", "width", "width"),
        _two("v.blk.{}.attn_v", f"{_LAYER}self_attn.v_proj", "width", "width"),
        _two("v.post_ln", "post_layernorm", "width"),
    ),
    keys=vision.keys(
        epsilon(lambda config: config.norm_eps),
        always("use_gelu", True),
        Key("vision.projector.scale_factor", "uint32", scale),
        projector="gemma3",
    ),
    prefixes=("model.vision_tower.", "vision_tower.", "model.", ""),
    only=("vision_tower.", "model.vision_tower.", "multi_modal_projector.", "model.multi_modal_projector."),
    ignored=("vision_model.head.",),
)  # fmt: skip
