"""Families of weights that tests of block formats run over: from ordinary to what breaks a careless encoder."""

from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def _one_outlier(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = rng.standard_normal(shape) * 0.02
    x[:, 7::256] = 40
    return x


def _mixed_scale(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    groups = np.repeat(10.0 ** rng.uniform(-7, 3, (shape[0], shape[1] // 16)), 16, axis=1)
    return rng.standard_normal(shape) * groups


def _constant_blocks(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.repeat(rng.standard_normal((shape[0], shape[1] // 32)), 32, axis=1)


def _signed_zeros(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = rng.standard_normal(shape) * (rng.random(shape) < 0.1)
    return np.where(rng.random(shape) < 0.5, -x, x)


def _bf16(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = (rng.standard_normal(shape) * 0.02).astype(np.float32)
    return (x.view(np.uint32) & 0xFFFF0000).view(np.float32)


def _alternating(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return np.where(np.arange(shape[1]) % 2, -1, 1) * (1 + rng.random(shape) * 1e-3)


FAMILIES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "llm": lambda rng, shape: rng.standard_normal(shape) * 0.02,
    "heavy tail": lambda rng, shape: rng.standard_t(2, shape),
    "very heavy tail": lambda rng, shape: rng.standard_cauchy(shape),
    "uniform": lambda rng, shape: rng.uniform(-1, 1, shape),
    "shifted": lambda rng, shape: rng.standard_normal(shape) * 0.02 + 0.05,
    "bf16": _bf16,
    "positive": lambda rng, shape: rng.random(shape) + 1,
    "negative": lambda rng, shape: -rng.random(shape) - 1,
    "one outlier": _one_outlier,
    "mixed scale": _mixed_scale,
    "grid": lambda rng, shape: rng.integers(-8, 8, shape) / 8,
    "halves": lambda rng, shape: rng.integers(-254, 255, shape) / 2,
    "ternary": lambda rng, shape: rng.integers(-1, 2, shape),
    "alternating": _alternating,
    "signed zeros": _signed_zeros,
    "zeros": lambda rng, shape: np.zeros(shape),
    "negative zeros": lambda rng, shape: -np.zeros(shape),
    "constant": _constant_blocks,
    "same everywhere": lambda rng, shape: np.full(shape, -0.37),
    "tiny": lambda rng, shape: rng.standard_normal(shape) * 1e-15,
    "below half precision": lambda rng, shape: rng.standard_normal(shape) * 1e-8,
    "nearly subnormal": lambda rng, shape: rng.standard_normal(shape) * 1e-37,
    "subnormal": lambda rng, shape: rng.standard_normal(shape) * 1e-41,
    "large": lambda rng, shape: rng.standard_normal(shape) * 1e6,
    "huge": lambda rng, shape: rng.standard_normal(shape) * 1e30,
    "end of range": lambda rng, shape: np.clip(rng.standard_normal(shape) * 3e38, -3.4e38, 3.4e38),
}


def _few_columns(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two columns of every 32 count: then a k-quant's scale search can end below zero."""
    importance = np.zeros((n // 32, 32))
    for _ in range(2):
        importance[np.arange(n // 32), rng.integers(0, 32, n // 32)] = 10.0 ** rng.uniform(-15, 3, n // 32)
    return importance.reshape(-1)


IMPORTANCE: dict[str, Callable[[np.random.Generator, int], np.ndarray | None]] = {
    "none": lambda rng, n: None,
    "ordinary": lambda rng, n: rng.standard_normal(n) ** 2,
    "sparse": lambda rng, n: rng.random(n) * (rng.random(n) < 0.03),
    "few": _few_columns,
    "all zero": lambda rng, n: np.zeros(n),
    "wide": lambda rng, n: 10.0 ** rng.uniform(-12, 12, n),
}


def draw(family: str, importance: str, shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """float32 weights (rows, n) and an importance (n,) or None."""
    rng = np.random.default_rng([seed, len(family), sum(family.encode())])
    x = FAMILIES[family](rng, shape).astype(np.float32)
    important = IMPORTANCE[importance](rng, shape[1])
    return x, None if important is None else important.astype(np.float32)


def needed(form, importance: np.ndarray | None, n: int) -> np.ndarray | None:
    """The importance; where there is none, an even one for formats that store nothing without."""
    return np.ones(n, np.float32) if importance is None and form.requires_importance else importance
