"""What followed DeepSeek V3 and keeps latents as it does: GLM-4.7-Flash, and with an index DeepSeek V3.2 and GLM-5.

The index chooses which tokens each one attends to, by keys of its own, one for each token and layer.

Source: conversion/deepseek.py and conversion/glm.py of llama.cpp.
"""

from __future__ import annotations

from dataclasses import replace

from quantlib.architectures.config import Config, count
from quantlib.architectures.declaration import Key, Weight
from quantlib.architectures.families.deepseek import DEEPSEEK_V3, sizes
from quantlib.architectures.families.glm import GLM4_MOE
from quantlib.architectures.parts import usual


def _indexed_sizes(config: Config) -> dict[str, int]:
    return sizes(config) | {"index": config.index_width, "index heads": config.index_heads, "index q": _queries(config)}


def _queries(config: Config) -> int:
    return int(config.index_heads * config.index_width)


INDEX = (
    Weight("blk.{}.indexer.attn_q_b", "layers.{}.self_attn.indexer.wq_b", ("index q", "q latent")),
    Weight("blk.{}.indexer.attn_k", "layers.{}.self_attn.indexer.wk", ("index", "width")),
    Weight("blk.{}.indexer.k_norm", "layers.{}.self_attn.indexer.k_norm", ("index",), bias="needed"),
    Weight("blk.{}.indexer.proj", "layers.{}.self_attn.indexer.weights_proj", ("index heads", "width")),
)
INDEX_KEYS = (
    Key("attention.indexer.head_count", "uint32", "index_heads"),
    Key("attention.indexer.key_length", "uint32", "index_width"),
    Key("attention.indexer.top_k", "uint32", "index_tokens"),
)
GLM4_MOE_LITE = replace(
    DEEPSEEK_V3,
    title="GLM-4.7-Flash",
    model_type="glm4_moe_lite",
    classes=("Glm4MoeLiteForCausalLM",),
    defaults=usual(
        47, 2048, 20, 10_240, 154_880, 202_752,
        kv_heads=20, head_dim=64, rms_eps=1e-5, kv_rank=512, q_rank=768, turning=64, still=192, v_head=256,
        experts=64, experts_used=4, expert_ffn=1536, expert_groups=1, expert_groups_used=1, dense=1, shared_count=1,
        routed_scale=1.8, normalized=True,
    ),
    tokenizer=GLM4_MOE.tokenizer,
    runs=None,
)  # fmt: skip
DEEPSEEK_V32 = replace(
    DEEPSEEK_V3,
    name="deepseek32",
    title="DeepSeek V3.2",
    model_type="deepseek_v32",
    classes=("DeepseekV32ForCausalLM",),
    defaults={**DEEPSEEK_V3.defaults, "context": 163_840, "index_heads": 64, "index_width": 128, "index_tokens": 2048},
    settings={
        **DEEPSEEK_V3.settings,
        "index_heads": count("index_n_heads", low=1, high=2**16),
        "index_width": count("index_head_dim", low=1, high=2**16),
        "index_tokens": count("index_topk", low=1),
    },
    sizes=_indexed_sizes,
    weights=(*DEEPSEEK_V3.weights, *INDEX),
    keys=(*DEEPSEEK_V3.keys, *INDEX_KEYS),
    runs=None,
)
GLM5 = replace(
    DEEPSEEK_V32,
    name="glm-dsa",
    title="GLM-5",
    model_type="glm_moe_dsa",
    classes=("GlmMoeDsaForCausalLM",),
    defaults=usual(
        78, 6144, 64, 12_288, 154_880, 202_752,
        kv_heads=64, head_dim=64, rms_eps=1e-5, kv_rank=512, q_rank=2048, turning=64, still=192, v_head=256,
        experts=256, experts_used=8, expert_ffn=2048, expert_groups=1, expert_groups_used=1, dense=3, shared_count=1,
        routed_scale=2.5, normalized=True, index_heads=32, index_width=128, index_tokens=2048,
    ),
    tokenizer=GLM4_MOE.tokenizer,
)  # fmt: skip
