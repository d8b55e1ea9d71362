"""Two checkpoints compared tensor by tensor: formats, sizes, how far the weights are apart, and what that means."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import isfinite

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.checkpoints.base import shown
from quantlib.errors import CheckpointError
from quantlib.inspection.alignment import aligned
from quantlib.inspection.chunks import over_chunks
from quantlib.metrics import Loss, compare


@dataclass(frozen=True)
class TensorComparison:
    """One tensor in both checkpoints, or in one. loss: of the other's weights against the first's, where comparable.

    shape, format and nbytes are None on the side that lacks the tensor. note: what to know of the pair, in words.
    """

    name: str
    shape: tuple[int, ...] | None
    other_shape: tuple[int, ...] | None
    format: str | None
    other_format: str | None
    nbytes: int | None
    other_nbytes: int | None
    loss: Loss | None = None
    note: str = ""


def comparisons(
    checkpoint: Checkpoint, other: Checkpoint, executor: Executor | None = None
) -> Iterator[TensorComparison]:
    """Every tensor of both, each compared when it is asked for: the first's in its order, then what only other has.

    Partners are found as `aligned` says.
    Raises CheckpointError where that view cannot be made or a file cannot be read.
    """
    first, second = aligned(checkpoint, other)
    for name in dict.fromkeys((*first, *second)):
        yield _compared(name, first.get(name), second.get(name), executor)
        checkpoint.forget()
        other.forget()


def total_loss(rows: Iterable[TensorComparison]) -> Loss:
    """The loss over all weights that both have.

    Raises CheckpointError where there are none, as of two different models: no loss would read as no error.
    """
    rows = tuple(rows)
    total = sum((row.loss for row in rows if row.loss is not None), Loss())
    if not total.count:
        both = [row for row in rows if row.shape is not None and row.other_shape is not None]
        why = f"of their {len(rows)} tensors {len(both)} have the same name"
        why += f", and {both[0].note} ({shown(both[0].name)} is the first)" if both else ""
        raise CheckpointError(f"These two cannot be compared: {why}. Compare two files of one model.")
    return total


def _compared(name: str, a: Tensor | None, b: Tensor | None, executor: Executor | None) -> TensorComparison:
    shapes, formats, sizes = zip(
        *((tuple(t.shape), t.format, t.nbytes) if t else (None,) * 3 for t in (a, b)), strict=True
    )
    about = TensorComparison(name, *shapes, *formats, *sizes)
    if a is None or b is None:
        return replace(about, note="only in the first" if b is None else "only in the other")
    if _without_ones(a.shape) != _without_ones(b.shape):
        return replace(about, note="shapes differ")
    unknown = next((t.format for t in (a, b) if not t.decodable), None)
    if unknown:
        return replace(about, note=f"{unknown} cannot be decoded yet")
    parts = over_chunks(a, lambda start, stop: compare(a.rows(start, stop), b.rows(start, stop)), executor)
    loss = sum(parts, Loss())
    if not isfinite(loss.squared_error):
        return replace(about, note="holds values that are not finite")
    return replace(about, loss=loss, note="the same values" if not loss.squared_error else "")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """GGUF stores no leading dimensions of one row."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return tuple(shape)
