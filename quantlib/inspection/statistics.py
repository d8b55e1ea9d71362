"""Statistics of tensors, taken chunk by chunk, so that memory stays bounded whatever their size."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.inspection.chunks import over_chunks


@dataclass(frozen=True)
class Statistics:
    """What the decoded weights of a tensor are like; of the finite ones, where some are not. None where there is none.

    kurtosis: in excess of a normal distribution's, so 0 for a bell curve and large for rare large weights.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    nbytes: int
    weights: int
    smallest: float | None = None
    largest: float | None = None
    mean: float | None = None
    deviation: float | None = None
    rms: float | None = None
    kurtosis: float | None = None
    zeros: int = 0
    not_finite: int = 0
    note: str = ""

    @property
    def peak(self) -> float | None:
        """The largest magnitude in units of the root mean square: how far the outliers reach."""
        if not self.rms or self.smallest is None or self.largest is None:
            return None
        return max(abs(self.smallest), abs(self.largest)) / self.rms


def statistics(tensor: Tensor, executor: Executor | None = None) -> Statistics:
    """The statistics of one tensor. Raises CheckpointError where its values cannot be decoded or read."""
    from quantlib.inspection.kernel import moments  # compiled code is loaded when it is first needed

    def part(start: int, stop: int) -> tuple[float, ...]:
        return moments(np.ascontiguousarray(tensor.rows(start, stop)).reshape(-1))

    sums, low, high = np.zeros(6), inf, -inf
    for *more, smallest, largest in over_chunks(tensor, part, executor):
        sums, low, high = sums + more, min(low, smallest), max(high, largest)
    about = (tensor.name, tuple(tensor.shape), tensor.format, tensor.nbytes, tensor.size)
    finite = int(sums[0])
    if not finite:
        return Statistics(*about, not_finite=tensor.size)
    mean, second, third, fourth = (float(total / finite) for total in sums[2:])
    variance = max(0.0, second - mean * mean)
    centred = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    kurtosis = centred / variance**2 - 3 if variance**2 > 0 else None
    return Statistics(
        *about, low, high, mean, sqrt(variance), sqrt(second), kurtosis, int(sums[1]), tensor.size - finite
    )  # fmt: skip


def all_statistics(checkpoint: Checkpoint, executor: Executor | None = None) -> Iterator[Statistics]:
    """The statistics of every tensor in the file's order, each when it is asked for; a note where there are none."""
    for tensor in checkpoint.tensors.values():
        if tensor.decodable:
            yield statistics(tensor, executor)
        else:
            about = (tensor.name, tuple(tensor.shape), tensor.format, tensor.nbytes, tensor.size)
            yield Statistics(*about, note=f"{tensor.format} cannot be decoded yet")
        checkpoint.forget()
