"""Blocks of a GGUF file chosen for what a layer puts out, on some rows of a real matrix: each step, and the search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.formats import BlockFormat, get
from quantlib.methods.descent_trace import Descent, watched
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.mixed import Effort, Inputs, fitted_blocks

FORMATS = ("Q4_K", "Q2_K", "Q4_0")
ROWS = 8  # the readable search takes a tenth of a second for each row of 256 weights


@dataclass(frozen=True)
class Step:
    """One way to fill the blocks. seen, unseen: relative error of the output, on the text that was looked at and on
    another."""

    words: str
    seen: float
    unseen: float


@dataclass(frozen=True)
class Searched:
    """Some rows of a matrix in one format. steps: from llama.cpp's codes to those of the search; one row's way down."""

    name: str
    bpw: float
    rows: int
    steps: tuple[Step, ...]
    descent: Descent


def searched(weight: np.ndarray, seen: Gram, unseen: Gram, name: str, rows: int = ROWS) -> Searched:
    """Fill the blocks of the first rows of a weight (outputs, inputs), by the readable loops.

    seen: the inputs that codes are chosen on; unseen: others, to judge by.
    """
    form, w = get(name), np.ascontiguousarray(weight[:rows])
    inputs = Inputs.of(seen)
    made = (
        ("as llama.cpp does", form.quantize_reference(w)),
        ("better codes, same size", form.quantize_reference(w, None, "best")),
        ("with an importance matrix", form.quantize_reference(w, inputs.importance)),
        ("codes chosen on the text", _fitted(w, inputs, form, 0)),
        ("codes and scales", _fitted(w, inputs, form, Effort().sweeps)),
    )
    steps = tuple(Step(words, *_relative(w, form.dequantize(data), (seen, unseen))) for words, data in made)
    return Searched(name, form.bpw, len(w), steps, watched(w[0], inputs, form))


def _fitted(w: np.ndarray, inputs: Inputs, form: BlockFormat, sweeps: int) -> np.ndarray:
    return fitted_blocks(w, inputs, form, Effort(sweeps=sweeps), reference=True)


def _relative(w: np.ndarray, back: np.ndarray, grams: Sequence[Gram]) -> tuple[float, float]:
    found = (output_error(w - back, g.hessian) / (output_error(w, g.hessian) or 1.0) for g in grams)
    first, second = (float(np.sqrt(each)) for each in found)
    return first, second
