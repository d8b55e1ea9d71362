"""Ranges of rows of a tensor, worked on by the shared pool and put together in order."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

from quantlib.checkpoints import Tensor
from quantlib.jobs.pool import in_order, shared_pool

CHUNK_WEIGHTS = 1 << 20  # 4 MiB of float32
PLACES = 16  # in which a sample reads, so that it costs as few jumps on a disk

Part = TypeVar("Part")


def over_chunks(
    tensor: Tensor, work: Callable[[int, int], Part], executor: Executor | None = None, most: int | None = None
) -> Iterator[Part]:
    """work(start, stop) of row ranges that cover the tensor, in order; or of ranges that hold about `most` weights."""
    return in_order(executor or shared_pool(), work, ranges(tensor, most))


def ranges(tensor: Tensor, most: int | None = None) -> list[tuple[int, int]]:
    """Row ranges that cover a tensor, or that hold about `most` of its weights (a row at least), evenly spaced."""
    step = max(1, CHUNK_WEIGHTS // max(1, tensor.n))
    if most is None or tensor.size <= most:
        return [(start, min(start + step, tensor.nrows)) for start in range(0, tensor.nrows, step)]
    rows = max(1, most // max(1, tensor.n))
    places = min(PLACES, rows)
    length = min(step, rows // places)
    last = tensor.nrows - length
    starts = sorted({round(at * last / max(1, places - 1)) for at in range(places)})
    return [(start, start + length) for start in starts]
