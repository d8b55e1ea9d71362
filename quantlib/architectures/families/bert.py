"""BERT, XLM-RoBERTa, Nomic and ModernBERT: they read whole texts. Source: conversion/bert.py of llama.cpp."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from quantlib.architectures.changes import Change, Shape, from_row
from quantlib.architectures.computation import Encoding
from quantlib.architectures.config import Config, Setting, count, number, text
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Assumed, Key, Tokenizer, Weight
from quantlib.architectures.parts import EPSILON, POOLING, SIZES, STANDARD, VOCAB_SIZE


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
    encodes=Encoding(),
)


def labels(config: Config) -> list[str] | None:
    """The classes that a model tells apart, unless they are the two that transformers makes up."""
    stated = config.labels or {}
    numbered = sorted((int(n), name) for n, name in stated.items() if n.isdecimal() and isinstance(name, str))
    names = [name for _, name in numbered]
    return None if not names or (len(names) == 2 and names[0] == "LABEL_0") else names


def labelled(config: Config) -> list[tuple[int, int]]:
    """Once, where the classes have names."""
    return [(0, 0)] if labels(config) else []


def unlabelled(config: Config) -> list[tuple[int, int]]:
    """Once, where they have none."""
    return [] if labels(config) else [(0, 0)]


def _head(gguf: str, hf: str, *shape: str, **more: Any) -> Weight:
    return Weight(gguf, hf, shape, bias="optional", needed=False, **more)


LABELS = Key("classifier.output_labels", "array[string]", labels)
CLASSES = {"labels": Setting(("id2label",), kind="object")}
BERT_CLASSIFIER = replace(
    BERT,
    title="BERT classifier",
    classes=("BertForSequenceClassification",),
    settings=CLASSES,
    sizes=lambda config: {"classes": len(config.labels or {}) or 2},
    weights=(
        *BERT.weights,
        _head("cls.output", "classifier", "classes", "width", layers=labelled),
        _head("cls", "classifier", "classes", "width", layers=unlabelled),
    ),
    keys=(*BERT.keys, LABELS),
    tokenizer=replace(BERT.tokenizer, pre={"bert-bge": "jina-v2-en"}),
)


def padding_rows(config: Config) -> int:
    """Positions are counted from behind the padding token's number."""
    return 0 if config.padding is None else config.padding + 1


def positions(config: Config) -> int:
    """Positions that a text may have."""
    return config.context - padding_rows(config)


XLM_ROBERTA = replace(
    BERT,
    title="XLM-RoBERTa",
    model_type="xlm-roberta",
    classes=("XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification"),
    defaults={**BERT.defaults, "padding": 1},
    settings={**CLASSES, "padding": count("pad_token_id", high=2**16)},
    sizes=lambda config: {"positions": positions(config), "classes": len(config.labels or {}) or 2},
    weights=(
        *(
            replace(w, shape=("positions", "width"), change=from_row(padding_rows)) if w.gguf == "position_embd" else w
            for w in BERT.weights
        ),
        _head("cls", "classifier.dense", "width", "width"),
        _head("cls.output", "classifier.out_proj", "classes", "width"),
    ),
    keys=(
        *(Key("context_length", "uint32", positions) if key is SIZES[1] else key for key in BERT.keys),
        LABELS,
    ),
    prefixes=("roberta.", "bert.", ""),
    ignored=("pooler.", "lm_head.", "embeddings.position_ids"),
    tokenizer=Tokenizer(kind="fairseq"),
)


def trained(config: Config) -> int:
    """Tokens of the longest text that a model has seen, which its config.json does not say."""
    return 512 if config.context == 2048 and config.trained == 2048 else 2048


def is_mixture(config: Config) -> bool:
    """Whether some layers have experts."""
    return bool(config.every)


def with_experts(config: Config) -> list[tuple[int, int]]:
    """The layers with experts: the last of each so many."""
    return [(n, n) for n in range(config.layers) if is_mixture(config) and n % config.every == 1]


def without_experts(config: Config) -> list[tuple[int, int]]:
    """The others."""
    mixed = with_experts(config)
    return [(n, n) for n in range(config.layers) if (n, n) not in mixed]


def _nomic(gguf: str, hf: str, *shape: str, **more: Any) -> Weight:
    return Weight(f"blk.{{}}.{gguf}", f"encoder.layers.{{}}.{hf}", shape, **{"bias": "optional", **more})


def _turned(x: np.ndarray, shape: Shape, config: Config) -> np.ndarray:
    return x.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2)


