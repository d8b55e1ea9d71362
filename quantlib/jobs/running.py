"""Running a plan: read, quantize and write piece by piece, so that memory stays bounded whatever the model's size."""

import errno
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from quantlib.checkpoints import GGUFWriter, Layout, gguf_layout
from quantlib.destinations import GGUF, destination, reason
from quantlib.errors import Cancelled, JobError, RecipeError
from quantlib.jobs.expected import Outlier, outliers
from quantlib.jobs.flushing import Flushing
from quantlib.jobs.journal import Journal, Written, beside, fingerprint
from quantlib.jobs.pieces import Piece, Source, pieces, quantize_piece, ranges
from quantlib.jobs.planning import Plan, PlannedTensor
from quantlib.jobs.pool import in_order, shared_pool
from quantlib.jobs.progress import Progress
from quantlib.jobs.verifying import verify
from quantlib.metrics import Loss
from quantlib.showing import Shown


@dataclass(frozen=True)
class TensorResult:
    """What became of one tensor. crcs: of its pieces as written. loss: of the stored weights against the source's."""

    name: str
    shape: tuple[int, ...]
    source: str
    target: str
    nbytes: int
    loss: Loss
    crcs: tuple[int, ...] = ()


@dataclass(frozen=True, repr=False)
class RunResult(Shown):
    """A finished, verified file. resumed: how many tensors an earlier, killed run had written already."""

    path: Path
    nbytes: int
    seconds: float
    tensors: tuple[TensorResult, ...]
    resumed: int = 0

    @property
    def loss(self) -> Loss:
        """What all weights lost together."""
        return sum((tensor.loss for tensor in self.tensors), Loss())

    @property
    def outliers(self) -> tuple[Outlier, ...]:
        """Tensors whose stored weights are farther from the source's than their format explains."""
        return outliers(self.tensors)


def run(
    plan: Plan,
    out: str | Path,
    progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
) -> RunResult:
    """Write the plan's file: beside its final name first, renamed when verified.

    progress: called after each piece. cancel: asked before each piece; where it answers True the run stops with
    Cancelled. executor: where pieces are quantized: any of concurrent.futures' kind, a shared pool of threads by
    default; other processes open the source by its path. overwrite: replace also a file that is no GGUF model. A run
    that was killed goes on from the tensors that it had written, as long as neither the input nor the plan has changed.
    Raises JobError (a file that must stay, disk full, a value that cannot be stored, a failed verification, another run
    to the same file), CheckpointError (the source cannot be read), Cancelled; in every case nothing new is left under
    the final name.
    """
    out, executor = Path(out), executor or shared_pool()
    if plan.lacking:
        raise RecipeError(plan.refusal)
    check_target(plan, out, overwrite)
    plan.checkpoint.download()
    journal = None
    try:
        journal = Journal(out)
        return _Run(plan, out, progress, cancel, executor, journal).finish()
    except OSError as error:
        raise JobError(_sentence(error, plan, out)) from error
    except BrokenExecutor as error:
        raise JobError(f"A worker process ended in the middle of the run ({error}); run again.") from error
    finally:
        if journal is not None:
            journal.remove()


def check_target(plan: Plan, out: Path, overwrite: bool = False) -> None:
    """Raises JobError where a plan's file cannot be written: it would replace what must stay, or there is no room."""
    destination(out, GGUF, plan.reads, plan.checkpoint.folder, overwrite)
    partial = beside(out, "partial")  # of a killed run: it is gone on with, or gives its room back
    free = shutil.disk_usage(out.parent).free + (partial.stat().st_size if partial.exists() else 0)
    if free < plan.nbytes:
        raise JobError(
            f"{out} needs {plan.nbytes:,} bytes and {out.parent} has {free:,} left; "
            "free some room or choose another disk."
        )


