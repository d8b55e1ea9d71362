"""The unit of work: a row range of one tensor, which any worker can quantize, in this process or on another machine."""

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from quantlib import formats
from quantlib.checkpoints import PART, Checkpoint, Tensor, gguf_view, open_checkpoint, vision_half
from quantlib.errors import FormatError, JobError, ScaleError
from quantlib.jobs.planning import Plan, PlannedTensor
from quantlib.metrics import Loss, compare

CHUNK_WEIGHTS = 1 << 19  # 2 MiB of float32: stays in the cache from step to step, and bounds the memory of a run


@dataclass(frozen=True)
class Source:
    """Where tensors are read. Sent to another process it is opened there again, from the same path.

    stamp: of the files as they were when the plan was made; a worker that finds others refuses. part: which half of a
    model it is, where it is one.
    """

    path: str
    stamp: str
    part: str | None
    tensors: Mapping[str, Tensor] = field(repr=False, compare=False)

    @classmethod
    def of(cls, plan: Plan) -> "Source":
        opened = plan.checkpoint
        path = opened.files[0].path if opened.origin and opened.kind == "gguf" else opened.source
        tensors = {t.name: t.tensor for t in plan.tensors}
        return cls(str(path.absolute()), stamp(opened), opened.metadata.get(PART), tensors)

    def __reduce__(self) -> tuple[Callable[..., "Source"], tuple[object, ...]]:
        return _reopened, (self.path, self.stamp, self.part)


def stamp(checkpoint: Checkpoint) -> str:
    """A digest of which files a checkpoint is, with their sizes and times of change."""
    return hashlib.sha256(repr(checkpoint.identity).encode()).hexdigest()


@lru_cache(maxsize=2)
def _reopened(path: str, expected: str, part: str | None) -> Source:
    checkpoint = open_checkpoint(path)
    checkpoint = checkpoint if part is None else vision_half(checkpoint)
    if stamp(checkpoint) != expected:
        raise JobError(f"{path} is not the file here that the plan was made from; give all workers the same storage.")
    return Source(path, expected, part, gguf_view(checkpoint).tensors)


@dataclass(frozen=True)
class Piece:
    """Rows start..stop of a tensor, to be stored in the target format.

    importance: of its columns (n,), or None. effort: as `BlockFormat.quantize` takes it.
    """

    source: Source
    name: str
    target: str
    start: int
    stop: int
    importance: np.ndarray | None = field(default=None, repr=False, compare=False)
    effort: str = "standard"


@dataclass(frozen=True)
class Quantized:
    """A piece's bytes, uint8 (nbytes,), their CRC, and the loss of what they store."""

    data: np.ndarray
    crc: int
    loss: Loss


def pieces(source: Source, planned: PlannedTensor) -> Iterator[Piece]:
    """Ranges of rows; none crosses from one expert's matrix to the next, for each has importances of its own."""
    for start, stop in ranges(planned):
        yield Piece(source, planned.name, planned.target, start, stop, planned.importance_of(start), planned.effort)


def ranges(planned: PlannedTensor) -> Iterator[tuple[int, int]]:
    """The row ranges of a tensor's pieces, in order."""
    tensor = planned.tensor
    step = max(1, CHUNK_WEIGHTS // max(1, tensor.n))
    expert = tensor.nrows // planned.experts
    for first in range(0, tensor.nrows, max(1, expert)):
        for start in range(first, first + expert, step):
            yield start, min(start + step, first + expert)


def quantize_piece(piece: Piece) -> Quantized:
    """Read, quantize, decode again and measure.

    Raises JobError for a value that no format can store usefully, or this one cannot; CheckpointError where the source
    cannot be read.
    """
    tensor = piece.source.tensors[piece.name]
    raw = tensor.raw(piece.start, piece.stop)
    if piece.target == tensor.format:
        loss = _loss_of_a_copy(piece, tensor, raw)
        data = np.ascontiguousarray(raw).reshape(-1)
    else:
        data, loss = _encoded(piece, tensor.decoded(raw))
    return Quantized(data, zlib.crc32(data.data), loss)


def _loss_of_a_copy(piece: Piece, tensor: Tensor, raw: np.ndarray) -> Loss:
    if tensor.format not in formats.FORMATS:
        return Loss((piece.stop - piece.start) * tensor.n)
    x = tensor.decoded(raw)
    loss = compare(x, x)
    if not np.isfinite(loss.squared):
        _refuse_not_finite(piece, x)
        loss = Loss(x.size)  # finite, but the squares are beyond float64
    return loss


def _encoded(piece: Piece, x: np.ndarray) -> tuple[np.ndarray, Loss]:
    target = formats.get(piece.target)
    try:
        data = target.quantize(x, piece.importance, piece.effort)
    except ScaleError:
        raise _too_large(piece, x) from None
    except FormatError:
        _refuse_not_finite(piece, x)
        raise
    loss = compare(x, target.dequantize(data))
    if not np.isfinite(loss.squared_error):
        _refuse_not_finite(piece, x)
        raise _too_large(piece, x)
    return data.reshape(-1), loss


def _too_large(piece: Piece, x: np.ndarray) -> JobError:
    row = int(np.abs(x).max(axis=1).argmax())
    return JobError(
        f"{piece.name} holds a weight of size {np.abs(x[row]).max():.4g} in row {piece.start + row}, too large for "
        f"{piece.target}; choose a recipe with a wider range, such as BF16."
    )


def _refuse_not_finite(piece: Piece, x: np.ndarray) -> None:
    finite = np.isfinite(x)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    tensor, at = piece.source.tensors[piece.name], piece.start + int(row)
    if tensor.format == "F64" and np.isfinite(held := tensor.raw(at, at + 1).view("<f8").reshape(-1)[column]):
        raise JobError(
            f"{piece.name} holds {held:.4g} at row {at}, column {column}, beyond the 32-bit floats (up to 3.4e38) in "
            "which weights are computed; scale the weights down, or leave this tensor out."
        )
    what = "NaN (not a number)" if np.isnan(x[row, column]) else "an infinity"
    raise JobError(
        f"{piece.name} holds {what} at row {at}, column {column}: this checkpoint is damaged, "
        "and no format can store that usefully."
    )
