"""Statistics of tensors, taken chunk by chunk, so that memory stays bounded whatever their size; or of a sample."""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.inspection.chunks import over_chunks

SAMPLED = 150_000_000  # weights of a whole checkpoint that a sample reads: about a second's work
LEAST, MOST = 1 << 12, 1 << 20  # of one tensor
LONGEST_ROW = 1 << 24  # weights: a row is read as a whole


@dataclass(frozen=True)
class Statistics:
    """What the decoded weights of a tensor are like; of the finite ones, where some are not. None where there is none.

    seen: how many of the weights were read. kurtosis: in excess of a normal distribution's, so 0 for a bell curve and
    large for rare large weights. dead_rows: rows of those read in which every weight is zero; dead_columns: input
    channels that are zero in all of them.
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
    seen: int = 0
    dead_rows: int = 0
    dead_columns: int = 0

    @property
    def peak(self) -> float | None:
        """The largest magnitude in units of the root mean square: how far the outliers reach."""
        if not self.rms or self.smallest is None or self.largest is None:
            return None
        return max(abs(self.smallest), abs(self.largest)) / self.rms

    @property
    def zero_share(self) -> float:
        """The share of the weights seen that are exactly zero."""
        return self.zeros / max(1, self.seen)

    @property
    def sampled(self) -> bool:
        """Whether only a part of the weights was read."""
        return self.seen < self.weights


def statistics(tensor: Tensor, executor: Executor | None = None, most: int | None = None) -> Statistics:
    """The statistics of one tensor, or of about `most` of its weights, in rows that are evenly spaced.

    Raises CheckpointError where its values cannot be decoded or read.
    """
    from quantlib.inspection.kernel import moments  # compiled code is loaded when it is first needed

    def part(start: int, stop: int) -> tuple[tuple[float, ...], int, int, np.ndarray]:
        x = np.ascontiguousarray(tensor.rows(start, stop))
        alive = x != 0
        return moments(x.reshape(-1)), len(x), int((~alive.any(axis=1)).sum()), alive.any(axis=0)

    sums, low, high, seen, dead = np.zeros(6), inf, -inf, 0, 0
    alive = np.zeros(tensor.n, bool)
    for (*more, smallest, largest), rows, empty, columns in over_chunks(tensor, part, executor, most):
        sums, low, high = sums + more, min(low, smallest), max(high, largest)
        dead, alive = dead + empty, alive | columns
        seen += rows * tensor.n
    finite = int(sums[0])
    about = (tensor.name, tuple(tensor.shape), tensor.format, tensor.nbytes, tensor.size)
    ends = (seen - finite, "", seen, dead, int((~alive).sum()))
    if not finite:
        return Statistics(*about, not_finite=seen, seen=seen)
    mean, second, third, fourth = (float(total / finite) for total in sums[2:])
    variance = max(0.0, second - mean * mean)
    centred = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
    kurtosis = centred / variance**2 - 3 if variance**2 > 0 else None
    return Statistics(*about, low, high, mean, sqrt(variance), sqrt(second), kurtosis, int(sums[1]), *ends)


def warm_up() -> None:
    """Compile, or load, what statistics are computed with."""
    from quantlib.inspection.kernel import moments

    moments(np.zeros(1, np.float32))


def all_statistics(
    checkpoint: Checkpoint,
    executor: Executor | None = None,
    sampled: bool = False,
) -> Iterator[Statistics]:
    """The statistics of every tensor in the file's order, each when it is asked for; a note where there are none.

    sampled: of evenly spaced rows, SAMPLED weights in all, so that a file of any size takes about a second; of a file
    with no more weights than that, all.
    """
    sampled = sampled and checkpoint.size > SAMPLED
    most = min(MOST, max(LEAST, SAMPLED // max(1, len(checkpoint.tensors)))) if sampled else None
    for tensor in checkpoint.tensors.values():
        if not tensor.decodable:
            yield _without(tensor, f"{tensor.format} cannot be decoded yet")
        elif sampled and tensor.n > LONGEST_ROW:
            yield _without(tensor, "its rows are too long for a sample")
        else:
            yield statistics(tensor, executor, most)
        checkpoint.forget()


def _without(tensor: Tensor, note: str) -> Statistics:
    return Statistics(tensor.name, tuple(tensor.shape), tensor.format, tensor.nbytes, tensor.size, note=note)
