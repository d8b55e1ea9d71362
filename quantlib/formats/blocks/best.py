"""Better codes in the same blocks: what the searches share that go on from ggml's choice to a lower error, never up.

A block fixes what can be stored, not how it is found. Rounding to the nearest level is the best that codes can do for a
scale and a minimum, so that only these are searched: the error as a function of a scale falls and rises wherever a code
changes, dozens of times within a few percent, and ggml looks at a few places of it. Here many are tried, and what
they lead to is fitted once more. A block keeps ggml's bytes where nothing better is found. The end is in `stretch`.

x̂ = scale · level − minimum; the weighted squared error is Σ w · (x − x̂)², with x̂ in float32 as a decoder has it.
"""

from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.search import VALUES, nearest_value, total

F32 = np.float32
MAGIC = F32(12582912)  # 1.5 · 2²³: adding it and taking it away rounds to whole numbers, ties to even


class Levels(NamedTuple):
    """What codes stand for: the whole numbers from low to high, or with `uneven` the sixteen values of IQ4_NL."""

    low: int
    high: int
    uneven: bool = False

    def of(self, codes: np.ndarray) -> np.ndarray:
        """The levels of codes, float32 of the same shape."""
        return (VALUES[codes] if self.uneven else codes.astype(np.int32) + self.low).astype(F32)

    def codes(self, levels: np.ndarray) -> np.ndarray:
        """The codes of levels, uint8 of the same shape."""
        return nearest_value(levels) if self.uneven else (levels - F32(self.low)).astype(np.uint8)

    def nearest(self, v: np.ndarray) -> np.ndarray:
        """The nearest level to each number."""
        return VALUES[nearest_value(v)].astype(F32) if self.uneven else clamp(whole(v), self.low, self.high)


class Reach(NamedTuple):
    """How far a search looks: this many steps of the scale to both sides, and for each as many of the minimum.

    mirrored: it tries scales of the other sign too, where there are no minima and a level is missing on one side.
    """

    scales: int
    minima: int = 0
    mirrored: bool = False


def whole(v: np.ndarray) -> np.ndarray:
    """The nearest whole number as float32, ties to even, of magnitudes below 2²²."""
    return (v + MAGIC) - MAGIC


def clamp(v: np.ndarray, low: int, high: int) -> np.ndarray:
    """v held to [low, high]; NaN stays."""
    v = np.where(v < F32(low), F32(low), v)
    return np.where(v > F32(high), F32(high), v)


def rounded(x: np.ndarray, scale: np.ndarray, minimum: np.ndarray, levels: Levels) -> np.ndarray:
    """The nearest level to each weight. x: float32 (..., n); scale, minimum: (...); where the scale is 0, that to 0."""
    inverse = np.where(scale != 0, F32(1) / scale, F32(0))
    return levels.nearest((x + minimum[..., None]) * inverse[..., None])


def error_with(
    x: np.ndarray, weights: np.ndarray, scale: np.ndarray, minimum: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """The weighted squared error of groups with these levels: (..., n) -> (...)."""
    miss = level * scale[..., None] - minimum[..., None] - x
    return total(weights * (miss * miss))


def error_of(x: np.ndarray, weights: np.ndarray, scale: np.ndarray, minimum: np.ndarray, levels: Levels) -> np.ndarray:
    """The weighted squared error of groups with the nearest levels: (..., n) -> (...)."""
    return error_with(x, weights, scale, minimum, rounded(x, scale, minimum, levels))


class Sums(NamedTuple):
    """What a least-squares fit of x to the levels v of groups needs: Σ w·v, Σ w·v², Σ w·v·x, (...) each."""

    v: np.ndarray
    vv: np.ndarray
    vx: np.ndarray


def sums_of(x: np.ndarray, weights: np.ndarray, scale: np.ndarray, minimum: np.ndarray, levels: Levels) -> Sums:
    """These sums for the nearest levels."""
    level = rounded(x, scale, minimum, levels)
    wv = weights * level
    return Sums(total(wv), total(wv * level), total(wv * x))


def half(v: np.ndarray) -> np.ndarray:
    """A float32 as half precision keeps it."""
    return v.astype(F32).astype(np.float16).astype(F32)
