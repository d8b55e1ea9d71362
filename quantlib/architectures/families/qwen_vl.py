"""Qwen2.5-VL and Qwen3-VL, the half that writes. Source: conversion/qwenvl.py and qwen3vl.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quantlib.architectures.changes import Change, Shape
from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config, Setting
from quantlib.architectures.declaration import Key, Weight
from quantlib.architectures.families.qwen import QWEN2, QWEN3, QWEN3_MOE
from quantlib.architectures.families.qwen_vision import QWEN2_5_VISION, QWEN2_VISION, QWEN3_VISION
from quantlib.architectures.parts import STANDARD
from quantlib.architectures.quantizing import AS_USUAL

WHERE: dict[str, Any] = {
    "prefixes": ("model.language_model.", "language_model.model.", "language_model.", "thinker.model.", "model.", ""),
    "ignored": ("visual.", "model.visual."),
    "nested": "text_config",
    "folds": None,
}
QWEN2_5_VL = replace(
    QWEN2,
    name="qwen2vl",
    rules=AS_USUAL,
    title="Qwen2.5-VL",
    model_type="qwen2_5_vl",
    classes=("Qwen2_5_VLForConditionalGeneration",),
    defaults={
        **QWEN2.defaults,
        "layers": 80, "width": 8192, "heads": 64, "kv_heads": 8, "ffn": 29_568, "vocab": 152_064, "rms_eps": 1e-5,
    },
    theta=1_000_000.0,
    keys=STANDARD,
    **WHERE,
    sees=QWEN2_5_VISION,
    runs=Computation(),
)  # fmt: skip
QWEN2_VL = replace(
    QWEN2_5_VL,
    title="Qwen2-VL",
    model_type="qwen2_vl",
    classes=("Qwen2VLForConditionalGeneration", "Qwen2VLModel"),
    sees=QWEN2_VISION,
)
DEEPSTACK = Key(
    "n_deepstack_layers", "uint32", lambda config: len((config.vision or {}).get("deepstack_visual_indexes") or ())
)
VISION = {"vision": Setting(("vision_config",), kind="object")}
QWEN3_VL = replace(
    QWEN3,
    name="qwen3vl",
    title="Qwen3-VL",
    model_type="qwen3_vl",
    classes=("Qwen3VLForConditionalGeneration",),
    defaults={**QWEN3.defaults, "context": 128_000},
    settings=VISION,
    theta=500_000.0,
    keys=(*QWEN3.keys, DEEPSTACK),
    **WHERE,
    sees=QWEN3_VISION,
    runs=Computation(head_norm="head"),
)


def _turned(index: int) -> Change:
    """One half of the columns of each expert's fused matrix, which is stored as (in, out)."""

    def arrange(x: np.ndarray, shape: Shape, config: Config) -> np.ndarray:
        return x[:, index * shape[0] : (index + 1) * shape[0]].T

    return Change(source=lambda s, config: (s[0], s[2], 2 * s[1]), arrange=arrange, by_matrix=True)


TURNED = Change(source=lambda s, config: (s[0], s[2], s[1]), arrange=lambda x, s, config: x.T, by_matrix=True)
STORED = {"ffn_gate_exps": _turned(0), "ffn_up_exps": _turned(1), "ffn_down_exps": TURNED}


def _stored_turned(weight: Weight) -> Weight:
    """A stack of experts as this family stores it."""
    change = STORED.get(weight.gguf.removeprefix("blk.{}."))
    return weight if change is None else replace(weight, others=tuple(replace(o, change=change) for o in weight.others))


QWEN3_VL_MOE = replace(
    QWEN3_MOE,
    name="qwen3vlmoe",
    title="Qwen3-VL-MoE",
    model_type="qwen3_vl_moe",
    classes=("Qwen3VLMoeForConditionalGeneration",),
    defaults={
        **QWEN3_MOE.defaults,
        "context": 128_000, "heads": 16, "kv_heads": 16, "ffn": 5632, "experts": 60, "experts_used": 4,
        "expert_ffn": 1408, "head_dim": 128,
    },
    settings=VISION,
    theta=500_000.0,
    weights=tuple(_stored_turned(weight) for weight in QWEN3_MOE.weights),
    keys=(*QWEN3_MOE.keys, DEEPSTACK),
    **WHERE,
    sees=QWEN3_VISION,
    runs=QWEN3_MOE.runs,
)  # fmt: skip
