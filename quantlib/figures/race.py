"""The scale race: the same weights, and who finds the scale and minimum with the least error."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from quantlib.figures.weights import fp32_bits
from quantlib.formats import FORMATS

FORMAT = FORMATS["Q4_K"]
GROUP = 32
LEVELS = 16


@dataclass(frozen=True, eq=False)
class Racer:
    """One that runs: its name, what it did in a sentence, and the grid it found: x̂ = scale · q − minimum.

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

    measures: float32 (32,) each, by name; an error is Σ measure · (x − x̂)².
    """

    weights: np.ndarray
    racers: tuple[Racer, ...]
    measures: dict[str, np.ndarray]

    def error(self, scale: float, minimum: float, measure: str) -> float:
        """Σ measure · (x − x̂)², every weight at the level nearest to it."""
        return weighted_error(self.weights, scale, minimum, self.measures[measure])


def weighted_error(x: np.ndarray, scale: float, minimum: float, weights: np.ndarray) -> float:
    """Σ w (x − x̂)² with x̂ = scale · q − minimum and q the nearest of 0 … 15; scale 0 stores −minimum everywhere."""
    x = x.astype(np.float64)
    q = np.clip(np.rint((x + minimum) / scale), 0, LEVELS - 1) if scale > 0 else np.zeros_like(x)
    return float((weights * (x - (scale * q - minimum)) ** 2).sum())


def race(block: np.ndarray, group: int, importance: np.ndarray | None = None) -> Race:
    """Run min/max, ggml's search and, with importance (256,), ggml's search that minds it on one block of 32.

    block: a super-block, float32 (256,). Both searches are the ones that Q4_K runs; what they find is rounded to six
    bits afterwards, which is not part of the race.
    """
    part = slice(group * GROUP, (group + 1) * GROUP)
    plain = FORMAT.trace(block)
    winner = plain.winner[group]
    racers = [
        Racer("min/max", "The lowest weight is level 0, the highest level 15.", *_candidate(plain, group, 0)),
        Racer("search", f"ggml's search: {plain.scales.shape[1]} candidates.", *_candidate(plain, group, winner)),
    ]
    measures = {"every weight alike": np.ones(GROUP, np.float32), "large weights more": plain.weights[group]}
    if importance is not None:
        steered = FORMAT.trace(block, importance)
        racers.append(
            Racer("importance", "The same search, told which inputs are large.",
                  *_candidate(steered, group, steered.winner[group]))
        )  # fmt: skip
        measures["important inputs more"] = steered.weights[group]
    return Race(block[part], tuple(racers), measures)


def _candidate(trace, group: int, at: int) -> tuple:
    scales, minima = trace.scales[group], trace.minima[group]
    usable = np.isfinite(scales) & np.isfinite(minima)
    return scales[at], minima[at], scales[usable], minima[usable]


def answer(found: Race, said: str) -> str:
    """What the search saved, against a guess of "less than 10 %", "10 to 30 %" or "more than 30 %"."""
    first, search = (found.error(float(r.scale), float(r.minimum), "every weight alike") for r in found.racers[:2])
    saved = 1 - search / first if first else 0.0
    right = "less than 10 %" if saved < 0.1 else "10 to 30 %" if saved <= 0.3 else "more than 30 %"
    guessed = "as you guessed" if said == right else f"not {said}"
    return f"**{saved:.0%}** less squared error, with the same bits: {guessed}. Now take the ring on the map."


def best(found: list["Rival"]) -> str:
    """The name of the one that loses least."""
    return min(found, key=lambda rival: rival.relative).name


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


@dataclass(frozen=True)
class Rival:
    """A format's way with the same 256 weights: bits per weight, typical error, largest error, bytes."""

    name: str
    summary: str
    bpw: float
    nbytes: int
    relative: float
    largest: float


def side_by_side(block: np.ndarray, names: tuple[str, ...], importance: np.ndarray | None = None) -> list[Rival]:
    """Store 256 weights in each format and measure what is lost."""
    from quantlib.metrics import compare

    found = []
    for form in (FORMATS[name] for name in names):
        data = form.quantize(block, importance)
        loss = compare(block, form.dequantize(data))
        found.append(Rival(form.name, form.summary, form.bpw, data.size, loss.relative, loss.largest_error))
    return found


def side_by_side_html(found: list[Rival]) -> str:
    """A table with a bar for each error."""
    most = max(r.relative for r in found) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.nbytes}</td><td>{r.bpw:g}</td>"
        f"<td class='bar'><span style='width:{100 * r.relative / most:.1f}%'></span></td>"
        f"<td>{r.relative:.2%}</td><td>{r.largest:.3g}</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>format</th><th>bytes</th><th>bits per weight</th>'
        "<th class='bar'>typical error</th><th></th><th>largest error</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
