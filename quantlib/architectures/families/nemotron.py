"""Nemotron-H: each layer is one of a Mamba 2 mixer, attention, feed-forward or, in Nemotron 3, a mixture of experts.

Source: conversion/nemotron.py of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quantlib.architectures.changes import permuted
from quantlib.architectures.config import Config, Setting, count, flag, number, words
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Key, Layers, Tokenizer, Weight
from quantlib.architectures.families.mamba import mixer, mixer_sizes
from quantlib.architectures.keeping import Keeping
from quantlib.architectures.parts import EPSILON, OUTPUT, SIZES, VOCAB_SIZE, on

STATE, ATTENDING, FORWARD, MIXED = "a state", "attention", "feed-forward", "experts"
KINDS = {  # a layer, as a letter of the pattern or as a word of the list
    **dict.fromkeys(("M", "mamba", "linear_attention"), STATE),
    **dict.fromkeys(("*", "attention", "full_attention"), ATTENDING),
    **dict.fromkeys(("-", "mlp"), FORWARD),
    **dict.fromkeys(("E", "moe"), MIXED),
}


def kinds(config: Config) -> list[str | None]:
    """What each layer is."""
    pattern = config.pattern or config.listed or ()
    return [KINDS.get(kind) for kind in pattern]


def layer_count(found: dict[str, Any]) -> int:
    """As many layers as are listed."""
    return len(found["pattern"] or found["listed"] or "M")


def where(kind: str) -> Layers:
    """The layers of one kind."""
    return lambda config: [(layer, layer) for layer, each in enumerate(kinds(config)) if each == kind]


def inner(config: Config) -> int:
    """Values that a mixer works on."""
    return config.ssm_heads * config.ssm_head


def forwards(config: Config) -> list[int]:
    """How wide each layer's feed-forward is, an expert's where there are several; 0 in others."""
    wide = {FORWARD: config.ffn, MIXED: config.expert_ffn}
    return [wide.get(kind or "", 0) for kind in kinds(config)]


def through_latents(config: Config) -> list[tuple[int, int]]:
    """The layers whose experts work on less than the model's width (LatentMoE)."""
    return [pair for pair in where(MIXED)(config) if config.latent]


def sizes(config: Config) -> dict[str, int]:
    """Of a mixer, and what experts work on."""
    mixed = mixer_sizes(inner(config), config.state, config.ssm_groups, config.ssm_heads, config.kernel)
    return mixed | {
        "shared": config.shared_forward or 0,
        "latent": config.latent or 0,
        "expert width": config.latent or config.width,
    }


def mixture(attribute: str) -> Callable[[Config], Any]:
    """A number that only models with experts state."""
    return lambda config: getattr(config, attribute) if config.experts_used else None


def per_layer(kind: str, value: str) -> Callable[[Config], list[Any]]:
    """A number in layers of one kind, 0 in the others."""
    return lambda config: [getattr(config, value) if each == kind else 0 for each in kinds(config)]


def _layer(gguf: str, hf: str, *shape: str, **more: Any) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"layers.{{}}.mixer.{hf}", shape, bias="optional", **more)


ATTENTION = (
    _layer("attn_q", "q_proj", "q", "width", change=permuted("heads")),
    _layer("attn_k", "k_proj", "kv", "width", change=permuted("groups")),
    _layer("attn_v", "v_proj", "kv", "width"),
    _layer("attn_output", "o_proj", "width", "q"),
)
FEED_FORWARD = (_layer("ffn_up", "up_proj", "ffn", "width"), _layer("ffn_down", "down_proj", "width", "ffn"))
MIXTURE = (
    _layer("ffn_gate_inp", "gate", "experts", "width"),
    Weight("blk.{}.exp_probs_b.bias", "layers.{}.mixer.gate.e_score_correction_bias", ("experts",), exact=True),
    Weight("blk.{}.ffn_up_exps", "layers.{}.mixer.experts.{}.up_proj", ("experts", "expert ffn", "expert width")),
    Weight("blk.{}.ffn_down_exps", "layers.{}.mixer.experts.{}.down_proj", ("experts", "expert width", "expert ffn")),
    _layer("ffn_up_shexp", "shared_experts.up_proj", "shared", "width"),
    _layer("ffn_down_shexp", "shared_experts.down_proj", "width", "shared"),
)
LATENT = (
    _layer("ffn_latent_down", "fc1_latent_proj", "latent", "width"),
    _layer("ffn_latent_up", "fc2_latent_proj", "width", "latent"),
)
MIXTURE_KEYS = (
    Key("expert_used_count", "uint32", mixture("experts_used")),
    Key("expert_feed_forward_length", "uint32", mixture("expert_ffn")),
    Key("expert_shared_feed_forward_length", "uint32", mixture("shared_forward")),
    Key("expert_count", "uint32", mixture("experts")),
    Key("expert_shared_count", "uint32", mixture("shared_count")),
    Key("expert_weights_norm", "bool", mixture("normalized")),
    Key("expert_weights_scale", "float32", mixture("routed_scale")),
    Key("expert_group_count", "uint32", mixture("expert_groups")),
    Key("moe_latent_size", "uint32", mixture("latent")),
)


