"""Rotary positions: pairs of channels turn by an angle that grows with the token's place.

Su et al., "RoFormer", 2021; Peng et al., "YaRN", 2023; Ding et al., "LongRoPE", 2024.
"""

from __future__ import annotations

import math

import numpy as np

from quantlib.lm.shape import Rotary

Turn = tuple[np.ndarray, np.ndarray]  # cosine and sine, float32 (n, 1, dims / 2)


def turn(rotary: Rotary, positions: np.ndarray, local: bool, factors: np.ndarray | None = None) -> Turn:
    """Cosine and sine of position · frequency, float32 (n, 1, dims / 2).

    local: in a layer with a window, where positions are not stretched if such layers have a base of their own.
    factors: what each frequency is divided by, as the checkpoint has them.
    """
    stretched = not (local and rotary.local_base is not None)
    base = rotary.base if stretched else rotary.local_base
    dims = rotary.local_dims if local and rotary.local_dims is not None else rotary.dims
    frequency = base ** (-np.arange(0, dims, 2) / dims)
    size = 1.0
    if stretched and rotary.scaling == "linear":
        frequency = frequency / rotary.factor
    elif stretched and rotary.scaling == "yarn":
        frequency = _yarn(rotary, frequency)
        size = rotary.attention_factor or (0.1 * math.log(rotary.factor) + 1 if rotary.sized else 1.0)
    elif rotary.attention_factor is not None and rotary.scaling != "yarn":
        size = rotary.attention_factor
    if factors is not None and len(factors) == len(frequency):
        frequency = frequency / factors
    angle = (positions[:, None] * frequency)[:, None, :]
    return (size * np.cos(angle)).astype(np.float32), (size * np.sin(angle)).astype(np.float32)


def _yarn(rotary: Rotary, frequency: np.ndarray) -> np.ndarray:
    """Slow frequencies divided by the factor, fast ones kept, a ramp between them."""
    original = rotary.original_context or 4096

    def place(turns: float) -> float:
        """Which pair of channels turns so often over the original context."""
        return rotary.dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(rotary.base))

    low, high = place(rotary.beta_fast), place(rotary.beta_slow)
    if not rotary.exact:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(0, low), min(rotary.dims - 1, high)
    ramp = np.clip((np.arange(rotary.dims // 2) - low) / max(high - low, 0.001), 0, 1)
    return frequency / rotary.factor * ramp + frequency * (1 - ramp)


def rotate(x: np.ndarray, angles: Turn, pairs: str) -> np.ndarray:
    """Turn the first channels of each head (..., n, heads, d); pairs: "neighbours" or "halves"."""
    cos, sin = angles
    dims = 2 * cos.shape[-1]
    if pairs == "neighbours" and dims == x.shape[-1]:  # a pair of neighbours is a complex number, turned by one product
        return (np.ascontiguousarray(x).view(np.complex64) * (cos + np.complex64(1j) * sin)).view(np.float32)
    one, other = (
        (slice(0, dims, 2), slice(1, dims, 2)) if pairs == "neighbours" else (slice(dims // 2), slice(dims // 2, dims))
    )
    out = x.copy()
    out[..., one] = x[..., one] * cos - x[..., other] * sin
    out[..., other] = x[..., one] * sin + x[..., other] * cos
    return out
