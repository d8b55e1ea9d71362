"""Gemma 4: heads of two widths, inputs for each layer, layers that share keys and values.

Source: conversion/gemma.py of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from quantlib.architectures.computation import Computation
from quantlib.architectures.config import Config, Setting, count, flag
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Key, Size, Tokenizer, Weight
from quantlib.architectures.families.gemma3n import NORMS, PER_LAYER, PREFIXES, SEEING, TABLE
from quantlib.architectures.families.gemma4_vision import GEMMA4_VISION
from quantlib.architectures.parts import (
    FEED_FORWARD,
    FREQUENCY,
    RMS_EPSILON,
    SIZES,
    STANDARD,
    WINDOW,
    on,
    outer,
    usual,
)


def of_full(key: str, otherwise: str) -> Callable[[Config], int | None]:
    """A number of the layers that see everything, which per_layer_config or a key of its own states."""

    def value(config: Config) -> int | None:
        stated = getattr(config, otherwise)
        if stated is not None:
            return stated
        for layer, settings in (config.per_layer or {}).items():
            at = int(layer) if layer.isdecimal() else config.layers
            if at < config.layers and not windows4(config)[at] and isinstance(settings, dict):
                found = settings.get(key)
                if type(found) is int and 0 < found < 2**20:
                    return found
        return None

    return value


def windows4(config: Config) -> list[bool]:
    """Which layers of Gemma 4 see a window only."""
    kinds = config.layer_types
    if kinds is None:
        return [(layer + 1) % 6 != 0 for layer in range(config.layers)]
    return [kind == "sliding_attention" for kind in kinds]


_full_head, full_groups = of_full("head_dim", "global_head"), of_full("num_key_value_heads", "global_groups")


def full_head(config: Config) -> int:
    """Values of a head in layers that see everything."""
    return _full_head(config) or 2 * config.head_dim


def head_of(config: Config, layer: int) -> int:
    """Values of a head in this layer."""
    return config.head_dim if windows4(config)[layer] else full_head(config)


def groups_of(config: Config, layer: int) -> int:
    """Key-value heads of this layer."""
    return config.groups if windows4(config)[layer] else full_groups(config) or config.groups


def q_of(config: Config, layer: int) -> int:
    """Rows of the query projection of this layer."""
    return config.heads * head_of(config, layer)


def kv_of(config: Config, layer: int) -> int:
    """Rows of the key projection of this layer."""
    return groups_of(config, layer) * head_of(config, layer)


def first_shared(config: Config) -> int:
    """The first of the layers that take keys and values from one before."""
    return config.layers - (config.shared_kv or 0)


def forward_of(config: Config, layer: int) -> int:
    """The width of the feed-forward part: twice as wide in layers that share keys, where the model has it so."""
    return config.ffn * (2 if config.double_wide and layer >= first_shared(config) else 1)


def has_own_values(config: Config, layer: int) -> bool:
    """Whether a layer has a matrix for its values; those that see everything may take their keys."""
    return windows4(config)[layer] or config.keys_as_values is not True


def with_inputs(config: Config) -> Iterable[tuple[int, int]]:
    """All layers, where each has an input of its own."""
    return ((layer, layer) for layer in range(config.layers if config.layer_input else 0))


def with_experts(config: Config) -> Iterable[tuple[int, int]]:
    """All layers, where there are experts beside the feed-forward part."""
    return ((layer, layer) for layer in range(config.layers if config.experts else 0))


def _any(gguf: str, hf: str, *shape: str | Size, **more: Any) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"layers.{{}}.{hf}", shape, **more)


EXPERTS = (
    _any("ffn_gate_inp", "router.proj", "experts", "width"),
    _any("ffn_gate_inp.scale", "router.scale", "width", exact=True),
    _any("ffn_down_exps.scale", "router.per_expert_scale", "experts", exact=True),
    _any("ffn_gate_up_exps.weight", "experts.gate_up_proj", "experts", "2expert", "width", exact=True),
    _any("ffn_down_exps.weight", "experts.down_proj", "experts", "width", "expert ffn", exact=True),
    _any("post_ffw_norm_1", "post_feedforward_layernorm_1", "width"),
    _any("post_ffw_norm_2", "post_feedforward_layernorm_2", "width"),
    _any("pre_ffw_norm_2", "pre_feedforward_layernorm_2", "width"),
)
OWN_KEYS = (
    _any("attn_k", "self_attn.k_proj", kv_of, "width", needed=False),
    _any("attn_v", "self_attn.v_proj", kv_of, "width", needed=False, there=has_own_values),
    _any("attn_k_norm", "self_attn.k_norm", head_of, needed=False),
)


def proportional_factors(config: Config) -> dict[str, np.ndarray]:
    """rope_freqs.weight of layers that see everything: 1 for pairs that turn, 1e30, which stops them, for others."""
    half, partial = full_head(config) // 2, 0.25 if config.rope.partial is None else config.rope.partial
    turning = int(full_head(config) * partial / 2)
    return {"rope_freqs.weight": np.array([1.0] * turning + [1e30] * (half - turning), np.float32)}


def wide_keys(config: Config) -> tuple[Key, ...]:
    """Widths and heads by layer, where layers differ; they take the places of the plain numbers."""
    layers = range(config.layers)
    keys = []
    if config.double_wide:
        widths = [forward_of(config, layer) for layer in layers]
        keys.append(Key("feed_forward_length", "array[int32]", lambda _: widths))
    if full_groups(config) is not None:
        groups = [groups_of(config, layer) for layer in layers]
        keys.append(Key("attention.head_count_kv", "array[int32]", lambda _: groups))
    return tuple(keys)


# Special tokens that llama.cpp shows, so that what reads a chat can find them.
MASK = frozenset({"<mask>"})  # which Gemma's tokenizers name without being told
VISIBLE = frozenset(
    f"<{side}>" for kind in ("channel", "tool_call", "tool_response") for side in (f"|{kind}", f"{kind}|")
) | {'<|"|>'}
GEMMA4 = Architecture(
    name="gemma4",
    title="Gemma 4",
    model_type="gemma4",
    classes=("Gemma4ForConditionalGeneration",),
    defaults={
        **usual(30, 2304, 8, 9216, 262_144, 131_072, kv_heads=4, head_dim=256, window=512, tied=True),
        "layer_input": 256, "shared_kv": 0, "own_vocab": 262_144, "double_wide": False,
    },
    settings={
        "own_vocab": count("vocab_size_per_layer_input", low=1, high=2**22),
        "layer_input": count("hidden_size_per_layer_input", high=2**20),
        "shared_kv": count("num_kv_shared_layers", high=1024),
        "global_head": count("global_head_dim", low=2, high=2**16),
        "global_groups": count("num_global_key_value_heads", low=1, high=2**16),
        "expert_ffn": count("expert_intermediate_size", "moe_intermediate_size", low=1, high=2**24),
        "double_wide": flag("use_double_wide_mlp"),
        "keys_as_values": flag("attention_k_eq_v"),
        "per_layer": Setting(("per_layer_config",), kind="object"),
    },
    sizes=lambda config: {
        "layers' inputs": config.layers * (config.layer_input or 0),
        "layer input": config.layer_input or 0,
        "2expert": 2 * (config.expert_ffn or 0),
    },
    theta=1_000_000.0,
    weights=(
        *outer(),
        *on(lambda config: [(0, 0)] if config.layer_input else [], TABLE, *PER_LAYER[:2]),
        *on(with_inputs, *PER_LAYER[2:]),
        *NORMS,
        _any("layer_output_scale.weight", "layer_scalar", "one", exact=True, needed=False),
        _any("attn_q", "self_attn.q_proj", q_of, "width"),
        _any("attn_q_norm", "self_attn.q_norm", head_of),
        *OWN_KEYS,
        _any("attn_output", "self_attn.o_proj", "width", q_of),
        *(replace(w, shape=tuple(forward_of if s == "ffn" else s for s in w.shape)) for w in FEED_FORWARD),
        *on(with_experts, *EXPERTS),
    ),
    keys=(
        *SIZES,
        FREQUENCY,
        Key("rope.freq_base_swa", "float32", lambda config: config.rope.local_theta or 10_000.0),
        RMS_EPSILON,
        *(key for key in STANDARD if isinstance(key, Key) and key.name.startswith("expert_")),
        Key("attention.key_length", "uint32", full_head),
        Key("attention.value_length", "uint32", full_head),
        FILE_TYPE,
        Key("final_logit_softcapping", "float32", lambda config: config.final_cap or None),
        WINDOW,
        Key("attention.shared_kv_layers", "uint32", lambda config: config.shared_kv or 0),
        Key("embedding_length_per_layer_input", "uint32", lambda config: config.layer_input or 0),
        Key("attention.sliding_window_pattern", "array[bool]", windows4),
        Key("attention.key_length_swa", "uint32", "head_dim"),
        Key("attention.value_length_swa", "uint32", "head_dim"),
        Key("expert_feed_forward_length", "uint32", "expert_ffn"),
        wide_keys,
        Key("rope.dimension_count", "uint32", full_head),
        Key("rope.dimension_count_swa", "uint32", "head_dim"),
    ),
    extra=proportional_factors,
    assumed=(Assumed("hidden_activation", ("gelu_pytorch_tanh",)),),
    prefixes=PREFIXES,
    ignored=SEEING,
    nested="text_config",
    sees=GEMMA4_VISION,
    global_every=6,
    tokenizer=Tokenizer(kind="merged", model="gemma4", space_prefix=False, visible=VISIBLE, control=MASK),
    runs=Computation(
        norm_after=True,
        head_norm="head",
        normed_values=True,
        unscaled=True,
        layered=True,
        activation="gelu",
        scaled_embedding=True,
        local_base=10_000.0,
    ),
)  # fmt: skip
GEMMA4_TEXT = replace(GEMMA4, model_type="gemma4_text", classes=("Gemma4ForCausalLM",), nested=None, sees=None)
