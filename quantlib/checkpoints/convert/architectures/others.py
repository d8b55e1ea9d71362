"""Phi-3, OLMo2, GPT-2 and BERT. Source: conversion/phi.py, olmo.py, gpt2.py and bert.py of llama.cpp."""

from __future__ import annotations

from quantlib.checkpoints.convert.architecture import (
    FILE_TYPE,
    UNCHANGED,
    Architecture,
    Assumed,
    Change,
    Key,
    Tokenizer,
    Transposed,
    Weight,
)
from quantlib.checkpoints.convert.architectures.llama import SILU, all_heads
from quantlib.checkpoints.convert.architectures.parts import (
    EPSILON,
    FEED_FORWARD,
    FREQUENCY,
    NORMS,
    OUTPUT,
    OWN_OUTPUT,
    POOLING,
    RMS_EPSILON,
    SIZES,
    STANDARD,
    attention,
    outer,
    window_ignored,
)
from quantlib.checkpoints.convert.rope import longrope_attention, longrope_factors, unknown_scaling

# Query, key and value lie in one matrix, gate and up too: llama.cpp keeps both together.
PHI3 = Architecture(
    name="phi3",
    title="Phi-3",
    model_type="phi3",
    classes=("Phi3ForCausalLM",),
    defaults={
        "layers": 32,
        "context": 4096,
        "width": 3072,
        "heads": 32,
        "kv_heads": all_heads,
        "ffn": 8192,
        "vocab": 32_064,
        "rms_eps": 1e-5,
    },
    weights=(
        *outer(),
        *NORMS,
        Weight("blk.{}.attn_qkv", "layers.{}.self_attn.qkv_proj", ("qkv", "width")),
        Weight("blk.{}.attn_output", "layers.{}.self_attn.o_proj", ("width", "q")),
        Weight("blk.{}.ffn_up", "layers.{}.mlp.gate_up_proj", ("gate and up", "width")),
        Weight("blk.{}.ffn_down", "layers.{}.mlp.down_proj", ("width", "ffn")),
    ),
    early=(Key("rope.scaling.attn_factor", "float32", longrope_attention),),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("rope.scaling.original_context_length", "uint32", lambda c: c.rope.original_context or 4096),
        Key("embedding_length", "uint32", "width"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("block_count", "uint32", "layers"),
        Key("attention.head_count", "uint32", "heads"),
        Key("attention.head_count_kv", "uint32", "kv_heads"),
        RMS_EPSILON,
        Key("rope.dimension_count", "uint32", lambda c: int(c.rope.partial * c.width) // c.heads),
        FREQUENCY,
        FILE_TYPE,
        Key("attention.sliding_window", "uint32", lambda c: c.window or 0),  # 0 is what tells Phi-4 from Phi-3
    ),
    extra=longrope_factors,
    assumed=(SILU,),
    checks=(unknown_scaling, window_ignored),
    tokenizer=Tokenizer(json_tokens=True),
)

OLMO2 = Architecture(
    name="olmo2",
    title="OLMo 2",
    model_type="olmo2",
    classes=("Olmo2ForCausalLM",),
    defaults={
        "layers": 32,
        "context": 2048,
        "width": 4096,
        "heads": 32,
        "kv_heads": all_heads,
        "ffn": 11_008,
        "vocab": 50_304,
        "rms_eps": 1e-5,
    },
    weights=(
        *outer(output=OWN_OUTPUT),
        *attention(),
        Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm", ("q",)),
        Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm", ("kv",)),
        Weight("blk.{}.post_attention_norm", "layers.{}.post_attention_layernorm", ("width",)),
        *FEED_FORWARD,
        Weight("blk.{}.post_ffw_norm", "layers.{}.post_feedforward_layernorm", ("width",)),
    ),
    keys=STANDARD,
    assumed=(SILU,),
    checks=(unknown_scaling,),
)

TRANSPOSED = Transposed()


def _gpt2(gguf: str, hf: str, *shape: str, change: Change = UNCHANGED) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"h.{{}}.{hf}", shape, change, bias="needed")


