"""What a transformer does to single numbers: activations and gates."""

from __future__ import annotations

import numpy as np


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x))"""
    e = np.negative(x)
    with np.errstate(over="ignore"):  # exp(-x) may reach infinity, where the quotient is 0 as it should be
        np.exp(e, out=e)
    e += 1
    return np.divide(x, e, out=e)


def gelu(x: np.ndarray) -> np.ndarray:
    """x / 2 · (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))"""
    return x / 2 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


def erf_gelu(x: np.ndarray) -> np.ndarray:
    """x / 2 · (1 + erf(x / sqrt(2))), erf to 1.5e-7. Abramowitz and Stegun, 7.1.26."""
    a = np.abs(x) / np.sqrt(2.0)
    t = 1 / (1 + 0.3275911 * a)
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return (x / 2 * (1 + np.sign(x) * (1 - tail * np.exp(-a * a)))).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)"""
    return np.maximum(x, 0)


ACTIVATIONS = {"silu": silu, "gelu": gelu, "erf": erf_gelu, "relu": relu}
SWIGLU_ALPHA, SWIGLU_LIMIT = np.float32(1.702), np.float32(7.0)


def activated(kind: str, up: np.ndarray, gate: np.ndarray | None) -> np.ndarray:
    """What the feed-forward part makes of up · x and gate · x: a new array."""
    if kind == "swiglu":
        gate, up = np.minimum(gate, SWIGLU_LIMIT), np.clip(up, -SWIGLU_LIMIT, SWIGLU_LIMIT)
        return (up + 1) * gate * sigmoid(SWIGLU_ALPHA * gate)
    inner = ACTIVATIONS[kind](up if gate is None else gate)
    if gate is not None:
        inner *= up
    return inner


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the last axis, shifted so that nothing overflows."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
