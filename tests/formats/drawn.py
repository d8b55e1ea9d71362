"""Weights for property tests, drawn by a seed, with what breaks careless rounding among them."""

import numpy as np
from hypothesis import strategies as st


def weights(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """float32 of mixed sizes, with zeros, repeated numbers, exact halves, outliers and one-sided rows among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 2, (*shape[:-1], 1))
    kind = rng.integers(0, 6, (*shape[:-1], 1))
    x = np.where(kind == 0, np.rint(4 * x) / 2, x)
    x = np.where(kind == 1, np.abs(x), x)
    x = np.where(kind == 2, x[..., :1], x)
    x = np.where(rng.random(shape) < 0.1, 0, x)
    x = np.where(rng.random(shape) < 0.02, 20 * x, x)
    return np.where(kind == 3, x * rng.integers(0, 2), x).astype(np.float32)


def drawn(*shape: int) -> st.SearchStrategy:
    """Strategy for `weights` of one shape."""
    return st.integers(0, 2**32 - 1).map(lambda seed: weights(seed, shape))
