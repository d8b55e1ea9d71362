"""A text cut into windows, as llama-perplexity and llama-imatrix cut it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.lm.model import Model

TOKENS = 2048  # that go through the model at once


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a text that do not overlap; a rest is dropped. tokens: int (windows, context), as the text has them.

    bos: the token that stands in for each window's first one, where the model wants a text to start with it.
    unscored: so many tokens of each window are only read before scoring starts; llama-perplexity's half of them, where
    nothing is said.
    """

    tokens: np.ndarray
    bos: int | None
    unscored: int | None = None

    @property
    def context(self) -> int:
        return self.tokens.shape[1]

    @property
    def first(self) -> int:
        """Where scoring starts: the logits of this place predict the first token that is scored."""
        return self.context // 2 if self.unscored is None else self.unscored

    @property
    def targets(self) -> np.ndarray:
        """The scored tokens, those after the place `first` of each window: int (windows, scored)."""
        return self.tokens[:, self.first + 1 :]

    def __len__(self) -> int:
        return len(self.tokens)

    def shown(self, some: slice) -> np.ndarray:
        """Some windows as the model is to see them: int (some, context)."""
        rows = self.tokens[some].copy()
        if self.bos is not None:
            rows[:, 0] = self.bos
        return rows

    def batches(self, tokens: int = TOKENS) -> Iterator[slice]:
        """Which windows go through the model at once, if those are to be about so many tokens."""
        step = max(1, tokens // self.context)
        for start in range(0, len(self), step):
            yield slice(start, min(start + step, len(self)))


def cut(
    model: Model, tokens: Sequence[int], context: int, bos: int | None, least: int = 1, unscored: int | None = None
) -> Windows:
    """The windows of a text for this model.

    Raises CheckpointError where the text is too short for `least` windows, the context is longer than the model's, or
    a token is none of its vocabulary.
    """
    tokens = np.asarray(tokens, np.int64)
    if context > model.shape.context:
        raise CheckpointError(f"A context of {context:,} tokens is longer than this model's {model.shape.context:,}.")
    if context < 4:
        raise CheckpointError(f"A context of {context} tokens is too short to measure anything: take 4 or more.")
    if len(tokens) < least * context:
        raise CheckpointError(
            f"The text has {len(tokens):,} tokens; with a context of {context:,} it needs {least * context:,} or more."
        )
    largest = max(int(tokens.max()), bos or 0)
    if largest >= model.shape.vocabulary or tokens.min() < 0:
        raise CheckpointError(
            f"The text has the token {largest:,}, and the model knows {model.shape.vocabulary:,}: "
            "its tokenizer is another model's."
        )
    count = len(tokens) // context
    return Windows(tokens[: count * context].reshape(count, context), bos, unscored)


def spread(windows: Windows, tokens: int) -> Windows:
    """So many of a text's tokens at most, in windows that are evenly spread over it."""
    count = min(len(windows), max(1, tokens // windows.context))
    return replace(windows, tokens=windows.tokens[np.arange(count) * len(windows) // count])


def joined(windows: Sequence[Windows]) -> Windows:
    """The windows of several texts, of one context length, as one."""
    return replace(windows[0], tokens=np.concatenate([w.tokens for w in windows]))
