"""Marks on a ruler: where a few levels should be so that a tensor's weights lose least, every block on one scale."""

import re
from dataclasses import dataclass
from math import sqrt

import numpy as np

from quantlib.formats import FORMATS

BLOCK = 32
BINS = 81  # of the histogram that is drawn; odd, so that zero has a bin of its own
FINE = 1000  # places of a mark on either side of zero


@dataclass(frozen=True, eq=False)
class Crowd:
    """The weights of a tensor, each as a share of the largest magnitude of its block of 32.

    counts: int (BINS,), how many lie where between −1 and 1. power: float64 (2 FINE + 1,), Σ of the squared largest
    magnitudes over the weights whose share is nearest to each place: a miss of one place costs so much more there.
    """

    counts: np.ndarray
    power: np.ndarray
    total: int


def crowd(x: np.ndarray) -> Crowd:
    """Gather x (rows, n), n a multiple of 32."""
    groups = x.reshape(-1, BLOCK)
    largest = np.abs(groups).max(-1, keepdims=True)
    share = np.divide(groups, largest, out=np.zeros_like(groups), where=largest > 0)
    places = np.rint(share * FINE).astype(np.int64) + FINE
    weight = np.broadcast_to(np.square(largest, dtype=np.float64), groups.shape)
    power = np.bincount(places.reshape(-1), weight.reshape(-1), 2 * FINE + 1)
    return Crowd(np.histogram(share, BINS, (-1, 1))[0], power, share.size)


def places() -> np.ndarray:
    """The share of each place: float64 (2 FINE + 1,)"""
    return np.arange(-FINE, FINE + 1) / FINE


def relative(found: Crowd, marks: np.ndarray) -> float:
    """The relative error when every weight goes to the nearest of the marks (count,), shares between −1 and 1."""
    miss = np.abs(places()[:, None] - np.asarray(marks, np.float64)).min(-1)
    whole = float(found.power @ np.square(places()))
    return sqrt(float(found.power @ np.square(miss)) / whole) if whole else 0.0


def even(count: int) -> np.ndarray:
    """Marks from −1 to 1, all the same distance apart."""
    return np.linspace(-1, 1, count)


def nf4() -> np.ndarray:
    """The marks of NF4: 16."""
    return np.sort(FORMATS["NF4"].entries).astype(np.float64)


def best(found: Crowd, count: int, rounds: int = 200) -> np.ndarray:
    """Marks that no small move improves: each is the mean of the weights that go to it. Starts from even marks.

    Source: Lloyd, "Least squares quantization in PCM", 1982.
    """
    marks, at = even(count), places()
    for _ in range(rounds):
        nearest = np.searchsorted((marks[1:] + marks[:-1]) / 2, at)
        power = np.bincount(nearest, found.power, count)
        moment = np.bincount(nearest, found.power * at, count)
        moved = np.sort(np.divide(moment, power, out=marks.copy(), where=power > 0))
        if np.allclose(moved, marks, atol=1e-6):
            break
        marks = moved
    return marks


def parse(text: str | None, count: int) -> np.ndarray | None:
    """Marks as an address spells them, "-1000_-350_…" in thousandths; None where it spells no `count` of them."""
    parts = (text or "").split("_")
    if len(parts) != count or not all(re.fullmatch("-?[0-9]{1,4}", part) for part in parts):
        return None
    marks = np.sort(np.array([int(part) for part in parts])) / FINE
    return marks if np.abs(marks).max() <= 1 else None
