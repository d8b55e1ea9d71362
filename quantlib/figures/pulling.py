"""One weight far larger than its neighbours: what it costs them, and what it takes to repair the row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantlib.figures.weights import fp32_bits
from quantlib.formats.floats import FP32
from quantlib.formats.granularity import PerChannel, PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare

SHOWN = 64
GROUPS = (16,)
FORM = IntegerFormat(4, scale_format=FP32)


@dataclass(frozen=True, eq=False)
class Stretch:
    """Weights that are drawn, float32 (n,): a row from `start` on. at: the largest; ours: the one followed or −1."""

    weights: np.ndarray
    start: int
    at: int
    ours: int

    def beside(self, size: float = 1.0, group: int | None = None) -> tuple[int, float]:
        """How many levels the others use, and their relative error, with the largest at so many times its size."""
        x = self.weights.copy()
        x[self.at] = np.float32(size * float(x[self.at]))
        found = round_to_nearest(x[None], FORM, PerGroup(group) if group else PerChannel())
        others = np.arange(x.size) != self.at
        used = np.unique(found.codes[0, others]).size
        return used, compare(x[others], found.decoded[0, others]).relative


def stretch(row: np.ndarray, column: int, shown: int = SHOWN) -> Stretch:
    """Whole groups of a row (n,) around its largest weight; with the weight followed where that fits."""
    at, finest = int(np.abs(row).argmax()), GROUPS[0]
    shown = min(shown, row.size)
    low, high = min(at, column), max(at, column)
    middle = (low + high) // 2 if high - low < shown - finest else at
    start = int(np.clip((middle - shown // 2) // finest * finest, 0, row.size - shown))
    inside = start <= column < start + shown and column != at
    return Stretch(
        np.ascontiguousarray(row[start : start + shown]), start, at - start, column - start if inside else -1
    )


def message(found: Stretch, token: str, mode: str, share: int, group: int) -> dict:
    """For the component `pull`. mode: "outlier" or "clip"; share: thousandths of the largest weight."""
    return {
        "token": token,
        "mode": mode,
        "weights": fp32_bits(found.weights).tolist(),
        "at": found.at,
        "ours": found.ours,
        "groups": [g for g in GROUPS if found.weights.size % g == 0 and g < found.weights.size],
        "share": share,
        "group": group,
    }


@dataclass(frozen=True)
class Repair:
    """A way to store a row: weights that share a scale, and how many of the largest are kept apart in 16 bits."""

    group: int
    apart: int
    bpw: float
    error: float


APART = (0, 1, 2, 4, 8)
SHARING = (None, 128, 64, 32, 16)
PLACE_BITS = 16  # where a weight that is kept apart belongs


def repair(row: np.ndarray, group: int | None, apart: int) -> Repair:
    """Store a row (n,): 4-bit codes, a scale for each group (None: one), the `apart` largest in FP16 with places."""
    x = np.ascontiguousarray(row, np.float32)
    kept = np.argsort(-np.abs(x), kind="stable")[:apart]
    rest = x.copy()
    rest[kept] = 0
    found = round_to_nearest(rest[None], IntegerFormat(4), PerGroup(group) if group else PerChannel())
    stored = found.decoded[0].copy()
    stored[kept] = x[kept].astype(np.float16)
    bits = found.bpw + apart * (16 + PLACE_BITS) / x.size
    return Repair(group or x.size, apart, bits, compare(x, stored).relative)


def repairs(row: np.ndarray) -> Iterator[Repair]:
    """Every way that the puzzle offers and the row allows."""
    for group in SHARING:
        if group is None or (row.size % group == 0 and group < row.size):
            yield from (repair(row, group, apart) for apart in APART)


def cheapest(row: np.ndarray, error: float) -> Repair | None:
    """The way with the fewest bits whose relative error is at most `error`."""
    return min((r for r in repairs(row) if r.error <= error), key=lambda r: (r.bpw, r.error), default=None)


EASED = {"a quarter": 0.25, "half": 0.5, "nearly all": 0.9}  # of the error with one scale, to guess


def eased(row: np.ndarray) -> str | None:
    """What scales of their own for every GROUPS[0] weights leave of the row's error; None where it is too short."""
    group = GROUPS[0]
    if row.size % group or group >= row.size:
        return None
    one, many = repair(row, None, 0).error, repair(row, group, 0).error
    share = many / one if one else 1.0
    return min(EASED, key=lambda name: abs(EASED[name] - share))


def clipped(row: np.ndarray) -> tuple[float, float, float]:
    """Where one scale's grid for a row (n,) ends best, as a share of the largest weight, and the relative errors there
    and where it reaches the largest."""
    x = np.ascontiguousarray(row, np.float32)[None]
    form = IntegerFormat(4)  # with a scale in FP16, as `repair` has it
    full = round_to_nearest(x, form, PerChannel())
    errors = {}
    for share in np.arange(1, 101) / 100:
        scale = (np.float32(share) * full.scales.reshape(-1, 1)).astype(np.float16).astype(np.float32)
        errors[float(share)] = compare(x, form.value(form.encode(x, scale), scale)).relative
    best = min(errors, key=errors.__getitem__)
    return best, errors[best], errors[1.0]


def conclusions(row: np.ndarray, column: int) -> list[str]:
    """What this row shows, in three sentences that follow from its numbers."""
    found, whole = stretch(row, column), np.ascontiguousarray(row, np.float32)
    rms = float(np.sqrt(np.mean(np.square(whole, dtype=np.float64)))) or 1.0
    times, beside = float(np.abs(whole).max()) / rms, found.weights.size - 1
    used, error = found.beside()
    first = (
        f"The largest weight of this row is {times:.2g} times the typical one. One scale must reach it, so the "
        f"{beside} weights around it keep {used} of 15 levels, with a relative error of {error:.0%}."
    )
    second = "This row is too short for groups."
    group = next((g for g in GROUPS if whole.size % g == 0 and g < whole.size), None)
    if group is not None:
        one, many = repair(whole, None, 0), repair(whole, group, 0)
        verb = "falls" if many.error < one.error else "does not fall: it goes"
        second = (
            f"With a scale for every {group} weights the row's error {verb} from {one.error:.1%} to {many.error:.1%}. "
            f"That costs {many.bpw - one.bpw:.2g} bits more for each weight."
        )
    share, best, full = clipped(whole)
    third = (
        f"Ending the grid at {share:.0%} of the largest weight has the least error, {best:.1%} instead of {full:.1%}."
        if share < 1
        else f"Clipping wins nothing here: the grid that reaches the largest weight errs least, by {full:.1%}."
    )
    return [first, second, third]