# The experts' matrices lie below each other in one, the second kind turned.
FLAT = Change(source=lambda s, config: (s[0] * s[1], s[2]), rows=lambda s, config: np.arange(s[0] * s[1]))
FLAT_TURNED = Change(source=lambda s, config: (s[0] * s[2], s[1]), arrange=_turned)
NOMIC_BERT = Architecture(
    name="nomic-bert",
    title="Nomic BERT",
    model_type="nomic_bert",
    classes=("NomicBertModel",),
    variants={"nomic-bert-moe": is_mixture},
    defaults={
        "layers": 12, "context": 8192, "width": 768, "heads": 12, "ffn": 3072, "vocab": 30_528, "norm_eps": 1e-12,
        "token_types": 2,
    },
    settings={
        "trained": count("max_trained_positions", low=1),
        "every": count("moe_every_n_layers", high=1024),
        "top_k": count("moe_top_k", low=1, high=4096),
    },
    theta=1000.0,
    weights=(
        Weight("token_embd", "embeddings.word_embeddings", ("vocab", "width")),
        Weight("token_types", "embeddings.token_type_embeddings", ("token types", "width")),
        Weight("token_embd_norm", "emb_ln", ("width",), bias="needed"),
        _nomic("attn_qkv", "attn.Wqkv", "qkv", "width"),
        _nomic("attn_output", "attn.out_proj", "width", "width"),
        _nomic("attn_output_norm", "norm1", "width"),
        _nomic("ffn_up", "mlp.fc11", "ffn", "width", layers=without_experts, needed=False),
        _nomic("ffn_gate", "mlp.fc12", "ffn", "width", layers=without_experts, needed=False),
        _nomic("ffn_up", "mlp.fc1", "ffn", "width", layers=without_experts, needed=False),
        _nomic("ffn_down", "mlp.fc2", "width", "ffn", layers=without_experts),
        _nomic("ffn_gate_inp", "mlp.router.layer", "experts", "width", layers=with_experts),
        _nomic(
            "ffn_up_exps.weight", "mlp.experts.mlp.w1", "experts", "ffn", "width",
            change=FLAT, layers=with_experts, exact=True, bias="none",
        ),
        _nomic(
            "ffn_down_exps.weight", "mlp.experts.mlp.w2", "experts", "width", "ffn",
            change=FLAT_TURNED, layers=with_experts, exact=True, bias="none",
        ),
        _nomic("layer_output_norm", "norm2", "width"),
    ),
    keys=(
        *(Key("context_length", "uint32", trained) if key is SIZES[1] else key for key in STANDARD),
        Key("attention.causal", "bool", lambda config: False),
        POOLING,
        Key("moe_every_n_layers", "uint32", lambda config: config.every or None),
        Key("expert_used_count", "uint32", "top_k"),
    ),
    assumed=(
        Assumed("causal", (False,)),
        Assumed("prenorm", (False,)),
        Assumed("rotary_emb_fraction", (1.0,)),
        Assumed("rotary_emb_interleaved", (False,)),
        Assumed("parallel_block", (False,)),
    ),
    prefixes=("bert.", "nomic_bert.", ""),
    ignored=("pooler.", "cls.", "encoder.layers.{}.mlp.experts.bias"),
    tokenizer=Tokenizer(kind="wordpiece", pre={"bert-bge": "jina-v2-en"}),
    encodes=Encoding(positions="rotary"),
)  # fmt: skip


def windowed(config: Config) -> int:
    """How many tokens layers with a window see."""
    return config.local


def after_first(config: Config) -> list[tuple[int, int]]:
    """All layers but the first, which reads values that are normalized already."""
    return [(layer, layer) for layer in range(1, config.layers)]


CLASSIFIED = {"cls": 2, "mean": 1}
MODERN_BERT = Architecture(
    name="modern-bert",
    title="ModernBERT",
    model_type="modernbert",
    classes=("ModernBertModel", "ModernBertForMaskedLM", "ModernBertForSequenceClassification"),
    defaults={
        "layers": 22, "context": 8192, "width": 768, "heads": 12, "ffn": 1152, "vocab": 50_368, "rms_eps": 1e-5,
        "norm_eps": None, "local": 128, "activation": "gelu", "classified": "cls", "every": 3,
    },
    settings={
        **CLASSES,
        "rms_eps": number("norm_eps", low=0.0, high=1.0),
        "local": count("local_attention", low=1),
        "every": count("global_attn_every_n_layers", low=1, high=1024),
        "activation": text("hidden_activation"),
        "classified": text("classifier_pooling"),
    },
    sizes=lambda config: {"classes": len(config.labels or {}) or 2},
    theta=160_000.0,
    weights=(
        Weight("token_embd", "embeddings.tok_embeddings", ("vocab", "width")),
        Weight("token_embd_norm", "embeddings.norm", ("width",), bias="optional"),
        Weight("output_norm", "final_norm", ("width",), bias="optional"),
        Weight("blk.{}.attn_qkv", "layers.{}.attn.Wqkv", ("qkv", "width"), bias="optional"),
        Weight("blk.{}.attn_output", "layers.{}.attn.Wo", ("width", "width"), bias="optional"),
        Weight("blk.{}.attn_norm", "layers.{}.attn_norm", ("width",), bias="optional", layers=after_first),
        Weight("blk.{}.ffn_up", "layers.{}.mlp.Wi", ("gate and up", "width"), bias="optional"),
        Weight("blk.{}.ffn_down", "layers.{}.mlp.Wo", ("width", "ffn"), bias="optional"),
        Weight("blk.{}.ffn_norm", "layers.{}.mlp_norm", ("width",), bias="optional"),
        _head("cls", "head.dense", "width", "width"),
        _head("cls.norm", "head.norm", "width"),
        _head("cls.output", "classifier", "classes", "width", layers=labelled),
    ),
    keys=(
        *STANDARD,
        Key("attention.causal", "bool", lambda config: False),
        POOLING,
        Key("classifier.pooling_type", "uint32", lambda config: CLASSIFIED.get(config.classified)),
        LABELS,
        Key("attention.sliding_window", "uint32", windowed),
        Key("attention.sliding_window_pattern", "uint32", "every"),
        Key("rope.scaling.type", "string", lambda config: "none"),
        VOCAB_SIZE,
        Key("hidden_activation", "string", "activation"),
    ),
    prefixes=("model.", ""),
    ignored=("decoder.",),
    tokenizer=Tokenizer(pre={"gpt-2": "modern-bert"}, flags=("add_bos", "add_eos", "add_sep")),
    encodes=Encoding(norm_first=True, positions="rotary", full_every=3, gate="erf", halves=True),
)  # fmt: skip