NEMOTRON_H = Architecture(
    name="nemotron_h",
    variants={"nemotron_h_moe": lambda config: bool(config.experts_used)},
    title="Nemotron-H",
    model_type="nemotron_h",
    classes=("NemotronHForCausalLM",),
    defaults={
        "layers": layer_count, "width": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "ffn": 21_504,
        "vocab": 131_072, "context": 4096, "norm_eps": 1e-5, "kernel": 4, "state": 128, "ssm_groups": 8,
        "ssm_heads": 128, "ssm_head": 64,
    },
    settings={
        "pattern": Setting(("hybrid_override_pattern",), kind="str", each_layer=True),
        "listed": words("layers_block_type", each_layer=True),
        "head_dim": count("head_dim", "attention_head_dim", low=2, high=2**16),
        "kernel": count("conv_kernel", low=1, high=64),
        "state": count("ssm_state_size", low=1, high=2**16),
        "ssm_groups": count("n_groups", low=1, high=2**16),
        "ssm_heads": count("mamba_num_heads", low=1, high=2**16),
        "ssm_head": count("mamba_head_dim", low=1, high=2**16),
        "shared_forward": count("moe_shared_expert_intermediate_size", high=2**24),
        "latent": count("moe_latent_size", high=2**24),
        "shared_count": count("n_shared_experts", high=1024),
        "routed_scale": number("routed_scaling_factor"),
        "normalized": flag("norm_topk_prob"),
    },
    sizes=sizes,
    theta=None,
    weights=(
        Weight("token_embd", "embeddings", ("vocab", "width")),
        Weight("output_norm", "norm_f", ("width",)),
        OUTPUT,
        Weight("blk.{}.attn_norm", "layers.{}.norm", ("width",)),
        *on(where(STATE), *mixer("layers.{}.mixer")),
        *on(where(ATTENDING), *ATTENTION),
        *on(where(FORWARD), *FEED_FORWARD),
        *on(where(MIXED), *MIXTURE),
        *on(through_latents, *LATENT),
    ),
    keys=(
        SIZES[0],
        Key("context_length", "uint32", lambda config: 2**20),
        SIZES[2],
        Key("feed_forward_length", "array[int32]", forwards),
        SIZES[4],
        Key("attention.head_count_kv", "array[int32]", per_layer(ATTENDING, "groups")),
        EPSILON,
        FILE_TYPE,
        VOCAB_SIZE,
        Key("rope.dimension_count", "uint32", lambda config: config.width // config.heads),
        Key("ssm.conv_kernel", "uint32", "kernel"),
        Key("ssm.state_size", "uint32", "state"),
        Key("ssm.group_count", "uint32", "ssm_groups"),
        Key("ssm.inner_size", "uint32", inner),
        Key("ssm.time_step_rank", "uint32", "ssm_heads"),
        Key("rope.scaling.finetuned", "bool", lambda config: False),
        Key("attention.key_length", "uint32", "head_width"),
        Key("attention.value_length", "uint32", "head_width"),
        *MIXTURE_KEYS,
    ),
    prefixes=("backbone.", "model.", ""),
    tokenizer=Tokenizer(padded=lambda config: -(-config.vocab // 8) * 8),
    keeps=Keeping(alone=True),
)  # fmt: skip
