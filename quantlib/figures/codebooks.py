"""Codebooks as pictures: uneven rulers over the weights they measure, and grids whose points weights share."""

import csv
import io
from dataclasses import dataclass
from functools import cache

import numpy as np

from quantlib.figures.rounding import sampled_rows
from quantlib.figures.weights import Rows, fp32_bits
from quantlib.formats import FORMATS, BlockFormat, Format
from quantlib.formats.blocks.search import VALUES as IQ4_NL_VALUES
from quantlib.formats.integers import IntegerFormat
from quantlib.metrics import compare

BINS = 81  # odd, so that zero has a bin of its own
BLOCK = 32
EVEN = IntegerFormat(4, symmetric=True, restricted=False, group=BLOCK)
GRIDS = {"IQ2_XXS": 8, "IQ2_XS": 8, "IQ2_S": 8, "IQ3_XXS": 4, "IQ3_S": 4}  # weights that share a code
CANDIDATES = 10


@dataclass(frozen=True, eq=False)
class Ruler:
    """The values a format can store, as shares of the largest magnitude of a block: float32 (entries,), rising."""

    name: str
    entries: np.ndarray
    scale: str
    format: Format


@dataclass(frozen=True)
class Measured:
    """A ruler's format, what it costs and its typical error, rmse / rms."""

    name: str
    bpw: float
    relative: float


def rulers() -> list[Ruler]:
    """Five ways to place sixteen levels."""
    e2m1 = np.unique(FORMATS["FP4_E2M1"].numbers())
    places = {
        "INT4": (np.arange(-8, 8, dtype=np.float32) / 8, "FP16 for 32 weights, evenly spaced levels"),
        "NF4": (np.sort(FORMATS["NF4"].entries), "FP32 for 64 weights, levels at quantiles of a normal distribution"),
        "IQ4_NL": (np.asarray(IQ4_NL_VALUES, np.float32) / 127, "FP16 for 32 weights, found by search"),
        "MXFP4": (e2m1 / 6, "a power of two for 32 weights, levels of FP4"),
        "NVFP4": (e2m1 / 6, "an FP8 for 16 weights, levels of FP4"),
    }
    return [
        Ruler(name, np.unique(entries.astype(np.float32)), scale, EVEN if name == "INT4" else FORMATS[name])
        for name, (entries, scale) in places.items()
    ]


def lost(x: np.ndarray) -> list[Measured]:
    """What each ruler loses on x (rows, n), the whole way into its format and back, the least first."""
    found = []
    for form in (ruler.format for ruler in rulers()):
        loss = compare(x, form.dequantize(form.quantize(x)))
        found.append(Measured("INT4" if form is EVEN else form.name, form.bpw, loss.relative))
    return sorted(found, key=lambda m: m.relative)


@dataclass(frozen=True, eq=False)
class Shares:
    """How many weights lie where between minus and plus the largest magnitude of their block: int (BINS,)."""

    counts: np.ndarray
    total: int


def shares(x: np.ndarray, block: int = BLOCK) -> Shares:
    """Count x (rows, n) as shares of the largest magnitude of each `block` neighbours; the largest itself left out."""
    groups = x.reshape(-1, block)
    largest = np.abs(groups).max(-1, keepdims=True)
    share = np.divide(groups, largest, out=np.zeros_like(groups), where=largest > 0)
    inner = share[np.abs(share) < 1]
    return Shares(np.histogram(inner, BINS, (-1, 1))[0], inner.size)


def rulers_message(found: list[Ruler], counted: Shares, token: str, start: int) -> dict:
    """For the rulers: entries as bit patterns, the histogram as counts, `start` in thousandths of the largest."""
    return {
        "token": token,
        "counts": counted.counts.tolist(),
        "total": counted.total,
        "start": start,
        "rulers": [
            {"name": r.name, "entries": fp32_bits(r.entries).tolist(), "scale": r.scale, "bpw": f"{r.format.bpw:g}"}
            for r in found
        ],
    }


def lost_html(found: list[Measured]) -> str:
    """What each ruler loses on the tensor: a table with bars."""
    most = max(r.relative for r in found) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.bpw:g}</td>"
        f"<td class='bar'><span style='width:{100 * r.relative / most:.1f}%'></span></td>"
        f"<td>{r.relative:.2%}</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>levels</th><th>bits per weight</th>'
        f"<th class='bar'>typical error</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
    )


@dataclass(frozen=True, eq=False)
class Pick:
    """How the weights that share one code found their grid point.

    weights, counts: float32 (dim,), the weights and what an error counts. signs: int8 (dim,), as stored; flipped: the
    place whose sign is stored wrong to keep the number of minus signs even, or None. scale: what a grid value is
    multiplied with. points: int8 (candidates, dim), the nearest grid points, least error first; numbers: their codes;
    errors: Σ counts · (x − x̂)². chosen: the code that is stored. size: how many points the grid has.
    """

    format: str
    weights: np.ndarray
    counts: np.ndarray
    signs: np.ndarray
    scale: np.float32
    points: np.ndarray
    numbers: np.ndarray
    errors: np.ndarray
    chosen: int
    size: int

    @property
    def flipped(self) -> list[int]:
        """Places whose stored sign is not the weight's own."""
        return np.flatnonzero((self.weights != 0) & (np.sign(self.weights) != self.signs)).tolist()


