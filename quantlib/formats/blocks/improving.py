"""Best effort as a whole: search on from the codes that ggml chose, then stretch what was found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantlib.formats.blocks.stretch import Sums, stretched
from quantlib.formats.layout import Layout

Codes = Mapping[str, np.ndarray]
Improve = Callable[[np.ndarray, np.ndarray, Codes, bool], Codes]
TOGETHER = 1 << 18  # weights that are unpacked at once, in whole rows


@dataclass(frozen=True, eq=False)
class Steps:
    """What it takes, by kernels or by the reference, all on blocks.

    improve(x, weights, codes, weighed) -> codes. unpack, pack: bytes to codes and back. decode: bytes to weights.
    moments: the sums of `stretch`.
    """

    improve: Improve
    unpack: Callable[[np.ndarray], Codes]
    pack: Callable[[Codes], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]
    moments: Sums


def improved(
    given: np.ndarray, x: np.ndarray, importance: np.ndarray | None, layout: Layout, steps: Steps
) -> np.ndarray:
    """Blocks of no higher error than the given ones: uint8 (blocks, nbytes) -> the same shape.

    x: float32 (blocks, values). importance: float32 (blocks of a row, values), alike in all rows, or None.
    """
    weights = np.ones((1, x.shape[1]), np.float32) if importance is None else importance
    times = max(1, TOGETHER // weights.size)
    tiled = np.tile(weights, (times, 1))  # (blocks of some rows, values)
    out = np.empty_like(given)
    for start in range(0, len(x), len(tiled)):
        some = slice(start, start + len(tiled))
        before, values, weights = given[some], x[some], tiled[: len(x) - start]
        found = steps.pack(steps.improve(values, weights, steps.unpack(before), importance is not None))
        out[some] = stretched(values, weights, before, found, layout, steps.decode, steps.moments)
    return out
