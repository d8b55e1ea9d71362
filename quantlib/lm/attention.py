"""Attention over keys and values: each query over the keys up to its own position."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

QUERIES = 64  # queries whose scores are held at once: a few hundred KB, which stay in the processor's cache


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    window: int | None = None,
    cap: float | None = None,
    sinks: np.ndarray | None = None,
) -> np.ndarray:
    """softmax(q · kᵀ) · v, each query over the keys up to its own position, which for the last query is the last key.

    q (sequences, n, heads, d), scaled; k, v (sequences, kv_heads, m, d); returns (sequences, n, heads * d).
    window: how many keys a query sees, its own included; cap: scores become cap · tanh(scores / cap). sinks (heads,):
    the score of a key that takes its share of attention and has no value. v may be of another width than q and k.
    Some queries at a time, with no more keys than these see.
    """
    count, n, heads, d = q.shape
    kv, before = k.shape[1], k.shape[2] - n
    q = q.reshape(count, n, kv, heads // kv, d).transpose(0, 2, 3, 1, 4)  # (sequences, kv, shared, n, d)
    wide = v.shape[-1]
    out = np.empty((count, n, heads * wide), np.float32)
    if sinks is not None:
        sinks = sinks.astype(np.float32).reshape(1, kv, -1, 1)
    for start in range(0, n, QUERIES):
        stop = min(start + QUERIES, n)
        rows, seen = stop - start, before + stop
        low = 0 if window is None else max(0, before + start - window + 1)
        some = q[..., start:stop, :].reshape(count, kv, -1, d)  # (sequences, kv, shared * rows, d)
        scores = capped(some @ k[:, :, low:seen].swapaxes(2, 3), cap)  # (sequences, kv, shared * rows, seen - low)
        by_row = scores.reshape(count, kv, -1, rows, seen - low)
        by_row[..., -rows:] += _later(rows)
        if window is not None and low + window < seen:
            back = np.arange(before + start, seen)[:, None] - np.arange(low, seen)  # how far behind a query a key is
            by_row += np.where(back >= window, np.float32(-np.inf), np.float32(0))
        highest = scores.max(axis=-1, keepdims=True)
        scores -= highest
        np.exp(scores, out=scores)
        total = scores.sum(axis=-1, keepdims=True)
        if sinks is not None:
            total += np.exp(np.repeat(sinks, rows, axis=-1).reshape(1, kv, -1, 1) - highest)
        mix = scores @ v[:, :, low:seen] / total
        mix = mix.reshape(count, heads, rows, wide).transpose(0, 2, 1, 3)  # (sequences, rows, heads, d)
        out[:, start:stop] = mix.reshape(count, rows, -1)
    return out


@lru_cache(maxsize=256)
def _later(rows: int) -> np.ndarray:
    """What hides keys from the queries before them: -infinity above the diagonal, float32 (rows, rows)."""
    return np.triu(np.full((rows, rows), -np.inf, np.float32), 1)


def capped(x: np.ndarray, cap: float | None) -> np.ndarray:
    """cap · tanh(x / cap), which keeps values between -cap and cap; x where there is no cap."""
    return x if cap is None else np.float32(cap) * np.tanh(x / np.float32(cap))
