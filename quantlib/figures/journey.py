"""One weight from its bits to the answer: what becomes of it at each chapter's point, a station each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.errors import QuantlibError
from quantlib.figures.answer import Working
from quantlib.figures.inputs import gguf_of
from quantlib.figures.weights import fp32_bits
from quantlib.formats.granularity import Granularity, PerChannel, PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.jobs import plan
from quantlib.methods.rtn import Rounded, round_to_nearest

NEIGHBOURS = 32  # weights that share a scale where a chapter says nothing else
READ = 1 << 18  # weights that are looked at for one to begin with
RECIPE = "Q4_K_M"
GRID = IntegerFormat(4)


@dataclass(frozen=True)
class Place:
    """Where a weight is: the tensor of a checkpoint, its row and its column."""

    checkpoint: Checkpoint
    tensor: str
    row: int
    column: int

    @cached_property
    def weights(self) -> np.ndarray:
        """The weight's row, float32 (n,)."""
        return self.checkpoint.tensors[self.tensor].rows(self.row, self.row + 1).reshape(-1)

    @property
    def weight(self) -> np.float32:
        return self.weights[self.column]


@dataclass(frozen=True)
class Station:
    """What became of the weight. chapter: the page that tells it. shown: a few characters; words: one sentence.

    stored: what the weight reads back as, None where it has no value of its own here.
    """

    chapter: str
    name: str
    shown: str
    words: str
    stored: float | None = None


