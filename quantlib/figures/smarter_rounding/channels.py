"""One channel in a hundred: what a layer's output gains when the weights of a few channels are left as they are."""

from dataclasses import dataclass

import numpy as np

from quantlib.formats.granularity import PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.awq import AffineGroups, ScaleSearch, layer_error, search_scales
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.rtn import round_to_nearest

GROUP = 128
ALPHAS = tuple(i / 20 for i in range(21))


def group_of(inputs: int) -> int:
    """How many weights share a scale in a layer of so many inputs."""
    return GROUP if inputs % GROUP == 0 else inputs


@dataclass(frozen=True, eq=False)
class Kept:
    """A layer rounded to nearest, with `count` channels in 16 bits. magnitudes: mean |x| of each channel (inputs,).

    chosen: those with the largest inputs. Relative errors of the output: of none kept, of as many with the largest
    weights, and of those with the largest inputs.
    """

    magnitudes: np.ndarray
    count: int
    chosen: np.ndarray
    none: float
    by_weight: float
    by_input: float


def kept(weight: np.ndarray, gram: Gram, bits: int) -> Kept:
    """Round a weight (outputs, inputs) to nearest, but for one channel in a hundred, at least one."""
    inputs = weight.shape[1]
    form = IntegerFormat(bits, symmetric=False)
    nearest = round_to_nearest(weight, form, PerGroup(group_of(inputs))).decoded
    whole, count = output_error(weight, gram.hessian), max(1, round(inputs / 100))

    def left(channels: np.ndarray) -> float:
        miss = weight - nearest
        miss[:, channels] = 0
        return float(np.sqrt(output_error(miss, gram.hessian) / whole))

    largest = np.argsort(-gram.mean_squares, kind="stable")[:count]
    heaviest = np.argsort(-np.square(weight).sum(0), kind="stable")[:count]
    none = left(np.empty(0, np.int64))
    return Kept(gram.mean_magnitudes, count, largest, none, left(heaviest), left(largest))


@dataclass(frozen=True, eq=False)
class AlphaSearch:
    """AWQ's search on one layer. relative: the relative error of the output for each of ALPHAS. stretch: how much
    larger than the smallest the largest channel's factor is, for each."""

    search: ScaleSearch
    relative: np.ndarray
    stretch: np.ndarray

    @property
    def best(self) -> float:
        return float(self.relative[self.search.winner])


def alpha_search(weight: np.ndarray, gram: Gram, bits: int) -> AlphaSearch:
    """Try every alpha from 0 to 1 on a weight (outputs, inputs) and the inputs summed up in `gram`."""
    grid = AffineGroups(bits, group_of(weight.shape[1]))
    loss = layer_error([weight], gram)
    search = search_scales([weight], gram.mean_magnitudes, grid, loss, alphas=ALPHAS)
    whole = loss([np.zeros_like(weight)])  # as if nothing of the weight were left
    return AlphaSearch(search, np.sqrt(search.losses / whole), search.tried.max(-1) / search.tried.min(-1))
