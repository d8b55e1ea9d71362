"""T5: an encoder and a decoder, with distances in place of positions. Source: conversion/t5.py of llama.cpp."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from quantlib.architectures.computation import Encoding
from quantlib.architectures.config import Config, count, number
from quantlib.architectures.declaration import FILE_TYPE, Architecture, Key, Layers, Source, Tokenizer, Weight
from quantlib.architectures.parts import OUTPUT


def _first(config: Config) -> list[tuple[int, int]]:
    return [(0, 0)]


def _decoding(config: Config) -> list[tuple[int, int]]:
    return [(layer, layer) for layer in range(config.decoder_layers or config.layers)]


def _half(ours: str, theirs: str, layers: Layers | None) -> tuple[Weight, ...]:
    """The weights of a layer of the encoder or the decoder."""
    attention, forward = f"{theirs}.block.{{}}.layer.0", f"{theirs}.block.{{}}.layer.{2 if ours == 'dec' else 1}"

    def part(gguf: str, hf: str, *shape: str, where: Layers | None = layers, **more: Any) -> Weight:
        return Weight(f"{ours}.blk.{{}}.{gguf}", hf, shape, layers=where, **more)

    own = f"{attention}.SelfAttention"
    return (
        part("attn_q", f"{own}.q", "inner", "width"),
        part("attn_k", f"{own}.k", "inner", "width"),
        part("attn_v", f"{own}.v", "inner", "width"),
        part("attn_o", f"{own}.o", "width", "inner"),
        part("attn_rel_b", f"{own}.relative_attention_bias", "buckets", "heads", where=_first),
        part("attn_norm", f"{attention}.layer_norm", "width"),
        part("ffn_gate", f"{forward}.DenseReluDense.wi_0", "ffn", "width", needed=False),
        part("ffn_up", f"{forward}.DenseReluDense.wi_1", "ffn", "width", needed=False),
        part("ffn_up", f"{forward}.DenseReluDense.wi", "ffn", "width", needed=False),
        part("ffn_down", f"{forward}.DenseReluDense.wo", "width", "ffn"),
        part("ffn_norm", f"{forward}.layer_norm", "width"),
        Weight(f"{ours}.output_norm", f"{theirs}.final_layer_norm", ("width",)),
    )


def _cross(gguf: str, hf: str, *shape: str) -> Weight:
    return Weight(f"dec.blk.{{}}.{gguf}", f"decoder.block.{{}}.layer.1.{hf}", shape, layers=_decoding)


# Models store the embedding under one of three names, or under several.
SHARED = (Source("decoder.embed_tokens"), Source("encoder.embed_tokens"))
T5 = Architecture(
    name="t5",
    title="T5",
    model_type="t5",
    classes=("T5ForConditionalGeneration", "T5WithLMHeadModel"),
    defaults={
        "layers": 6, "width": 512, "heads": 8, "head_dim": 64, "ffn": 2048, "vocab": 32_128, "context": 512,
        "norm_eps": 1e-6, "tied": True, "buckets": 32, "start": 0, "decoder_layers": lambda found: found["layers"],
    },
    settings={
        "layers": count("num_layers", "num_hidden_layers", low=1, high=1024),
        "width": count("d_model", "hidden_size", low=1, high=2**24),
        "heads": count("num_heads", low=1, high=2**16),
        "head_dim": count("d_kv", low=2, high=2**16),
        "ffn": count("d_ff", low=1, high=2**24),
        "context": count("n_positions", low=1),
        "norm_eps": number("layer_norm_epsilon", low=0.0, high=1.0),
        "buckets": count("relative_attention_num_buckets", low=1, high=2**16),
        "decoder_layers": count("num_decoder_layers", low=1, high=1024),
        "start": count("decoder_start_token_id"),
    },
    sizes=lambda config: {"inner": config.heads * config.head_dim, "buckets": config.buckets},
    theta=None,
    weights=(
        Weight("token_embd", "shared", ("vocab", "width"), others=SHARED),
        OUTPUT,
        *_half("enc", "encoder", None),
        *_half("dec", "decoder", _decoding),
        _cross("cross_attn_q", "EncDecAttention.q", "inner", "width"),
        _cross("cross_attn_k", "EncDecAttention.k", "inner", "width"),
        _cross("cross_attn_v", "EncDecAttention.v", "inner", "width"),
        _cross("cross_attn_o", "EncDecAttention.o", "width", "inner"),
        _cross("cross_attn_norm", "layer_norm", "width"),
    ),
    keys=(
        Key("context_length", "uint32", "context"),
        Key("embedding_length", "uint32", "width"),
        Key("feed_forward_length", "uint32", "ffn"),
        Key("block_count", "uint32", "layers"),
        Key("decoder_block_count", "uint32", "decoder_layers"),
        Key("attention.head_count", "uint32", "heads"),
        Key("attention.key_length", "uint32", "head_dim"),
        Key("attention.value_length", "uint32", "head_dim"),
        Key("attention.layer_norm_epsilon", "float32", "norm_eps"),
        Key("attention.relative_buckets_count", "uint32", "buckets"),
        Key("attention.layer_norm_rms_epsilon", "float32", "norm_eps"),
        Key("decoder_start_token_id", "uint32", "start"),
        FILE_TYPE,
    ),
    prefixes=("",),
    tokenizer=Tokenizer(kind="unigram"),
    encodes=Encoding(
        norm="rms", norm_first=True, positions="distances", activation="relu", gate="gelu",
        prefix="enc.", output="attn_o",
    ),
)  # fmt: skip
MT5 = replace(
    T5,
    title="mT5",
    model_type="mt5",
    classes=("MT5ForConditionalGeneration",),
    defaults={**T5.defaults, "layers": 8, "heads": 6, "ffn": 1024, "vocab": 250_112},
)
UMT5 = replace(MT5, title="UMT5", model_type="umt5", classes=("UMT5ForConditionalGeneration", "UMT5Model"))


def _biased(architecture: Architecture) -> tuple[Weight, ...]:
    """The weights where every layer has a table of distances of its own, and not the first for all."""
    return tuple(
        replace(weight, layers=_decoding if weight.gguf.startswith("dec") else None)
        if "attn_rel_b" in weight.gguf
        else weight
        for weight in architecture.weights
    )


def _encoder(architecture: Architecture, name: str) -> Architecture:
    """The half that reads, which image models take to understand a prompt."""
    return replace(
        architecture,
        name="t5encoder",
        title=f"{architecture.title} encoder",
        classes=(name,),
        weights=tuple(w for w in architecture.weights if w.gguf == "token_embd" or w.gguf.startswith("enc.")),
        keys=tuple(key for key in architecture.keys if "decoder" not in key.name),
    )


UMT5 = replace(UMT5, weights=_biased(UMT5))
T5_ENCODER, UMT5_ENCODER = _encoder(T5, "T5EncoderModel"), _encoder(UMT5, "UMT5EncoderModel")


EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")
OWN = "encoder.block.{}.layer.0.SelfAttention"
TABLE, SECOND_TABLE = (f"{OWN.format(layer)}.relative_attention_bias.weight" for layer in (0, 1))


def encoder_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object] | None:
    """What the config.json of an encoder with tensors of these shapes would say; None where it is none."""
    query, bias = shapes.get(f"{OWN.format(0)}.q.weight"), shapes.get(TABLE)
    output = shapes.get("encoder.block.0.layer.1.DenseReluDense.wo.weight")
    embedding = next((shapes[name] for name in EMBEDDINGS if name in shapes), None)
    writes = "decoder.final_layer_norm.weight" in shapes
    if writes or any(shape is None or len(shape) != 2 for shape in (query, bias, output, embedding)):
        return None
    architecture = UMT5_ENCODER if SECOND_TABLE in shapes else T5_ENCODER
    buckets, heads = bias
    return {
        "model_type": architecture.model_type,
        "architectures": list(architecture.classes),
        "vocab_size": embedding[0],
        "d_model": embedding[1],
        "d_kv": query[0] // max(1, heads),
        "d_ff": output[1],
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "num_layers": len({m[1] for n in shapes if (m := re.match(r"encoder\.block\.(\d+)\.", n, re.ASCII))}),
    }
