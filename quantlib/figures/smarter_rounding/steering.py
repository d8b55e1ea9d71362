"""What an importance matrix changes: the same bytes with and without it, judged on a text that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.formats import BlockFormat, get
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.importance import importance_change
from quantlib.metrics import compare

FORMATS = ("Q6_K", "Q4_K", "IQ4_NL", "Q3_K", "Q2_K", "IQ2_S")
BINS = 10


@dataclass(frozen=True)
class Steered:
    """A matrix in one format, without and with an importance matrix: (without, with) of each.

    weights: the relative error of the weights. output: that of the output, on inputs that the importance matrix was not
    made from. even: the relative error of the weights with an importance matrix that calls all inputs equal.
    """

    name: str
    bpw: float
    weights: tuple[float, float]
    output: tuple[float, float]
    even: float


def steered(weight: np.ndarray, seen: Gram, unseen: Gram, names: Sequence[str] = FORMATS) -> list[Steered]:
    """Store a weight (outputs, inputs) in each format that fits its width. seen: the inputs that importance is of."""
    forms = [form for name in names if weight.shape[1] % (form := get(name)).values == 0]
    return [_steered(weight, seen.mean_squares, unseen, form) for form in forms]


def _steered(weight: np.ndarray, importance: np.ndarray, unseen: Gram, form: BlockFormat) -> Steered:
    whole = output_error(weight, unseen.hessian)
    given = (None, importance, np.ones_like(importance))
    stored = [form.dequantize(form.quantize(weight, each)) for each in given]
    own = [compare(weight, back).relative for back in stored]
    out = [float(np.sqrt(output_error(weight - back, unseen.hessian) / whole)) for back in stored[:2]]
    return Steered(form.name, form.bpw, (own[0], own[1]), (out[0], out[1]), own[2])


@dataclass(frozen=True)
class ByChannel:
    """Channels in bins from the smallest inputs to the largest: root mean square of the inputs, and the relative error
    of the weights that meet them without and with an importance matrix, (BINS,) each."""

    inputs: tuple[float, ...]
    without: tuple[float, ...]
    weighed: tuple[float, ...]


def by_channel(weight: np.ndarray, seen: Gram, name: str) -> ByChannel:
    """Where a format's errors go once it knows which inputs of a weight (outputs, inputs) are large."""
    found = importance_change(weight, get(name), seen.mean_squares)
    parts = np.array_split(np.argsort(found.importance, kind="stable"), BINS)
    squares = np.square(weight, dtype=np.float64).mean(0)
    errors = (np.square(weight - back, dtype=np.float64).mean(0) for back in (found.plain, found.important))
    without, weighed = (tuple(float(np.sqrt(e[p].mean() / squares[p].mean())) for p in parts) for e in errors)
    return ByChannel(tuple(float(np.sqrt(found.importance[p].mean())) for p in parts), without, weighed)
