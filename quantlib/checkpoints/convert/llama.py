"""Llama and Mistral as GGUF stores them: names, the order of q and k rows, hyperparameters, rope frequencies.

Source: conversion/llama.py and conversion/base.py of llama.cpp.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import MetadataValue, Tensor, fault, shown
from quantlib.checkpoints.codecs import codec
from quantlib.checkpoints.convert.config import LlamaConfig

# Hugging Face's name -> GGUF's, outside the blocks and within them.
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_BLOCK = re.compile(r"model\.layers\.(0|[1-9]\d{0,4})\.([a-z_.]+)\.(weight|bias)", re.ASCII)
_UNUSED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


def gguf_name(name: str) -> str | None:
    """GGUF's name of a tensor of a Llama model, None where it has none."""
    block = _BLOCK.fullmatch(name)
    if block and block.group(2) in INNER:
        return f"blk.{block.group(1)}.{INNER[block.group(2)]}.{block.group(3)}"
    return OUTER.get(name)


def view_tensors(path: Path, config: LlamaConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under GGUF's names in the converter's order: q and k permuted, rope_freqs.weight first where needed.

    Raises CheckpointError where a tensor is unknown or missing, or has another shape than the config says.
    """
    out: dict[str, Tensor] = {}
    factors = rope_factors(config)
    if factors is not None:
        out["rope_freqs.weight"] = _array_tensor("rope_freqs.weight", factors)
    wanted = expected_shapes(config)
    for tensor in sorted(tensors.values(), key=lambda t: (t.file, t.name)):
        if tensor.name.endswith(_UNUSED):
            continue
        name = gguf_name(tensor.name)
        if name is None or name not in wanted:
            raise fault(
                path, f"does not account for the tensor {shown(tensor.name)}: no part of a Llama model has that name."
            )
        if tensor.shape != wanted[name]:
            raise fault(
                path,
                f"makes {shown(tensor.name)} a tensor of shape {list(wanted[name])}, but the file stores "
                f"{list(tensor.shape)}.",
            )
        heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(name.split(".")[-2])
        out[name] = permuted(tensor, name, heads) if heads else replace(tensor, name=name)
    optional = {"output.weight"} if config.tied else set()
    for name in wanted:
        if name not in out and not name.endswith(".bias") and name not in optional:
            # Models that share the embedding do not always say so; llama.cpp then uses token_embd for the output.
            if name == "output.weight" and "token_embd.weight" in out:
                continue
            raise fault(
                path, f"describes {config.layers} layers, but the checkpoint lacks the tensor of {shown(name)}."
            )
    return out


def expected_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """GGUF name -> row-major shape of every tensor that a model of this config may have."""
    q, kv, width, ffn = config.heads * config.head_dim, config.kv_heads * config.head_dim, config.width, config.ffn
    outer = {
        "token_embd.weight": (config.vocab, width),
        "output_norm.weight": (width,),
        "output.weight": (config.vocab, width),
    }
    matrices = {
        "attn_q": (q, width),
        "attn_k": (kv, width),
        "attn_v": (kv, width),
        "attn_output": (width, q),
        "ffn_gate": (ffn, width),
        "ffn_up": (ffn, width),
        "ffn_down": (width, ffn),
    }
    out = dict(outer)
    for i in range(config.layers):
        for name, shape in matrices.items():
            out[f"blk.{i}.{name}.weight"] = shape
            out[f"blk.{i}.{name}.bias"] = shape[:1]
        out[f"blk.{i}.attn_norm.weight"] = out[f"blk.{i}.ffn_norm.weight"] = (width,)
    return out


def permuted(tensor: Tensor, name: str, heads: int) -> Tensor:
    """A q or k projection with the rows of each head interleaved: the two halves of a head become neighbours.

    transformers rotates a head's value i with i + d/2, llama.cpp 2i with 2i + 1: row 2i + j of a head comes from row
    j * d/2 + i. Rows are gathered when they are read.
    """
    count = tensor.shape[0]
    half = count // heads // 2
    source = (
        np.arange(count).reshape(heads, 2, half).swapaxes(1, 2).reshape(-1)
    )  # (heads, halves, i) -> (heads, i, halves)
    if len(tensor.shape) == 1:

        def read(start: int, stop: int) -> np.ndarray:
            data = tensor.read(start, stop)
            return data.reshape(-1, count, data.shape[-1] // count)[:, source].reshape(stop - start, -1)
    else:

        def read(start: int, stop: int) -> np.ndarray:
            rows = source[start:stop]
            if not rows.size:
                return tensor.read(start, stop)
            low = int(rows.min())
            return tensor.read(low, int(rows.max()) + 1)[rows - low]

    return replace(tensor, name=name, read=read)


def rope_factors(config: LlamaConfig) -> np.ndarray | None:
    """The divisors of Llama 3's rotary frequencies, float32 (head_dim / 2,); None for other scalings.

    Frequencies whose wavelength is beyond the trained context are slowed by `factor`, short ones stay, those between go
    smoothly over. Source: transformers' llama3 rope, as written out by generate_extra_tensors().
    """
    rope = config.rope
    if rope.type != "llama3":
        return None
    factor = rope.factor if rope.factor is not None else 8.0
    low = rope.low_freq_factor if rope.low_freq_factor is not None else 1.0
    high = rope.high_freq_factor if rope.high_freq_factor is not None else 4.0
    original = rope.original_context if rope.original_context is not None else 8192
    f32 = np.float32
    exponent = np.arange(0, config.head_dim, 2, dtype=f32) / f32(config.head_dim)
    frequencies = f32(1) / np.power(f32(config.rope_theta), exponent)
    wavelengths = f32(2 * math.pi) * (f32(1) / frequencies)  # a number over a tensor is its reciprocal, multiplied
    out = []
    for wavelength in wavelengths:
        if wavelength < original / high:
            out.append(f32(1))
        elif wavelength > original / low:
            out.append(f32(factor))
        else:
            smooth = (f32(original) * (f32(1) / wavelength) - f32(low)) / f32(high - low) if high != low else f32(0)
            out.append(f32(1) / ((f32(1) - smooth) / f32(factor) + smooth))
    return np.array(out, dtype=f32)


def _array_tensor(name: str, values: np.ndarray) -> Tensor:
    """A one-row tensor that is computed, not stored."""
    data = values.view(np.uint8).reshape(1, -1)
    spelling, decode = codec("F32")
    return Tensor(name, values.shape, spelling, data.nbytes, lambda start, stop: data[start:stop], decode)


def hyperparameters(config: LlamaConfig, file_type: int | None) -> tuple[dict[str, MetadataValue], tuple[str, ...]]:
    """llama.block_count to llama.rope.dimension_count with general.file_type in its place, and warnings."""
    warnings: tuple[str, ...] = ()
    out: dict[str, MetadataValue] = {}

    def put(key: str, kind: str, value: object) -> None:
        if value is not None:
            out[key] = MetadataValue(kind, value)

    put("llama.block_count", "uint32", config.layers)
    put("llama.context_length", "uint32", config.context)
    put("llama.embedding_length", "uint32", config.width)
    put("llama.feed_forward_length", "uint32", config.ffn)
    put("llama.attention.head_count", "uint32", config.heads)
    put("llama.attention.head_count_kv", "uint32", config.kv_heads)
    rope = config.rope
    if rope.type in ("linear", "yarn") and rope.factor is not None:
        put("llama.rope.scaling.type", "string", rope.type)
        put("llama.rope.scaling.factor", "float32", rope.factor)
        if rope.type == "yarn":
            put("llama.rope.scaling.original_context_length", "uint32", rope.original_context)
            put("llama.rope.scaling.yarn_ext_factor", "float32", rope.extrapolation_factor)
            put("llama.rope.scaling.yarn_attn_factor", "float32", rope.attention_factor)
            put("llama.rope.scaling.yarn_beta_fast", "float32", rope.beta_fast)
            put("llama.rope.scaling.yarn_beta_slow", "float32", rope.beta_slow)
    elif rope.type in ("su", "longrope"):
        put("llama.rope.scaling.type", "string", "longrope")
    elif rope.type not in ("default", "llama3"):
        warnings = (
            f"The rope scaling {shown(rope.type)} is not written to GGUF, so long contexts will come out wrong.",
        )
    put("llama.rope.freq_base", "float32", config.rope_theta)
    put("llama.attention.layer_norm_rms_epsilon", "float32", config.rms_eps)
    put("llama.attention.key_length", "uint32", config.head_dim)
    put("llama.attention.value_length", "uint32", config.head_dim)
    put("general.file_type", "uint32", file_type)
    put("llama.vocab_size", "uint32", config.vocab)
    put("llama.rope.dimension_count", "uint32", config.head_dim)
    return out, warnings