@cache
def grid_points(name: str) -> np.ndarray:
    """What the points of a format's grid say of each weight, before scale and signs: int8 (points, dim)"""
    fmt, dim = FORMATS[name], GRIDS[name]
    code = next(f for f in fmt.layout.fields if f.name == "q")
    nothing = {f.name: 0 for f in fmt.layout.fields}
    of = fmt.terms["g"].of
    return np.array([[of({**nothing, "q": q}, w) for w in range(dim)] for q in range(2**code.width)], np.int8)


def pick(fmt: BlockFormat, block: np.ndarray, importance: np.ndarray | None, at: int) -> Pick:
    """Code number `at` of a super-block (256,), with the grid points that come nearest. fmt: one of GRIDS."""
    dim = GRIDS[fmt.name]
    trace = fmt.trace(block, importance)
    part = slice(at * dim, (at + 1) * dim)
    points = grid_points(fmt.name)  # (points, dim)
    chosen = int(trace.codes["q"][at])
    signed = [
        fmt.terms["g"].of({name: code[fmt.layout.element(name, w)] for name, code in trace.codes.items()}, w)
        for w in range(part.start, part.stop)
    ]
    signs = np.where(np.array(signed) < 0, -1, 1).astype(np.int8)
    scale = np.float32(trace.decoded[part][0] / signed[0])
    counts = trace.weights.reshape(-1)[part]
    stored = scale * points * signs  # (points, dim)
    errors = (counts * np.square(block[part] - stored, dtype=np.float64)).sum(-1)
    nearest = np.argsort(errors, kind="stable")[:CANDIDATES]
    if chosen not in nearest:
        nearest = np.append(nearest[:-1], chosen)
    return Pick(
        fmt.name, block[part], counts, signs, scale, points[nearest], nearest, errors[nearest], chosen, len(points)
    )


def pick_message(found: Pick, token: str, start: int) -> dict:
    """For the grid picture: numbers as bit patterns and integers; `start`: the candidate shown first."""
    return {
        "token": token,
        "weights": fp32_bits(found.weights).tolist(),
        "counts": fp32_bits(found.counts).tolist(),
        "signs": found.signs.tolist(),
        "flipped": found.flipped,
        "scale": int(fp32_bits(found.scale)),
        "points": found.points.tolist(),
        "numbers": found.numbers.tolist(),
        "chosen": found.chosen,
        "size": found.size,
        "start": start,
    }


@dataclass(frozen=True)
class Steered:
    """One format with and without an importance matrix: typical error of weights, and of what the model sees.

    plain: rmse / rms. weighted: the same with every square multiplied by its column's importance.
    """

    name: str
    bpw: float
    plain: tuple[float, float]
    weighted: tuple[float, float]


STEERED = ("Q6_K", "Q4_K", "IQ4_NL", "Q2_K", "IQ2_S")
STEERED_WEIGHTS = 1 << 16


def steered(tensor: Rows, importance: np.ndarray, names: tuple[str, ...] = STEERED) -> list[Steered]:
    """Store evenly spaced rows of a tensor in each format, without and with importance (n,)."""
    x = sampled_rows(tensor, STEERED_WEIGHTS)
    found = []
    for form in (FORMATS[name] for name in names):
        back = [form.dequantize(form.quantize(x, given)) for given in (None, importance)]
        weighted = [float(np.sqrt(_weighted(x - b, importance) / (_weighted(x, importance) or 1.0))) for b in back]
        found.append(
            Steered(form.name, form.bpw, tuple(compare(x, b).relative for b in back), (weighted[0], weighted[1]))
        )
    return found


def _weighted(x: np.ndarray, importance: np.ndarray) -> float:
    return float((importance * np.square(x, dtype=np.float64)).sum())


def steered_html(found: list[Steered]) -> str:
    """A row for each format: both errors, without and with the matrix."""

    def cell(before: float, after: float) -> str:
        way = "better" if after < before else "worse"
        return f"<td>{before:.2%}</td><td class='{way}'>{after:.2%} {'▼' if after < before else '▲'}</td>"

    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.bpw:g}</td>{cell(*r.plain)}{cell(*r.weighted)}</tr>" for r in found
    )
    return (
        '<table class="measured steered"><thead><tr><th></th><th></th><th colspan="2">error of the weights</th>'
        '<th colspan="2">error as the model meets it</th></tr><tr><th>format</th><th>bits per weight</th>'
        "<th>without</th><th>with matrix</th><th>without</th><th>with matrix</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def went(found: list[Steered]) -> str:
    """Whether the plain error of the weights mostly went up or down."""
    up = sum(r.plain[1] > r.plain[0] for r in found)
    return "it grows" if 2 * up > len(found) else "it shrinks"


def but(found: list[Steered]) -> str:
    """A sentence on the formats whose plain error went the other way; nothing where there is none."""
    up = went(found) == "it grows"
    others = [r.name for r in found if (r.plain[1] > r.plain[0]) != up]
    if not others:
        return ""
    why = (
        "without a matrix its search counts large weights more, so the least plain error was not its aim before either"
        if up
        else "there the columns that count had to be paid for by the others"
    )
    way = "shrinks" if up else "grows"
    return (
        f"In {' and '.join(others)} the plain error {way}: {why if len(others) == 1 else why.replace('its', 'their')}."
    )


def steered_csv(found: list[Steered]) -> str:
    """The same as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["format", "bpw", "plain_without", "plain_with", "weighted_without", "weighted_with"])
    for r in found:
        writer.writerow([r.name, r.bpw, *r.plain, *r.weighted])
    return out.getvalue()
