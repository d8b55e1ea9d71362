"""The scale race: 32 weights, and who finds the scale and the minimum that leave the least error."""

import csv
import io
from dataclasses import dataclass
from math import sqrt

import numpy as np

from quantlib.figures.weights import fp32_bits
from quantlib.formats import FORMATS

FORMAT = FORMATS["Q4_K"]
GROUP = 32
LEVELS = 16
SEARCH = "search"
ALIKE, LARGE, INPUTS = "every weight alike", "large weights more", "important inputs more"


@dataclass(frozen=True, eq=False)
class Racer:
    """One that runs: its name, what it did in a sentence, and the grid it found: ŵ = scale · q − minimum.

    scales, minima: every candidate that it tried, float32 (candidates,).
    """

    name: str
    doing: str
    scale: np.float32
    minimum: np.float32
    scales: np.ndarray
    minima: np.ndarray


@dataclass(frozen=True, eq=False)
class Race:
    """One block of 32 weights of a Q4_K super-block, those who run on it, and what an error may count.

    measures: float32 (32,) each, by name: what the error of each weight counts.
    """

    weights: np.ndarray
    racers: tuple[Racer, ...]
    measures: dict[str, np.ndarray]

    def error(self, scale: float, minimum: float, measure: str) -> float:
        """The relative error √(Σ measure · (ŵ − w)² / Σ measure · w²), every weight at the level nearest to it."""
        counts = self.measures[measure]
        whole = float((counts * np.square(self.weights, dtype=np.float64)).sum())
        return sqrt(weighted_error(self.weights, scale, minimum, counts) / whole) if whole else 0.0


def weighted_error(w: np.ndarray, scale: float, minimum: float, counts: np.ndarray) -> float:
    """Σ counts · (w − ŵ)² with ŵ = scale · q − minimum, q the nearest of 0 … 15; at scale 0 all are −minimum."""
    w = w.astype(np.float64)
    q = np.clip(np.rint((w + minimum) / scale), 0, LEVELS - 1) if scale > 0 else np.zeros_like(w)
    return float((counts * (w - (scale * q - minimum)) ** 2).sum())


def race(block: np.ndarray, group: int, importance: np.ndarray | None = None) -> Race:
    """Run min/max, ggml's search and, with importance (256,), ggml's search that minds it on one block of 32.

    block: a super-block, float32 (256,). Both searches are the ones that Q4_K runs; what they find is rounded to six
    bits afterwards, which is not part of the race.
    """
    part = slice(group * GROUP, (group + 1) * GROUP)
    plain = FORMAT.trace(block)
    winner = plain.winner[group]
    racers = [
        Racer("min/max", "The lowest weight is level 0, the highest is level 15.", *_candidate(plain, group, 0)),
        Racer(SEARCH, f"ggml's search tried {plain.scales.shape[1]} grids.", *_candidate(plain, group, winner)),
    ]
    measures = {ALIKE: np.ones(GROUP, np.float32), LARGE: plain.weights[group]}
    if importance is not None:
        steered = FORMAT.trace(block, importance)
        racers.append(
            Racer("importance", "The search of an importance matrix, told which inputs are large.",
                  *_candidate(steered, group, steered.winner[group]))
        )  # fmt: skip
        measures[INPUTS] = steered.weights[group]
    return Race(block[part], tuple(racers), measures)


def most_to_gain(block: np.ndarray) -> int:
    """The block of 32 in a super-block (256,) where the search saves the largest share of min/max's relative error."""

    def left(group: int) -> float:
        found = race(block, group)
        span, search = (found.error(float(r.scale), float(r.minimum), ALIKE) for r in found.racers)
        return search / span if span else 1.0

    return min(range(block.size // GROUP), key=left)


def _candidate(trace, group: int, at: int) -> tuple:
    scales, minima = trace.scales[group], trace.minima[group]
    usable = np.isfinite(scales) & np.isfinite(minima)
    return scales[at], minima[at], scales[usable], minima[usable]


def message(found: Race, token: str, measure: str, start: tuple[int, int] | None) -> dict:
    """The race as bit patterns. `start`: the reader's own scale and minimum, in thousandths of min/max's span."""
    return {
        "token": token,
        "weights": fp32_bits(found.weights).tolist(),
        "racers": [
            {
                "name": r.name,
                "doing": r.doing,
                "scale": int(fp32_bits(r.scale)),
                "minimum": int(fp32_bits(r.minimum)),
                "scales": fp32_bits(r.scales).tolist(),
                "minima": fp32_bits(r.minima).tolist(),
            }
            for r in found.racers
        ],
        "measures": [{"name": name, "weights": fp32_bits(w).tolist()} for name, w in found.measures.items()],
        "measure": list(found.measures).index(measure),
        "start": list(start) if start else None,
    }


def to_csv(found: Race) -> str:
    """Every candidate of every racer with its error in every measure, as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["racer", "scale", "minimum", *found.measures])
    for r in found.racers:
        for scale, minimum in zip(r.scales, r.minima, strict=True):
            errors = (found.error(float(scale), float(minimum), m) for m in found.measures)
            writer.writerow([r.name, scale, minimum, *errors])
    return out.getvalue()