class _Run:
    """One run, from the journal of an earlier one, if there is any, to the renamed file."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        progress: Callable[[Progress], None] | None,
        cancel: Callable[[], bool] | None,
        executor: Executor,
        journal: Journal,
    ):
        self.journal = journal
        self.plan, self.out, self.executor = plan, out, executor
        self.progress, self.cancel = progress, cancel
        self.started, self.resumed = time.monotonic(), 0
        self.weights, self.nbytes = 0, 0  # done so far

    def finish(self) -> RunResult:
        """Write what is missing, verify, rename."""
        layout = gguf_layout(self.plan.metadata, [(t.name, t.shape, t.target) for t in self.plan.tensors])
        mark = fingerprint(self.plan, layout)
        done = self.journal.read(mark)
        with self.journal.file as file:
            done = _intact(file, self.plan, layout, done)
            self.journal.start(mark, done)
            with Flushing(file) as flushing:
                results = self._write(file, layout, done, flushing)
                flushed = flushing.finish()
                if any(source.changed() for source in self.plan.checkpoint.files):
                    raise JobError(f"{self.plan.checkpoint.source} was changed while it was read; run again.")
                verify(self.journal.partial, self.plan, results, self.executor)
                flushed.result()
        os.replace(self.journal.partial, self.out)
        seconds = time.monotonic() - self.started
        return RunResult(self.out, self.plan.nbytes, seconds, results, resumed=len(done))

    def _write(
        self, file: BinaryIO, layout: Layout, done: list[Written], flushing: Flushing
    ) -> tuple[TensorResult, ...]:
        """The tensors after those that are done, in the file from where it stands."""
        tensors = self.plan.tensors
        results = [_result(planned, written) for planned, written in zip(tensors, done, strict=False)]
        self.weights = self.resumed = sum(prod(t.shape) for t in tensors[: len(done)])
        self.nbytes = sum(t.nbytes for t in tensors[: len(done)])
        writer = GGUFWriter(file, layout, done=len(done))
        quantized = in_order(self.executor, quantize_piece, self._pieces(tensors[len(done) :]))
        for index, planned in enumerate(tensors[len(done) :], start=len(done)):
            crcs, loss = [], Loss()
            for start, stop in ranges(planned):
                part = next(quantized)
                writer.write(part.data)
                flushing.wrote(part.data.nbytes)
                crcs.append(part.crc)
                loss += part.loss
                self._tell(planned, index, (stop - start) * planned.tensor.n, part.data.nbytes)
            written = Written(tuple(crcs), loss)
            file.flush()
            self.journal.add(written)
            results.append(_result(planned, written))
        writer.finish()
        return tuple(results)

    def _pieces(self, tensors: tuple[PlannedTensor, ...]) -> Iterator[tuple[Piece]]:
        source = Source.of(self.plan)
        for planned in tensors:
            for piece in pieces(source, planned):
                if self.cancel and self.cancel():
                    raise Cancelled("The run was cancelled; nothing was written.")
                yield (piece,)
            self.plan.checkpoint.forget()

    def _tell(self, planned: PlannedTensor, index: int, weights: int, nbytes: int) -> None:
        self.weights, self.nbytes = self.weights + weights, self.nbytes + nbytes
        if self.progress:
            seconds, count = time.monotonic() - self.started, len(self.plan.tensors)
            of_weights, of_bytes = (self.weights, self.plan.weights), (self.nbytes, self.plan.tensor_nbytes)
            self.progress(Progress(planned.name, index, count, *of_weights, seconds, *of_bytes, self.resumed))


def _result(planned: PlannedTensor, written: Written) -> TensorResult:
    about = (planned.name, planned.shape, planned.source, planned.target, planned.nbytes)
    return TensorResult(*about, written.loss, written.crcs)


def _intact(file: BinaryIO, plan: Plan, layout: Layout, noted: list[Written]) -> list[Written]:
    """The first of the noted tensors whose bytes are all in the partial file; it is cut after them.

    A killed process loses nothing that it wrote; a machine without power may, so the bytes are read again.
    """
    if not noted or file.read(len(layout.header)) != layout.header:
        file.seek(0)
        file.truncate()
        return []
    done = []
    for planned, written, offset in zip(plan.tensors, noted, layout.offsets, strict=False):
        file.seek(len(layout.header) + offset)
        row = planned.nbytes // max(1, planned.tensor.nrows)
        found = tuple(zlib.crc32(file.read((stop - start) * row)) for start, stop in ranges(planned))
        if found != written.crcs:
            break
        done.append(written)
    end = layout.end_of(len(done))
    file.truncate(end)
    file.seek(end)
    return done


def _sentence(error: OSError, plan: Plan, out: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of {out.parent} is full: {out.name} needs {plan.nbytes:,} bytes; free some room and run again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{out} cannot be written: no permission in {out.parent}."
    return f"{out} could not be written: {reason(error)}."
