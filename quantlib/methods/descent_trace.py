"""The search of `descent` watched on one row: every scale that was tried, what it would have gained, which was taken.

The numbers that it ends with are those of the compiled search, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantlib.formats.blocks.block import BlockFormat
from quantlib.methods.descent import REACH, REFERENCE, SWEEPS, Numbers, Row, eliminated
from quantlib.methods.mixed import Inputs
from quantlib.methods.storing import Stored, Storing, storing


@dataclass(frozen=True, eq=False)
class Step:
    """One step on the way down. error: what is left after it, of the row's (w − ŵ)ᵀ H (w − ŵ).

    kind: "scales of the format", "codes by GPTQ", "super-scale" or "group". at: which block or group. tried: the
    scales and minima that a group tried (d, dmin, i, j), each with its gain; taken: which of them, None where it kept
    what it had.
    """

    kind: str
    at: int
    error: float
    tried: tuple[tuple[Numbers, float], ...] = ()
    taken: int | None = None


@dataclass(frozen=True, eq=False)
class Descent:
    """A row's way from the format's own codes to the end of the search. stored: its numbers; data: its bytes."""

    steps: tuple[Step, ...]
    stored: Stored
    data: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """float64 (steps,)."""
        return np.array([step.error for step in self.steps])


def watched(row: np.ndarray, inputs: Inputs, form: BlockFormat, sweeps: int = SWEEPS) -> Descent:
    """The search for one row (inputs,) of a weight, in a format with a code for each weight.

    Raises MethodError for another format, FormatError on NaN.
    """
    kind, w = storing(form), row[None].astype(np.float32)
    w[:, inputs.factor.dead] = 0
    start = kind.read(form.quantize(w, inputs.importance if form.uses_importance else None))
    found = eliminated(w.copy(), kind, start, inputs.factor, REFERENCE)

    def error_of(stored: Stored) -> float:
        return _error(w[0] - kind.decode(stored)[0], inputs.hessian)

    steps = [Step("scales of the format", 0, error_of(start)), Step("codes by GPTQ", 0, error_of(found))]
    one = _row(w, found, inputs.hessian, kind)
    for _ in range(sweeps):
        for block in range(len(one.d)):
            if one.ladder.free:
                one.fit(block)
                steps.append(Step("super-scale", block, _error(w[0] - one.now, inputs.hessian)))
            each = one.ladder.values // one.ladder.group
            for group in range(block * each, (block + 1) * each):
                tried = tuple((each.numbers, float(each.gain)) for each in one.candidates(block, group))
                one.search(block, group)
                gains = [gain for _, gain in tried]
                taken = int(np.argmax(gains)) if gains and max(gains) > 0 else None
                steps.append(Step("group", group, _error(w[0] - one.now, inputs.hessian), tried, taken))
    return Descent(tuple(steps), found, kind.write(found)[0])


def _row(w: np.ndarray, stored: Stored, hessian: np.ndarray, kind: Storing) -> Row:
    """The row as the search moves it: views of `stored`."""
    lacking = (w - kind.decode(stored)) @ hessian
    d, dmin, i, j, k = (part[0] for part in stored.parts)
    return Row(hessian, lacking[0], d, dmin, i, j, k, kind.ladder(REACH))


def _error(miss: np.ndarray, hessian: np.ndarray) -> float:
    miss = miss.astype(np.float64)
    return float(miss @ hessian @ miss)
