"""Linear attention with a gated delta rule: a state of fixed size in place of all keys and values.

    S = exp(g) S;  S = S + k (b (v - Sᵀk))ᵀ;  o = Sᵀq

Yang et al., "Gated Delta Networks: Improving Mamba2 with Delta Rule", 2024. And the short convolution before it.
"""

from __future__ import annotations

import numpy as np

EPSILON = np.float32(1e-6)


def convolved(x: np.ndarray, kernel: np.ndarray, before: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Each channel over its last few tokens: (sequences, n, channels), kernel (channels, k) -> the same shape, and the
    last k - 1 inputs, which the next tokens need. before: those of the tokens before; zeros where there are none.
    """
    count, n, channels = x.shape
    width = kernel.shape[1]
    if before is None:
        before = np.zeros((count, width - 1, channels), np.float32)
    padded = np.concatenate([before, x], axis=1)
    out = sum(padded[:, i : i + n] * kernel[:, i] for i in range(width))
    return np.ascontiguousarray(out), padded[:, n:].copy()


def delta_rule(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, g: np.ndarray, beta: np.ndarray, state: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the heads put out for each token, and the state behind the last.

    q, k (sequences, n, heads, d), normalized; v (sequences, n, heads, e); g, beta (sequences, n, heads): decay, its
    logarithm, and step. state (sequences, heads, d, e): zeros where there is none.
    """
    count, n, heads, d = q.shape
    state = np.zeros((count, heads, d, v.shape[-1]), np.float32) if state is None else state.copy()
    out = np.empty(v.shape, np.float32)
    decay = np.exp(g)
    for t in range(n):
        state *= decay[:, t, :, None, None]
        known = np.einsum("chde,chd->che", state, k[:, t])
        change = (v[:, t] - known) * beta[:, t, :, None]
        state += k[:, t, :, :, None] * change[:, :, None, :]
        out[:, t] = np.einsum("chde,chd->che", state, q[:, t])
    return out, state


def unit(x: np.ndarray) -> np.ndarray:
    """Each vector divided by its length."""
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + EPSILON)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))"""
    return np.logaddexp(x, np.float32(0)).astype(np.float32)
