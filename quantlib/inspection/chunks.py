"""Ranges of rows of a tensor, worked on by the shared pool and put together in order."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

from quantlib.checkpoints import Tensor
from quantlib.jobs.pool import in_order, shared_pool

CHUNK_WEIGHTS = 1 << 20  # 4 MiB of float32

Part = TypeVar("Part")


def over_chunks(tensor: Tensor, work: Callable[[int, int], Part], executor: Executor | None = None) -> Iterator[Part]:
    """work(start, stop) of row ranges that cover the tensor, in order."""
    step = max(1, CHUNK_WEIGHTS // max(1, tensor.n))
    ranges = ((start, min(start + step, tensor.nrows)) for start in range(0, tensor.nrows, step))
    return in_order(executor or shared_pool(), work, ranges)
