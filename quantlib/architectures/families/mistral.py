"""Mistral 3 and Ministral 3. Source: conversion/mistral3.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.computation import Computation
from quantlib.architectures.declaration import Key
from quantlib.architectures.families.llama import LLAMA
from quantlib.architectures.families.pixtral import PIXTRAL
from quantlib.architectures.parts import usual
from quantlib.architectures.quantizing import AS_USUAL

MISTRAL3 = replace(
    LLAMA,
    name="mistral3",
    rules=AS_USUAL,
    generation=None,
    title="Mistral 3",
    model_type="mistral3",
    classes=("Mistral3ForConditionalGeneration",),
    defaults=usual(40, 5120, 32, 32_768, 131_072, 131_072, kv_heads=8, head_dim=128, rms_eps=1e-5),
    theta=1e9,
    prefixes=("model.language_model.", "language_model.model.", "language_model.", "model.", ""),
    ignored=("vision_tower.", "multi_modal_projector."),
    nested="text_config",
    sees=PIXTRAL,
    # The last two where the language half is Ministral 3's.
    keys=(
        *LLAMA.keys,
        Key("rope.scaling.yarn_log_multiplier", "float32", lambda config: config.rope.numbers.get("mscale_all_dim")),
        Key("attention.temperature_scale", "float32", lambda config: config.rope.numbers.get("llama_4_scaling_beta")),
    ),
    folds=None,
    runs=Computation(rotation="neighbours"),
)
MINISTRAL3 = replace(
    MISTRAL3,
    title="Ministral 3",
    model_type="ministral3",
    classes=("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration"),
    defaults=usual(34, 4096, 32, 14_336, 131_072, 262_144, kv_heads=8, head_dim=128, rms_eps=1e-5),
    theta=1e6,
    nested=None,
    sees=None,
)