def strongest(tensor: Tensor) -> tuple[int, int]:
    """(row, column) of a weight that an outlier presses on: of the first rows the one with the largest weight for its
    root mean square, and in it a weight of typical size outside the outlier's own neighbours."""
    x = np.abs(tensor.rows(0, min(tensor.nrows, max(1, READ // tensor.n)))).reshape(-1, tensor.n)  # in one piece
    rms = np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=1))
    at = int(np.argmax(np.divide(x.max(1), rms, out=np.zeros_like(rms), where=rms > 0)))
    row = x[at].copy()
    block = int(row.argmax()) // NEIGHBOURS * NEIGHBOURS
    if row.size > NEIGHBOURS:
        row[block : block + NEIGHBOURS] = np.inf
    return at, int(np.argmin(np.abs(row - rms[at])))


def bits(place: Place) -> Station:
    w = float(place.weight)
    if not w or not np.isfinite(w):
        return Station("float", "bits", f"{w:g}", f"It is {w:g}, which has a bit pattern of its own.", w)
    power = int(np.floor(np.log2(abs(w))))
    sign, fraction = "−" if w < 0 else "+", abs(w) / 2.0**power
    words = f"Its sign is {sign}, its exponent says 2{_raised(power)}, and its fraction says {fraction:.6g} times that."
    return Station("float", "bits", f"{sign}{fraction:.3f} × 2{_raised(power)}", words, w)


def code(place: Place) -> Station:
    found = _rounded(place, _group(place, NEIGHBOURS))
    q, stored = int(found.codes[0, place.column]), float(found.decoded[0, place.column])
    words = f"On 15 levels that it shares with its neighbours its code is {_signed(q)}. {_back(stored)}"
    return Station("levels", "code", _signed(q), words, stored)


def pushed(place: Place) -> Station:
    found = _rounded(place, PerChannel())
    q, stored = int(found.codes[0, place.column]), float(found.decoded[0, place.column])
    rms = float(np.sqrt(np.mean(np.square(place.weights, dtype=np.float64))))
    times = float(np.abs(place.weights).max()) / rms if rms else 0.0
    words = (
        f"The largest weight of its row is {times:.3g} times the typical one. With one scale for the row its code is "
        f"{_signed(q)}, and it reads back as {_number(stored)}."
    )
    return Station("outliers", "one scale", _signed(q), words, stored)


def in_super_block(place: Place) -> Station:
    fmt = formats.get("Q4_K")
    start = place.column // fmt.values * fmt.values
    data = fmt.quantize_reference(place.weights[start : start + fmt.values][None]).reshape(1, -1)
    codes, at = fmt.unpack(data), place.column - start
    q, sub = int(codes["q"].reshape(-1)[at]), at // NEIGHBOURS
    sc, mn = int(codes["sc"].reshape(-1)[sub]), int(codes["mn"].reshape(-1)[sub])
    d = float(np.asarray(codes["d"], np.float32).reshape(-1)[0])
    stored = float(fmt.decode(codes).reshape(-1)[at])
    words = (
        f"In {fmt.name} it is code {q}, with sub-scale {sc}, sub-minimum {mn} and super-scale {d:.3g} in "
        f"{fmt.nbytes} bytes for {fmt.values} weights. {_back(stored)}"
    )
    return Station("super_block", "super-block", f"{q} · {sc} · {d:.1g}", words, stored)


def entry(place: Place) -> Station:
    fmt = formats.get("NF4")
    start = place.column // fmt.block * fmt.block
    block = place.weights[start : start + fmt.block]
    stored = float(fmt.dequantize(fmt.quantize(block)).reshape(-1)[place.column - start])
    most = float(np.abs(block).max()) or 1.0
    number = int(np.argmin(np.abs(np.asarray(fmt.table) - stored / most)))
    share = _number(fmt.table[number])
    words = f"The nearest of NF4's 16 entries is {share} of the block's largest weight. {_back(stored)}"
    return Station("codebooks", "codebook", share, words, stored)


def by_recipe(place: Place) -> Station:
    made = plan(place.checkpoint, RECIPE)
    name = gguf_of(place.checkpoint, place.tensor)
    target = next(t for t in made.tensors if t.name in (name, place.tensor)).target
    fmt = formats.get(target)
    x = place.weights[None]
    stored = fmt.dequantize(fmt.quantize(x) if fmt.kind == "float" else fmt.quantize_reference(x), x.shape[-1])
    found = float(stored.reshape(-1)[place.column])
    return Station(
        "names",
        RECIPE,
        target,
        f"The recipe {RECIPE} stores its tensor as {target}. {_back(found)}",
        found,
    )


def moved(place: Place, working: Working) -> Station:
    plain = int(_rounded(place, _group(place, NEIGHBOURS)).codes[0, place.column])
    q, stored = working.gptq(place.weights, place.column, GRID, NEIGHBOURS)
    change = "keeps its code" if q == plain else f"moves it from {_signed(plain)} to {_signed(q)}"
    words = f"GPTQ {change}, to make up for weights that were rounded before it. {_back(stored)}"
    return Station("rounding", "GPTQ", _signed(q), words, stored)


def output(place: Place, working: Working) -> Station:
    x = working.inputs
    product, total = float(place.weight * x[place.column]), float(place.weights @ x)
    words = (
        f"The model works out {working.written}. Our weight is multiplied with {_number(float(x[place.column]))}, and "
        f"{_number(product)} is one of the {x.size} products of an output of {_number(total)}."
    )
    return Station("machine", "output", f"{_number(product)} of {_number(total)}", words)


def answered(place: Place, working: Working) -> Station:
    said = working.answer
    words = f"From {working.recipe} the model answers {working.written} = {said}. " + (
        "That is right." if working.right else f"That is wrong: it is {working.result}."
    )
    return Station("cost", "answer", f"{said} {'✓' if working.right else '✗'}", words)


# In the order of the chapters. The last three need a model that runs.
WEIGHT_ALONE: tuple[Callable[[Place], Station], ...] = (bits, code, pushed, in_super_block, entry, by_recipe)
AT_WORK: tuple[Callable[[Place, Working], Station], ...] = (moved, answered, output)
CHAPTERS = ("float", "levels", "outliers", "super_block", "codebooks", "names", "rounding", "cost", "machine")
NAMES = ("bits", "code", "one scale", "super-block", "codebook", RECIPE, "GPTQ", "answer", "output")


def stations(place: Place, count: int = len(CHAPTERS), working: Callable[[], Working] | None = None) -> list[Station]:
    """The first `count` stations of a weight, in the order of CHAPTERS.

    working: gives the model at work on a sum; without it, the stations that need one say so. What a format or a file
    does not allow is said, too: nothing is raised for it.
    """
    found = [_or_why(lambda made=made: made(place), at) for at, made in enumerate(WEIGHT_ALONE[:count])]
    for at, made in enumerate(AT_WORK[: max(0, count - len(WEIGHT_ALONE))], len(WEIGHT_ALONE)):
        if working is None:
            why = "Only the calculator's answers are right or wrong. Close your model to see this with its weight."
            found.append(Station(CHAPTERS[at], NAMES[at], "–", why))
        else:
            found.append(_or_why(lambda made=made: made(place, working()), at))
    return found


def _or_why(make: Callable[[], Station], at: int) -> Station:
    try:
        return make()
    except (QuantlibError, StopIteration) as error:
        why = str(error) or f"The recipe {RECIPE} leaves its tensor out."
        return Station(CHAPTERS[at], NAMES[at], "–", why)


def message(place: Place, found: Sequence[Station], here: str, token: str) -> dict:
    """For the component `journey`: the stations reached and those ahead. here: the chapter that is read."""
    reached = {station.chapter: station for station in found}
    return {
        "token": token,
        "weight": int(fp32_bits(place.weight)),
        "shown": _number(float(place.weight)),
        "place": f"row {place.row}, column {place.column} of {short(place.tensor)}",
        "here": CHAPTERS.index(here) if here in CHAPTERS else -1,
        "stations": [
            {
                "name": name,
                "shown": reached[chapter].shown if chapter in reached else "",
                "words": reached[chapter].words if chapter in reached else "",
                "stored": _bits(reached[chapter].stored) if chapter in reached else None,
            }
            for chapter, name in zip(CHAPTERS, NAMES, strict=True)
        ],
    }


def short(tensor: str) -> str:
    """A tensor's name without what all of them have in common, for places with little room."""
    return tensor.removeprefix("model.").removesuffix(".weight")


def _rounded(place: Place, granularity: Granularity) -> Rounded:
    return round_to_nearest(place.weights[None], GRID, granularity)


def _group(place: Place, size: int) -> Granularity:
    return PerGroup(size) if place.weights.size % size == 0 else PerChannel()


def _bits(stored: float | None) -> int | None:
    return None if stored is None else int(fp32_bits(np.float32(stored)))


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _back(stored: float) -> str:
    return f"It reads back as {_number(stored)}."


def _signed(code: int) -> str:
    return f"{code:+d}".replace("-", "−") if code else "0"


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