GPT2 = Architecture(
    name="gpt2",
    title="GPT-2",
    model_type="gpt2",
    classes=("GPT2LMHeadModel",),
    defaults={
        "layers": 12,
        "context": 1024,
        "width": 768,
        "heads": 12,
        "ffn": lambda found: 4 * found["width"],
        "vocab": 50_257,
        "norm_eps": 1e-5,
    },
    theta=None,
    weights=(
        Weight("token_embd", "wte", ("vocab", "width")),
        Weight("position_embd", "wpe", ("context", "width")),
        Weight("output_norm", "ln_f", ("width",), bias="needed"),
        OUTPUT,
        _gpt2("attn_norm", "ln_1", "width"),
        _gpt2("attn_qkv", "attn.c_attn", "qkv", "width", change=TRANSPOSED),
        _gpt2("attn_output", "attn.c_proj", "width", "width", change=TRANSPOSED),
        _gpt2("ffn_norm", "ln_2", "width"),
        _gpt2("ffn_up", "mlp.c_fc", "ffn", "width", change=TRANSPOSED),
        _gpt2("ffn_down", "mlp.c_proj", "width", "ffn", change=TRANSPOSED),
    ),
    keys=(*SIZES, EPSILON, FILE_TYPE),
    assumed=(
        Assumed("activation_function", ("gelu_new", "gelu_pytorch_tanh")),
        Assumed("scale_attn_weights", (True,)),
        Assumed("scale_attn_by_inverse_layer_idx", (False,)),
        Assumed("add_cross_attention", (False,)),
    ),
    prefixes=("transformer.", ""),
    ignored=("h.{}.attn.bias", "h.{}.attn.masked_bias"),  # masks
)


def _bert(gguf: str, hf: str, *shape: str) -> Weight:
    return Weight(gguf, hf, shape, bias="needed")


BERT = Architecture(
    name="bert",
    title="BERT",
    model_type="bert",
    classes=("BertModel", "BertForMaskedLM"),
    defaults={
        "layers": 12,
        "context": 512,
        "width": 768,
        "heads": 12,
        "ffn": 3072,
        "vocab": 30_522,
        "norm_eps": 1e-12,
        "token_types": 2,
    },
    theta=None,
    weights=(
        Weight("token_embd", "embeddings.word_embeddings", ("vocab", "width")),
        Weight("position_embd", "embeddings.position_embeddings", ("context", "width")),
        Weight("token_types", "embeddings.token_type_embeddings", ("token types", "width")),
        _bert("token_embd_norm", "embeddings.LayerNorm", "width"),
        _bert("blk.{}.attn_q", "encoder.layer.{}.attention.self.query", "width", "width"),
        _bert("blk.{}.attn_k", "encoder.layer.{}.attention.self.key", "width", "width"),
        _bert("blk.{}.attn_v", "encoder.layer.{}.attention.self.value", "width", "width"),
        _bert("blk.{}.attn_output", "encoder.layer.{}.attention.output.dense", "width", "width"),
        _bert("blk.{}.attn_output_norm", "encoder.layer.{}.attention.output.LayerNorm", "width"),
        _bert("blk.{}.ffn_up", "encoder.layer.{}.intermediate.dense", "ffn", "width"),
        _bert("blk.{}.ffn_down", "encoder.layer.{}.output.dense", "width", "ffn"),
        _bert("blk.{}.layer_output_norm", "encoder.layer.{}.output.LayerNorm", "width"),
    ),
    keys=(*SIZES, EPSILON, FILE_TYPE, Key("attention.causal", "bool", lambda config: False), POOLING),
    assumed=(
        Assumed("hidden_act", ("gelu",)),
        Assumed("position_embedding_type", ("absolute",)),
        Assumed("is_decoder", (False,)),
    ),
    prefixes=("bert.", ""),
    ignored=("pooler.", "cls.", "embeddings.position_ids"),  # only embeddings are made of it
    tokenizer=Tokenizer(kind="wordpiece"),
)
