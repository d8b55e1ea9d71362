"""GPTQ on a real matrix, column by column, beside rounding to nearest on the same grids."""

from dataclasses import dataclass

import numpy as np

from quantlib.figures.smarter_rounding.channels import group_of
from quantlib.formats.granularity import PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.gptq import GptqTrace, Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare

ROWS = 24  # outputs whose weights the replay shows
FRAMES = 49  # pictures of the replay at most


@dataclass(frozen=True, eq=False)
class Replay:
    """One layer rounded twice on the same grids: column by column with GPTQ, and to nearest.

    steps: int (frames,), how many columns are rounded in each picture. output, output_nearest: float (frames,), the
    relative error of the layer's output with so many columns rounded, the others where GPTQ has moved them to, or where
    they were. weights, weights_nearest: the relative error of the weights at the end. change: uint8 (frames, rows,
    inputs), of the weights of some outputs: 127 is none, 0 and 254 the largest; columns in the order of rounding.
    order: the columns in that order.
    """

    steps: np.ndarray
    output: np.ndarray
    output_nearest: np.ndarray
    weights: float
    weights_nearest: float
    change: np.ndarray
    order: np.ndarray

    @property
    def left(self) -> float:
        """What GPTQ leaves of the relative error that rounding to nearest makes of the output."""
        return float(self.output[-1] / self.output_nearest[-1]) if self.output_nearest[-1] else 1.0


def replay(weight: np.ndarray, gram: Gram, bits: int, act_order: bool) -> Replay:
    """Round a weight (outputs, inputs) with GPTQ and to nearest, for the inputs summed up in `gram`."""
    group = group_of(weight.shape[1])
    form = IntegerFormat(bits, symmetric=False)
    found = gptq(weight, gram.hessian, IntegerGrids(form, group), Settings(act_order=act_order), trace=True)
    nearest = round_to_nearest(weight, form, PerGroup(group)).decoded
    final, trace = found.dequantized(), found.trace
    steps = np.unique(np.linspace(0, weight.shape[1], min(FRAMES, weight.shape[1] + 1)).round().astype(int))
    whole = output_error(weight, gram.hessian)
    h = gram.hessian[np.ix_(trace.order, trace.order)]  # by place, as the trace has the weights
    moved = _moved(trace, final[:, trace.order], steps)
    output = _relative(np.array([output_error(miss, h) for miss in moved]), whole)
    output_nearest = _relative(_error_so_far(nearest[:, trace.order] - trace.weights, h)[steps], whole)
    change = np.stack([miss[:ROWS] for miss in moved])  # (frames, rows, inputs)
    limit = float(np.percentile(np.abs(change[-1]), 99)) or 1.0
    shown = np.clip(np.rint(127 + 127 * change / limit), 0, 254).astype(np.uint8)
    own, plain = (compare(weight, stored).relative for stored in (final, nearest))
    return Replay(steps, output, output_nearest, own, plain, shown, trace.order)


def _relative(errors: np.ndarray, whole: float) -> np.ndarray:
    return np.sqrt(errors / whole) if whole else np.zeros(len(errors))


def _moved(trace: GptqTrace, final: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
    """By how much the weights have changed once so many columns are on their grid, by place: (outputs, inputs) each.

    final: the weights on the grid, by place. The columns not yet rounded are where GPTQ has moved them.
    """
    change, found, before = np.zeros_like(trace.weights), [], 0
    for step in steps:
        change = change - trace.errors[:, before:step] @ trace.upper[before:step]
        rounded = np.arange(final.shape[1]) < step
        found.append(np.where(rounded, final - trace.weights, change).astype(np.float32))
        before = step
    return found


def _error_so_far(miss: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The output's squared error from the first columns of a miss (outputs, inputs) alone: (inputs + 1,), from none."""
    before = miss @ np.triu(h, 1)  # what the columns before contribute to each
    each = 0.5 * np.sum(miss * (miss * np.diagonal(h) + 2 * before), axis=0, dtype=np.float64)
    return np.concatenate([[0.0], np.maximum(np.cumsum(each), 0)])
