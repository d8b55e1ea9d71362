"""Levels and scales apart: the same blocks on even and on uneven levels, with a plain and with a searched scale."""

from dataclasses import dataclass

import numpy as np

from quantlib.figures.codebooks.marks import BLOCK
from quantlib.formats import FORMATS
from quantlib.formats.blocks.search import VALUES
from quantlib.metrics import compare

SHARES = np.linspace(0.7, 1.15, 31)  # of the plain scale: what the search tries, with either sign
LEVELS = {
    "even": np.arange(-8, 8) / 8,
    "NF4": np.sort(FORMATS["NF4"].entries).astype(np.float64),
    "IQ4_NL": VALUES / 127,
}


@dataclass(frozen=True, eq=False)
class Stored:
    """x (rows, n) stored on one set of levels. scales: float32 (blocks,), FP16 numbers. decoded: ŵ, as x."""

    levels: str
    searched: bool
    scales: np.ndarray
    decoded: np.ndarray
    relative: float


def effects(x: np.ndarray) -> dict[tuple[str, bool], Stored]:
    """Every set of LEVELS with a plain and with a searched scale: by (name, whether searched).

    All have blocks of 32 and FP16 scales. Plain puts the weight of largest magnitude on the outermost level, −1. The
    search tries the same shares of that scale for all levels, with both signs, and keeps the least squared error.
    """
    return {(name, searched): store(x, name, searched) for searched in (False, True) for name in LEVELS}


def store(x: np.ndarray, name: str, searched: bool) -> Stored:
    """Store x (rows, n), n a multiple of 32, on the levels of this name."""
    groups = x.reshape(-1, BLOCK)
    largest = groups[np.arange(len(groups)), np.abs(groups).argmax(-1)]
    shares = (-1.0, *(sign * share for share in SHARES for sign in (-1, 1))) if searched else (-1.0,)
    least = np.full(len(groups), np.inf)
    scales, decoded = np.zeros(len(groups), np.float32), np.zeros_like(groups)
    for share in shares:
        scale = (share * largest).astype(np.float16).astype(np.float32)
        back = on_levels(groups, scale, LEVELS[name])
        error = np.square(groups - back, dtype=np.float64).sum(-1)
        better = error < least
        least = np.where(better, error, least)
        scales[better], decoded[better] = scale[better], back[better]
    decoded = decoded.reshape(x.shape)
    return Stored(name, searched, scales, decoded, compare(x, decoded).relative)


def on_levels(groups: np.ndarray, scale: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Each of groups (blocks, n) at the nearest level times its block's scale (blocks,): float32 (blocks, n)"""
    share = np.divide(groups, scale[:, None], out=np.zeros_like(groups), where=scale[:, None] != 0)
    nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, share)
    return (levels[nearest].astype(np.float32) * scale[:, None]).astype(np.float32)


def typical(x: np.ndarray, found: dict[tuple[str, bool], Stored]) -> int:
    """The block of x whose relative errors are closest to those of all of x."""
    groups = x.reshape(-1, BLOCK).astype(np.float64)
    size = np.square(groups).sum(-1)
    distance = np.zeros(len(groups))
    for stored in found.values():
        error = np.square(groups - stored.decoded.reshape(groups.shape)).sum(-1)
        own = np.sqrt(np.divide(error, size, out=np.full(len(groups), np.inf), where=size > 0))
        distance += np.abs(own - stored.relative)
    return int(distance.argmin())
