"""Rotary positions: how a model's are stretched, and the tensors and keys that tell llama.cpp.

Source: TextModel.set_gguf_parameters() and the generate_extra_tensors() of llama.cpp's conversion/base.py, llama.py and
phi.py; the defaults are those of transformers' PreTrainedConfig.standardize_rope_params().
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.convert.architecture import Key
from quantlib.checkpoints.untrusted import Fields

if TYPE_CHECKING:
    from quantlib.checkpoints.convert.config import Config

MAX_FACTORS = 2**15
# Kinds of scaling by transformers' names, and what llama.cpp calls them; the others need no key or have none.
WRITTEN = {"linear": "linear", "yarn": "yarn", "su": "longrope", "longrope": "longrope"}
WITHOUT_KEY = ("default", "llama3")


@dataclass(frozen=True)
class Rope:
    """Base frequencies (of sliding layers too, where they have their own) and how positions are stretched.

    type: transformers' rope_type; its numbers are None where not given.
    """

    type: str = "default"
    theta: float | None = None
    local_theta: float | None = None
    partial: float = 1.0
    factor: float | None = None
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_context: int | None = None
    extrapolation_factor: float | None = None
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    long_factors: tuple[float, ...] = ()
    short_factors: tuple[float, ...] = ()


NO_ROPE = Rope()


def read_rope(path: Path, fields: Fields, theta: float) -> Rope:
    """rope_parameters as of transformers 5, once or for each kind of layer; before, rope_scaling and rope_theta."""
    key = "rope_parameters" if fields.values.get("rope_parameters") is not None else "rope_scaling"
    what = f"in {shown(key)} that "
    rope = Fields(path, fields.object(key), what)
    local = fields.float("rope_local_base_freq", 1e-3, 1e12)
    if rope.values.get("full_attention") is not None:
        sliding = Fields(path, rope.object("sliding_attention"), what)
        local = sliding.float("rope_theta", 1e-3, 1e12, local)
        rope = Fields(path, rope.object("full_attention"), what)
    # Models that say it outside mean the same: Phi-3 does.
    original = fields.int("original_max_position_embeddings", 1, 2**31 - 1)
    original = rope.int("original_max_position_embeddings", 1, 2**31 - 1, original)
    kind = rope.str("rope_type", rope.str("type", "default", limit=64), limit=64).lower()
    attention = rope.float("attention_factor", -1e6, 1e6, rope.float("attn_factor", -1e6, 1e6))
    partial = rope.float("partial_rotary_factor", 0.0, 1.0, fields.float("partial_rotary_factor", 0.0, 1.0, 1.0))
    found = Rope(
        type=kind,
        theta=rope.float("rope_theta", 1e-3, 1e12, fields.float("rope_theta", 1e-3, 1e12, theta)),
        local_theta=local,
        partial=partial,
        factor=rope.float("factor", 1e-6, 1e6),
        low_freq_factor=rope.float("low_freq_factor", 1e-6, 1e6),
        high_freq_factor=rope.float("high_freq_factor", 1e-6, 1e6),
        original_context=original,
        extrapolation_factor=rope.float("extrapolation_factor", -1e6, 1e6),
        attention_factor=attention,
        beta_fast=rope.float("beta_fast", -1e6, 1e6),
        beta_slow=rope.float("beta_slow", -1e6, 1e6),
        long_factors=_factors(rope, "long_factor"),
        short_factors=_factors(rope, "short_factor"),
    )
    if found.type == "yarn" and found.factor is not None and original is None:
        raise fault(path, "scales its positions by yarn, but does not say 'original_max_position_embeddings'.")
    return found


def _factors(rope: Fields, key: str) -> tuple[float, ...]:
    values = rope.list(key)
    if len(values) > MAX_FACTORS or not all(type(v) in (int, float) and 0 < v < 1e6 for v in values):
        raise fault(rope.path, f"has a {shown(key)} that is not a list of at most {MAX_FACTORS:,} positive numbers.")
    return tuple(float(value) for value in values)


def scaling_keys(config: Config) -> tuple[Key, ...]:
    """rope.scaling.*: nothing where positions are not stretched, or are by a tensor."""
    rope, kind = config.rope, WRITTEN.get(config.rope.type)
    if kind is None or (kind != "longrope" and rope.factor is None):
        return ()
    values: dict[str, tuple[str, object]] = {"type": ("string", kind)}
    if kind != "longrope":
        values["factor"] = ("float32", rope.factor)
    if kind == "yarn":
        values |= {
            "original_context_length": ("uint32", rope.original_context),
            "yarn_ext_factor": ("float32", rope.extrapolation_factor),
            "yarn_attn_factor": ("float32", rope.attention_factor),
            "yarn_beta_fast": ("float32", rope.beta_fast),
            "yarn_beta_slow": ("float32", rope.beta_slow),
        }
    return tuple(
        Key(f"rope.scaling.{name}", kind, lambda config, value=value: value) for name, (kind, value) in values.items()
    )


def unknown_scaling(config: Config) -> str | None:
    """A warning where llama.cpp has no counterpart of the model's rope scaling."""
    if config.rope.type in (*WRITTEN, *WITHOUT_KEY):
        return None
    return f"The rope scaling {shown(config.rope.type)} is not written to GGUF, so long contexts will come out wrong."


def llama3_factors(config: Config) -> dict[str, np.ndarray]:
    """rope_freqs.weight: the divisors of Llama 3's rotary frequencies, float32 (head / 2,); none for other scalings.

    Frequencies whose wavelength is beyond the trained context are slowed by `factor`, short ones stay, those between go
    smoothly over. Source: transformers' llama3 rope, as written out by LlamaModel.generate_extra_tensors().
    """
    rope = config.rope
    if rope.type != "llama3":
        return {}
    factor = rope.factor if rope.factor is not None else 8.0
    low = rope.low_freq_factor if rope.low_freq_factor is not None else 1.0
    high = rope.high_freq_factor if rope.high_freq_factor is not None else 4.0
    original = rope.original_context if rope.original_context is not None else 8192
    f32 = np.float32
    exponent = np.arange(0, config.head_width, 2, dtype=f32) / f32(config.head_width)
    frequencies = f32(1) / np.power(f32(rope.theta), exponent)
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
    return {"rope_freqs.weight": np.array(out, dtype=f32)}


def longrope_factors(config: Config) -> dict[str, np.ndarray]:
    """rope_factors_long.weight and rope_factors_short.weight: Phi-3's divisors beyond and within the first context."""
    rope = config.rope
    if not rope.long_factors:
        return {}
    return {
        "rope_factors_long.weight": np.array(rope.long_factors, np.float32),
        "rope_factors_short.weight": np.array(rope.short_factors, np.float32),
    }


def longrope_attention(config: Config) -> float | None:
    """By how much attention grows with the stretched context: sqrt(1 + ln(scale) / ln(original context))."""
    rope = config.rope
    if not rope.long_factors or not rope.original_context:
        return None
    scale = config.context / rope.original_context
    if scale <= 1 or rope.original_context <= 1:
        return 1.0
    return math.sqrt(1 + math.log(scale) / math.log(rope.original_context))
