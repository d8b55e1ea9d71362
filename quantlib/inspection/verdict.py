"""What a comparison of two checkpoints means: one model, one that is stored in two ways or trained further, or two."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError, QuantlibError
from quantlib.inspection.comparison import TensorComparison, comparisons
from quantlib.jobs.expected import TYPICAL, outlier
from quantlib.metrics import Loss
from quantlib.showing import Shown

ALIKE = 0.5  # cosine over all weights below which two models have no more in common than their shapes
ENOUGH = 0.98  # of the weights that must have a partner, for two checkpoints to be of one model
FACTS = {  # what two checkpoints of one model have in common, by the end of its GGUF key
    "block_count": "layers",
    "embedding_length": "width",
    "attention.head_count": "heads",
    "vocab_size": "vocabulary",
}
TOKENIZER = {
    "tokenizer.ggml.tokens": "vocabulary",
    "tokenizer.ggml.merges": "merges",
    "tokenizer.chat_template": "chat template",
    "tokenizer.ggml.eos_token_id": "end token",
    "tokenizer.ggml.bos_token_id": "start token",
}


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Two checkpoints compared. facts: in which of a model's facts they differ, as "layers 30 and 32"; texts: which
    parts of their tokenizers differ.
    """

    rows: tuple[TensorComparison, ...]
    facts: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    total: Loss = field(default_factory=Loss)

    @property
    def shared(self) -> float:
        """The share of the weights of both that have a partner and were compared."""
        weights = sum(prod(row.shape or row.other_shape or ()) for row in self.rows)
        return self.total.count / max(1, weights)

    @property
    def alone(self) -> tuple[TensorComparison, ...]:
        """The tensors without a partner that they could be compared with."""
        return tuple(row for row in self.rows if row.loss is None)

    @property
    def unexplained(self) -> tuple[TensorComparison, ...]:
        """The tensors that differ by more than the coarser one's format explains."""
        return tuple(row for row in self.rows if row.loss and row.loss.squared_error and _beyond(row, row.loss))

    @property
    def verdict(self) -> str:
        """ "other" models, the "same" weights, weights "changed" by training, or the same ones "stored" otherwise."""
        if self.facts or self.shared < ENOUGH or (self.total.squared and self.total.cosine < ALIKE):
            return "other"
        if not self.total.squared_error:
            return "same"
        return "changed" if self.unexplained else "stored"

    @property
    def words(self) -> str:
        """The verdict as sentences, with what it rests on."""
        said = [_SENTENCES[self.verdict](self)]
        if self.alone and self.verdict != "other":
            said.append(f"Not compared: {len(self.alone):,} tensors ({self.alone[0].name}: {self.alone[0].note}).")
        if self.texts and self.verdict != "other":
            said.append(f"Their tokenizers differ in {' and '.join(self.texts)}, so texts may come out differently.")
        return " ".join(said)


def _beyond(row: TensorComparison, loss: Loss) -> bool:
    known = [form for form in (row.format, row.other_format) if form in TYPICAL]
    if not known:
        return True
    coarser = max(known, key=lambda form: TYPICAL[form])
    return outlier(row.name, coarser, loss) is not None


def _other(found: Comparison) -> str:
    if found.facts:
        return f"These are different models: {'; '.join(found.facts)}."
    if found.shared < ENOUGH:
        first = found.alone[0]
        return (
            f"These are different models: {found.shared:.0%} of their weights have a partner, and "
            f"{len(found.alone):,} tensors have none ({first.name}: {first.note})."
        )
    return (
        f"These are different models of one shape: the cosine between their weights is {found.total.cosine:.2f}, where "
        "1 is the same."
    )


def _same(found: Comparison) -> str:
    return "These are the same weights, value by value."


def _changed(found: Comparison) -> str:
    count, worst = len(found.unexplained), max(found.unexplained, key=_relative)
    return (
        f"One was trained or merged further, or damaged: {count:,} of {len(found.rows):,} tensors differ by more than "
        f"their formats explain, most of all {worst.name} ({_relative(worst):.1%}). Over all weights the relative "
        f"error is {found.total.relative:.2%}."
    )


def _stored(found: Comparison) -> str:
    return (
        "This is one model, stored in two ways: the relative error over all weights is "
        f"{found.total.relative:.2%}, and no tensor differs by more than its format explains."
    )


_SENTENCES: Mapping[str, Callable[[Comparison], str]] = {
    "other": _other,
    "same": _same,
    "changed": _changed,
    "stored": _stored,
}


def _relative(row: TensorComparison) -> float:
    return row.loss.relative if row.loss else 0.0


def compare(
    checkpoint: Checkpoint,
    other: Checkpoint,
    executor: Executor | None = None,
    progress: Callable[[TensorComparison], None] | None = None,
) -> Comparison:
    """Two checkpoints, read whole, and what their differences mean. progress: called with each tensor.

    Raises CheckpointError where no weight of one has a partner in the other, or a file cannot be read.
    """
    found = []
    for row in comparisons(checkpoint, other, executor):
        found.append(row)
        if progress:
            progress(row)
    return judged(checkpoint, other, found)


def judged(checkpoint: Checkpoint, other: Checkpoint, rows: Iterable[TensorComparison]) -> Comparison:
    """What the compared tensors of two checkpoints mean."""
    rows = tuple(rows)
    total = sum((row.loss for row in rows if row.loss is not None), Loss())
    first, second = _keys(checkpoint), _keys(other)
    return Comparison(rows, _facts(first, second), _texts(first, second), total)


def _keys(checkpoint: Checkpoint) -> Checkpoint | None:
    try:
        return gguf_view(checkpoint)
    except (CheckpointError, QuantlibError):
        return None


def _facts(first: Checkpoint | None, second: Checkpoint | None) -> tuple[str, ...]:
    """Where both say something, and not the same."""
    if first is None or second is None or not (first.architecture and second.architecture):
        return ()
    pairs = [("architecture", first.architecture, second.architecture)]
    for end, word in FACTS.items():
        pairs.append((word, first.value(f"{first.architecture}.{end}"), second.value(f"{second.architecture}.{end}")))
    return tuple(
        f"{word} {_shown(a)} and {_shown(b)}"
        for word, a, b in pairs
        if a is not None and b is not None and _differ(a, b)
    )


def _texts(first: Checkpoint | None, second: Checkpoint | None) -> tuple[str, ...]:
    if first is None or second is None:
        return ()
    pairs = ((word, first.value(key), second.value(key)) for key, word in TOKENIZER.items())
    return tuple(word for word, a, b in pairs if a is not None and b is not None and _differ(a, b))


def _differ(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str) or not hasattr(a, "__len__") or not hasattr(b, "__len__"):
        return not np.array_equal(np.asarray(a), np.asarray(b))
    return len(a) != len(b) or any(x != y for x, y in zip(a, b, strict=True))


def _shown(value: Any) -> str:
    text = str(value)
    return "".join(c if c.isprintable() else "�" for c in text[:40])
