"""Perplexity: how many tokens the model hesitates between, on average, where a text goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import TypeVar

import numpy as np

from quantlib.lm.model import Model
from quantlib.lm.threads import side_by_side
from quantlib.lm.windows import Windows, cut

T = TypeVar("T")
HELD = 512  # tokens that go through a model at once where its weights are held decoded, one such batch a core
READ = 4096  # where each matrix is decoded when it is used


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
    return perplexity_of(model, cut(model, tokens, context, bos, least=2), progress)


def perplexity_of(model: Model, windows: Windows, progress: Callable[[float], None] | None = None) -> Perplexity:
    """Perplexity of a text that has been cut into windows."""

    def losses(_: slice, targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return -np.take_along_axis(log_probabilities(logits), targets[:, None], axis=1)[:, 0]

    return Perplexity(np.concatenate(list(over_windows(model, windows, losses, progress))).astype(np.float64))


def overall(parts: Sequence[Perplexity]) -> Perplexity:
    """The perplexity of several texts as one."""
    return Perplexity(np.concatenate([part.losses for part in parts]))


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """logits - ln(sum exp(logits)) over the last axis, float32; the sum is taken in float64."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.exp(logits - top).sum(axis=-1, keepdims=True, dtype=np.float64)
    return logits - (top + np.log(total)).astype(np.float32)


def scored_logits(model: Model, windows: Windows, some: slice) -> np.ndarray:
    """The logits before the scored tokens of some windows: float32 (n, vocabulary)."""
    hidden = model.hidden(windows.shown(some))[:, windows.first : -1]  # (some, scored, hidden)
    return model.logits(hidden.reshape(-1, hidden.shape[-1]))


def over_windows(
    model: Model,
    windows: Windows,
    what: Callable[[slice, np.ndarray, np.ndarray], T],
    progress: Callable[[float], None] | None = None,
) -> Iterator[T]:
    """what(which, targets, logits) for some windows at a time, in order: which windows, the scored tokens, int (n,),
    and the logits before them, float32 (n, vocabulary). Calls run side by side where the weights are held decoded.
    """

    def run(some: slice) -> tuple[int, T]:
        return some.stop, what(some, windows.targets[some].ravel(), scored_logits(model, windows, some))

    batches = windows.batches(HELD if model.held else READ)
    for done, result in side_by_side(run, batches) if model.held else map(run, batches):
        if progress:
            progress(done / len(windows))
        yield result
