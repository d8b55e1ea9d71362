"""A model whose cache of keys and values is stored in blocks of 8 or 4 bits, and what that costs its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib import formats
from quantlib.lm.cache import Cache
from quantlib.lm.comparison import Baseline, Summary, compare, together
from quantlib.lm.model import Model, Observe
from quantlib.lm.shape import Shape

# Keys, values: as llama.cpp offers them with --cache-type-k and --cache-type-v.
PAIRS = (("Q8_0", "Q8_0"), ("Q8_0", "Q4_0"), ("Q4_0", "Q8_0"), ("Q4_0", "Q4_0"))


class BlockCache(Cache):
    """A cache that keeps keys and values as these formats leave them: each head's numbers of a token in blocks."""

    def __init__(self, shape: Shape, capacity: int, sequences: int, keys: str, values: str):
        super().__init__(shape, capacity, sequences)
        self.formats = keys, values

    def take(self, layer: int, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As in `Cache`. Raises FormatError where a head's width does not divide into blocks."""
        return super().take(layer, *map(read_back, (keys, values), self.formats))


def read_back(x: np.ndarray, name: str) -> np.ndarray:
    """x (..., n) stored in a format and decoded, its last axis in blocks."""
    form = formats.get(name)
    rows = np.ascontiguousarray(x, np.float32).reshape(-1, x.shape[-1])
    return form.dequantize(form.quantize(rows), x.shape[-1]).reshape(x.shape)


@dataclass(frozen=True, eq=False)
class WithBlockCache(Model):
    """A model that reads every text through a cache in these formats."""

    cached: tuple[str, str] = PAIRS[0]

    def hidden(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        rows = np.asarray(tokens).reshape(-1, np.shape(tokens)[-1])
        cache = cache or BlockCache(self.shape, rows.shape[1], len(rows), *self.cached)
        return super().hidden(tokens, cache, observe)


def with_block_cache(model: Model, keys: str, values: str) -> WithBlockCache:
    """The model with its cache in these formats; weights are shared."""
    return WithBlockCache(model.architecture, model.shape, model.weights, (keys, values))


@dataclass(frozen=True)
class CacheCost:
    """What a cache in these formats costs the predictions. bits: of a number, on average over both."""

    keys: str
    values: str
    bits: float
    cost: Summary


def cache_costs(bases: Sequence[Baseline], pairs: Sequence[tuple[str, str]] = PAIRS) -> tuple[CacheCost, ...]:
    """Measure each pair of formats against the same model with a cache that rounds nothing.

    Raises FormatError where a head's width does not divide into blocks.
    """
    found = []
    for keys, values in pairs:
        changed = with_block_cache(bases[0].model, keys, values)
        total = together([compare(changed, base) for base in bases]).summary()
        found.append(CacheCost(keys, values, (formats.get(keys).bpw + formats.get(values).bpw) / 2, total))
    return tuple(found)
