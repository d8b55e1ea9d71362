"""Running a plan: read, quantize and write chunk by chunk, so that memory stays bounded whatever the model's size."""

import errno
import os
import shutil
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from quantlib import formats
from quantlib.checkpoints import GGUFWriter
from quantlib.errors import Cancelled, JobError, RecipeError
from quantlib.jobs.planning import Plan, PlannedTensor
from quantlib.jobs.pool import shared_pool, workers_of
from quantlib.jobs.verifying import verify
from quantlib.metrics import Loss, compare

CHUNK_WEIGHTS = 1 << 19  # 2 MiB of float32: stays in the cache from step to step, and bounds the memory of a run


@dataclass(frozen=True)
class Progress:
    """How far a run is, in weights, and which tensor it writes."""

    tensor: str
    index: int
    count: int
    weights_done: int
    weights: int
    seconds: float

    @property
    def fraction(self) -> float:
        return self.weights_done / self.weights if self.weights else 1.0


@dataclass(frozen=True)
class TensorResult:
    """What became of one tensor. crc: of its bytes as written. loss: of the stored weights against the source's."""

    name: str
    shape: tuple[int, ...]
    source: str
    target: str
    nbytes: int
    loss: Loss
    crc: int


@dataclass(frozen=True)
class RunResult:
    """A finished, verified file."""

    path: Path
    nbytes: int
    seconds: float
    tensors: tuple[TensorResult, ...]


def run(
    plan: Plan,
    out: str | Path,
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    executor: Executor | None = None,
) -> RunResult:
    """Write the plan's file: beside its final name first, renamed when verified.

    progress: called after each chunk. cancel: asked before each chunk; where it answers True the run stops with
    Cancelled. executor: where chunks are quantized (a shared pool of threads by default).
    Raises JobError (disk full, a value that cannot be stored, a failed verification), CheckpointError (the source
    cannot be read), Cancelled; in every case nothing is left under the final name.
    """
    out = Path(out)
    if plan.lacking:
        raise RecipeError(
            f"{plan.recipe.name} needs an importance matrix for {plan.lacking[0]}; give one, or choose another recipe."
        )
    _check_target(plan, out)
    started = time.monotonic()
    partial = None
    try:
        descriptor, partial = tempfile.mkstemp(prefix=f".{out.name[:80]}.", suffix=".partial", dir=out.parent)
        with os.fdopen(descriptor, "wb") as file:
            results = _write(plan, file, progress, cancel, executor or shared_pool(), started)
            file.flush()
            os.fsync(file.fileno())
        verify(Path(partial), plan, results)
        _give_usual_permissions(partial)
        os.replace(partial, out)
    except OSError as error:
        raise JobError(_sentence(error, plan, out)) from error
    finally:
        if partial is not None and os.path.exists(partial):
            os.unlink(partial)
    return RunResult(out, plan.nbytes, time.monotonic() - started, results)


def _check_target(plan: Plan, out: Path) -> None:
    if out.is_dir():
        raise JobError(f"{out} is a folder; name a file, such as {out / 'model.gguf'}.")
    if not out.parent.is_dir():
        raise JobError(f"The folder {out.parent} does not exist; create it or choose another.")
    free = shutil.disk_usage(out.parent).free
    if free < plan.nbytes:
        raise JobError(
            f"{out} needs {plan.nbytes:,} bytes and {out.parent} has {free:,} left; "
            "free some room or choose another disk."
        )


def _write(plan, file: BinaryIO, progress, cancel, executor: Executor, started: float) -> tuple[TensorResult, ...]:
    writer = GGUFWriter(file, plan.metadata, [(t.name, t.shape, t.target) for t in plan.tensors])
    results, done = [], 0
    for index, planned in enumerate(plan.tensors):
        loss, crc = Loss(), 0
        for data, chunk_loss, weights in _in_order(_chunks(planned), executor, cancel):
            writer.write(data)
            crc = zlib.crc32(data, crc)
            loss, done = loss + chunk_loss, done + weights
            if progress:
                progress(
                    Progress(planned.name, index, len(plan.tensors), done, plan.weights, time.monotonic() - started)
                )
        plan.checkpoint.forget()
        results.append(
            TensorResult(planned.name, planned.shape, planned.source, planned.target, planned.nbytes, loss, crc)
        )
    writer.finish()
    return tuple(results)


def _chunks(planned: PlannedTensor) -> Iterator[tuple[PlannedTensor, int, int]]:
    """Ranges of rows; none crosses from one expert's matrix to the next, for each has importances of its own."""
    tensor = planned.tensor
    step = max(1, CHUNK_WEIGHTS // max(1, tensor.n))
    expert = tensor.nrows // planned.experts
    for first in range(0, tensor.nrows, max(1, expert)):
        for start in range(first, first + expert, step):
            yield planned, start, min(start + step, first + expert)


def _in_order(chunks, executor: Executor, cancel) -> Iterator[tuple[np.ndarray, Loss, int]]:
    """Results of the chunks in their order, with no more of them in memory than workers can be busy with."""
    waiting: deque[Future] = deque()
    limit = workers_of(executor) + 1
    try:
        for chunk in chunks:
            if cancel and cancel():
                raise Cancelled("The run was cancelled; nothing was written.")
            waiting.append(executor.submit(_quantize_chunk, *chunk))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _quantize_chunk(planned: PlannedTensor, start: int, stop: int) -> tuple[np.ndarray, Loss, int]:
    tensor = planned.tensor
    weights = (stop - start) * tensor.n
    if planned.copied and planned.source not in formats.FORMATS:
        return np.ascontiguousarray(tensor.raw(start, stop)).reshape(-1), Loss(weights), weights
    x = tensor.rows(start, stop)
    _refuse_not_finite(planned, x, start)
    if planned.copied:
        return np.ascontiguousarray(tensor.raw(start, stop)).reshape(-1), compare(x, x), weights
    target = formats.get(planned.target)
    data = target.quantize(x, planned.importance_of(start))
    xhat = target.dequantize(data)
    loss = compare(x, xhat)
    if not np.isfinite(loss.squared_error):
        largest = np.abs(x).max()
        raise JobError(
            f"{planned.name} holds a weight of size {largest:.4g}, too large for {planned.target}; "
            "choose a recipe with a wider range, such as BF16."
        )
    return data.reshape(-1), loss, weights


def _refuse_not_finite(planned: PlannedTensor, x: np.ndarray, start: int) -> None:
    finite = np.isfinite(x)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    what = "NaN (not a number)" if np.isnan(x[row, column]) else "an infinity"
    raise JobError(
        f"{planned.name} holds {what} at row {start + row}, column {column}: this checkpoint is damaged, "
        "and no format can store that usefully."
    )


def _give_usual_permissions(path: str) -> None:
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def _sentence(error: OSError, plan: Plan, out: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of {out.parent} is full: {out.name} needs {plan.nbytes:,} bytes; free some room and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{out} cannot be written: no permission in {out.parent}."
    return f"{out} could not be written: {error.strerror or error}."
