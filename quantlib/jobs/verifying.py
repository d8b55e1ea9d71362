"""Verifying a written file: read it as anyone would, and compare it with the plan and with what was sent to disk."""

import zlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quantlib.checkpoints import Tensor, open_checkpoint
from quantlib.errors import JobError
from quantlib.jobs.pieces import ranges
from quantlib.jobs.planning import Plan
from quantlib.jobs.pool import in_order, shared_pool

if TYPE_CHECKING:
    from quantlib.jobs.running import TensorResult


def verify(path: Path, plan: Plan, results: Sequence["TensorResult"], executor: Executor) -> None:
    """Raise JobError unless the file has the planned size, tensors, shapes and formats, and each tensor's bytes."""
    if path.stat().st_size != plan.nbytes:
        raise JobError(f"The file came out as {path.stat().st_size:,} bytes instead of {plan.nbytes:,}; run again.")
    threads = executor if isinstance(executor, ThreadPoolExecutor) else shared_pool()  # the file lies on this machine
    with open_checkpoint(path) as written:
        if list(written.tensors) != [t.name for t in plan.tensors]:
            raise JobError("The file lists other tensors than were planned; run again.")
        for planned in plan.tensors:
            tensor = written.tensors[planned.name]
            if (_stripped(tensor.shape), tensor.format) != (_stripped(planned.shape), planned.target):
                raise JobError(f"{planned.name} was written as {tensor.format} {tuple(tensor.shape)}; run again.")
        calls = (
            (written.tensors[planned.name], start, stop, crc)
            for planned, result in zip(plan.tensors, results, strict=True)
            for (start, stop), crc in zip(ranges(planned), result.crcs, strict=True)
        )
        for _ in in_order(threads, _check, calls):
            pass


def _check(tensor: Tensor, start: int, stop: int, crc: int) -> None:
    if _crc(tensor, start, stop) != crc:
        raise JobError(f"{tensor.name} reads back other bytes than were written: the disk may be failing.")


def _crc(tensor: Tensor, start: int, stop: int) -> int:
    return zlib.crc32(np.ascontiguousarray(tensor.raw(start, stop)).data)


def _stripped(shape: Sequence[int]) -> tuple[int, ...]:
    """GGUF stores no leading dimensions of one row."""
    shape = tuple(shape)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
