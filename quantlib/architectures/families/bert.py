"""BERT. Source: conversion/bert.py of llama.cpp."""

from __future__ import annotations

from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Key, Tokenizer, Weight
from quantlib.architectures.parts import EPSILON, POOLING, SIZES


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
