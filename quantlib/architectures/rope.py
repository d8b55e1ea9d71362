"""Rotary positions: how a model's are stretched, and the tensors and keys that tell llama.cpp.

Source: TextModel.set_gguf_parameters() and the generate_extra_tensors() of llama.cpp's conversion/base.py, llama.py and
phi.py; the defaults are those of transformers' PreTrainedConfig.standardize_rope_params().
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.architectures.config import Config

# Kinds of scaling by transformers' names, and what llama.cpp calls them; the others need no key or have none.
WRITTEN = {"linear": "linear", "yarn": "yarn", "su": "longrope", "longrope": "longrope"}
WITHOUT_KEY = ("default", "llama3")


@dataclass(frozen=True)
class Rope:
    """Base frequencies (of sliding layers too, where they have their own) and how positions are stretched.

    type: transformers' rope_type; its numbers are None where not given. sections: how many pairs of channels turn with
    each coordinate of a picture; numbers: whatever else it says, by its own names.
    """

    type: str = "default"
    theta: float | None = None
    local_theta: float | None = None
    partial: float | None = None
    factor: float | None = None
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_context: int | None = None
    extrapolation_factor: float | None = None
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None
    sections: tuple[int, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    long_factors: tuple[float, ...] = ()
    short_factors: tuple[float, ...] = ()


NO_ROPE = Rope()


def unknown_scaling(config: Config) -> str | None:
    """A warning where llama.cpp has no counterpart of the model's rope scaling."""
    if config.rope.type in (*WRITTEN, *WITHOUT_KEY):
        return None
    return f"The rope scaling {config.rope.type[:40]!r} is not written to GGUF, so long contexts will come out wrong."


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
