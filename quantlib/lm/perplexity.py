"""Perplexity: how many tokens the model hesitates between, on average, where a text goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from quantlib.lm.model import Model
from quantlib.lm.windows import Windows, cut


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood. losses: of every scored token, in nats, float64 (tokens,)."""

    losses: np.ndarray

    @property
    def tokens(self) -> int:
        return len(self.losses)

    @property
    def value(self) -> float:
        return exp(self.losses.mean())

    @property
    def stderr(self) -> float:
        """Standard error of the value, from the spread of the losses."""
        return self.value * sqrt(max(0.0, self.losses.var()) / max(1, self.tokens - 1))


def perplexity(
    model: Model,
    tokens: Sequence[int],
    context: int = 512,
    bos: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Perplexity:
    """Perplexity of a text with llama-perplexity's definition.

    The text is cut into windows of `context` tokens that do not overlap; a rest is dropped. Each window's first token
    becomes `bos` where the model has one. Scored are the tokens of the second half, from context/2 + 1 on.
    Raises CheckpointError where the text has fewer than two windows, or the context is longer than the model's.
    """
    windows = cut(model, tokens, context, bos, least=2)
    losses = []
    for scored, logits in scored_logits(model, windows, progress):
        top = logits.max(axis=-1, keepdims=True)
        likely = np.take_along_axis(logits, scored[:, None], axis=-1)
        total = np.exp(logits - top).sum(axis=-1, keepdims=True, dtype=np.float64)
        losses.append((np.log(total) + top - likely)[:, 0])
    return Perplexity(np.concatenate(losses))


def scored_logits(
    model: Model, windows: Windows, progress: Callable[[float], None] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some windows at a time: the scored tokens, int (n,), and the logits before them, float32 (n, vocabulary)."""
    for start, some in windows.batches():
        hidden = model.hidden(some)[:, windows.first : -1]  # (some, scored, hidden)
        targets = windows.targets[start : start + len(some)]
        yield targets.ravel(), model.logits(hidden.reshape(-1, hidden.shape[-1]))
        if progress:
            progress((start + len(some)) / len(windows))
