"""Llama 4, the half that writes: experts beside one that every token uses. Source: conversion/llama.py of llama.cpp."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from quantlib.architectures.changes import Change, Shape
from quantlib.architectures.config import Config, count, listed
from quantlib.architectures.declaration import Key, Weight
from quantlib.architectures.families.llama import LLAMA
from quantlib.architectures.parts import NORMS, attention, on, outer, usual
from quantlib.architectures.quantizing import AS_USUAL


def mixed(config: Config) -> Iterable[tuple[int, int]]:
    """The layers with experts: one in so many, the last of each."""
    if config.moe_layers is not None:
        return ((int(layer), int(layer)) for layer in config.moe_layers if int(layer) < config.layers)
    step = config.step
    return ((layer, layer) for layer in range(config.layers) if (layer + 1) % step == 0) if step else ()


def dense(config: Config) -> Iterable[tuple[int, int]]:
    """The others."""
    with_experts = {layer for layer, _ in mixed(config)}
    return ((layer, layer) for layer in range(config.layers) if layer not in with_experts)


def _half(index: int) -> Change:
    """One half of the columns of each expert's fused matrix, which is stored as (in, out)."""

    def arrange(x: np.ndarray, shape: Shape, config: Config) -> np.ndarray:
        return x[:, index * shape[0] : (index + 1) * shape[0]].T

    return Change(source=lambda s, config: (s[0], s[2], 2 * s[1]), arrange=arrange, by_matrix=True)


TURNED = Change(source=lambda s, config: (s[0], s[2], s[1]), arrange=lambda x, s, config: x.T, by_matrix=True)
WHERE = "layers.{}.feed_forward."
FUSED, INNER = f"{WHERE}experts.gate_up_proj", ("experts", "expert", "width")
OUTER = ("experts", "width", "expert")
EXPERTS = (
    Weight("blk.{}.ffn_gate_inp", f"{WHERE}router", ("experts", "width")),
    Weight("blk.{}.ffn_down_exps.weight", f"{WHERE}experts.down_proj", OUTER, TURNED, exact=True),
    Weight("blk.{}.ffn_gate_exps.weight", FUSED, INNER, _half(0), exact=True),
    Weight("blk.{}.ffn_up_exps.weight", FUSED, INNER, _half(1), exact=True),
    Weight("blk.{}.ffn_gate_shexp", f"{WHERE}shared_expert.gate_proj", ("expert", "width")),
    Weight("blk.{}.ffn_up_shexp", f"{WHERE}shared_expert.up_proj", ("expert", "width")),
    Weight("blk.{}.ffn_down_shexp", f"{WHERE}shared_expert.down_proj", ("width", "expert")),
)
DENSE = (
    Weight("blk.{}.ffn_gate", f"{WHERE}gate_proj", ("ffn", "width")),
    Weight("blk.{}.ffn_up", f"{WHERE}up_proj", ("ffn", "width")),
    Weight("blk.{}.ffn_down", f"{WHERE}down_proj", ("width", "ffn")),
)


def no_window(config: Config) -> int | None:
    """0, which tells llama.cpp that no layer has a window, where all see everything."""
    kinds = config.layer_types
    return 0 if kinds is not None and all(kind == "full_attention" for kind in kinds) else None


LLAMA4_TEXT = replace(
    LLAMA,
    name="llama4",
    rules=AS_USUAL,
    generation=None,
    title="Llama 4",
    model_type="llama4_text",
    classes=("Llama4ForCausalLM",),
    defaults=usual(
        48, 5120, 40, 16_384, 202_048, 131_072,
        kv_heads=8, head_dim=128, rms_eps=1e-5, experts=16, experts_used=1, expert=8192, step=1,
    ),
    settings={
        "ffn": count("intermediate_size_mlp", low=1, high=2**24),
        "expert": count("intermediate_size", low=1, high=2**24),
        "step": count("interleave_moe_layer_step", high=1024),
        "moe_layers": listed("moe_layers", low=0, high=1023),
    },
    sizes=lambda config: {"expert": config.expert},
    theta=500_000.0,
    weights=(*outer(), *NORMS, *attention(), *on(mixed, *EXPERTS), *on(dense, *DENSE)),
    keys=(
        *LLAMA.keys,
        Key("interleave_moe_layer_step", "uint32", "step"),
        Key("expert_feed_forward_length", "uint32", "expert"),
        Key("attention.sliding_window", "uint32", no_window),
    ),
    tokenizer=replace(LLAMA.tokenizer, space_prefix=None, vocab_size=False, pre={"gpt-4o": "llama4"}),
    runs=None,
    folds=None,
    global_every=4,
    window=8192,
)  # fmt: skip
LLAMA4 = replace(
    LLAMA4_TEXT,
    model_type="llama4",
    classes=("Llama4ForConditionalGeneration",),
    prefixes=("language_model.model.", "model.language_model.", "language_model.", "model.", ""),
    ignored=("vision_model.", "multi_modal_projector."),
    nested="text_config",
)
