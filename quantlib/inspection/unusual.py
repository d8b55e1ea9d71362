"""What is unusual about a checkpoint's tensors: measures to rank them by, and the remarks worth a reader's time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.checkpoints.gguf_types import INTEGERS
from quantlib.errors import QuantlibError
from quantlib.inspection.statistics import Statistics

ENOUGH_ROWS = 64  # of a sample, from which dead channels are told
MOST_ROWS = 4096  # of an embedding, among which alike ones are looked for


@dataclass(frozen=True)
class Measure:
    """Something to rank tensors by. value: None where a tensor has none. notable: from which value on it is unusual.

    words: what is said of a tensor, with a place for the value.
    """

    name: str
    value: Callable[[Statistics], float | None]
    notable: float
    words: str


def _dead(found: Statistics) -> float | None:
    rows = found.seen // max(1, found.shape[-1] if found.shape else 1)
    if len(found.shape) < 2 or found.format in INTEGERS or (found.sampled and rows < ENOUGH_ROWS):
        return None
    return float(found.dead_rows + found.dead_columns)


def _peak(found: Statistics) -> float | None:
    """Of matrices: a norm's weights are all alike, and its extremes say little."""
    return found.peak if len(found.shape) > 1 else None


def _kurtosis(found: Statistics) -> float | None:
    return found.kurtosis if len(found.shape) > 1 else None


def _zeros(found: Statistics) -> float | None:
    """Of floats: in a block format, zero is one of a few levels, and many weights fall on it."""
    floats = found.format.startswith(("FP", "BF"))
    return found.zero_share if floats and found.seen else None


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("not finite", lambda s: float(s.not_finite), 1, "{:,.0f} values are NaN or infinite"),
        Measure("dead channels", _dead, 1, "{:,.0f} rows or columns are zero throughout"),
        Measure("share of zeros", _zeros, 0.02, "{:.1%} of the weights are exactly zero"),
        Measure("largest / RMS", _peak, 25, "its largest weight is {:,.0f} times the root mean square"),
        Measure("excess kurtosis", _kurtosis, 15, "its weights have long tails: an excess kurtosis of {:,.0f}"),
    )
}


@dataclass(frozen=True)
class Remark:
    """One unusual thing about one tensor."""

    name: str
    measure: str
    value: float
    words: str


def ranked(rows: Iterable[Statistics], measure: Measure) -> list[tuple[Statistics, float]]:
    """The tensors that have a value, the largest first."""
    found = ((row, value) for row in rows if (value := measure.value(row)) is not None)
    return sorted(found, key=lambda pair: -pair[1])


def remarks(rows: Iterable[Statistics], each: int = 4) -> list[Remark]:
    """What is unusual, the gravest measure first, and at most `each` tensors for one measure."""
    rows, found = list(rows), list[Remark]()
    for measure in MEASURES.values():
        notable = [(row, value) for row, value in ranked(rows, measure)[:each] if value >= measure.notable]
        found += [Remark(row.name, measure.name, value, measure.words.format(value)) for row, value in notable]
    return found


def seen_of(rows: Iterable[Statistics]) -> tuple[int, int]:
    """How many weights were read, and how many could be."""
    readable = [row for row in rows if not row.note]
    return sum(row.seen for row in readable), sum(row.weights for row in readable)


@dataclass(frozen=True)
class Vocabulary:
    """How much of an embedding is used. rows: it has; tokens: of the tokenizer, None where there is none.

    marked: tokens that the tokenizer itself calls unused. alike: rows among the `seen` that another one of them equals.
    """

    rows: int
    tokens: int | None
    marked: int
    alike: int
    seen: int

    @property
    def beyond(self) -> int:
        """Rows that belong to no token."""
        return 0 if self.tokens is None else max(0, self.rows - self.tokens)

    def sentences(self) -> tuple[str, ...]:
        """What there is to say of it; nothing where all of it is in use."""
        said = []
        if self.beyond:
            said.append(f"{self.beyond:,} of the embedding's {self.rows:,} rows belong to no token")
        if self.marked:
            said.append(f"{self.marked:,} tokens are marked as unused")
        if self.alike:
            among = "" if self.seen == self.rows else f" of {self.seen:,} looked at"
            said.append(f"{self.alike:,} rows{among} equal another row, so they were never trained")
        return tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in said)


def vocabulary(checkpoint: Checkpoint) -> Vocabulary | None:
    """How much of its vocabulary a model uses, from a sample of its embedding; None where it has no embedding."""
    try:
        view = gguf_view(checkpoint)
    except QuantlibError:
        return None
    embedding = view.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        return None
    tokens, types = view.value("tokenizer.ggml.tokens"), view.value("tokenizer.ggml.token_type")
    marked = int((np.asarray(types) == 5).sum()) if isinstance(types, np.ndarray | list) else 0
    alike, seen = _alike(embedding)
    return Vocabulary(embedding.nrows, len(tokens) if hasattr(tokens, "__len__") else None, marked, alike, seen)


def _alike(embedding: Tensor) -> tuple[int, int]:
    """How many of the rows looked at equal an earlier one of them, and how many were looked at.

    Of a large vocabulary: evenly spaced rows, and the last ones, where reserved tokens are.
    """
    stop, half = embedding.nrows, MOST_ROWS // 2
    if stop <= MOST_ROWS:
        rows = [row.tobytes() for row in embedding.raw()]
    else:
        spaced = np.linspace(0, stop - half - 1, half).astype(int).tolist()
        rows = [embedding.raw(row, row + 1).tobytes() for row in spaced]
        rows += [row.tobytes() for row in embedding.raw(stop - half, stop)]
    return len(rows) - len(set(rows)), len(rows)
