"""Perplexity: how many tokens the model hesitates between, on average, where a text goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.lm.model import Model


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
    tokens = np.asarray(tokens)
    if context > model.shape.context:
        raise CheckpointError(f"A context of {context:,} tokens is longer than this model's {model.shape.context:,}.")
    if len(tokens) < 2 * context:
        raise CheckpointError(
            f"The text has {len(tokens):,} tokens; perplexity with a context of {context:,} needs "
            f"{2 * context:,} or more."
        )
    count, first = len(tokens) // context, context // 2
    losses = []
    for i in range(count):
        window = tokens[i * context : (i + 1) * context].copy()
        targets = window[first + 1 :].copy()
        if bos is not None:
            window[0] = bos
        logits = model(window)[first:-1].astype(np.float64)  # (context - first - 1, vocabulary)
        likely = logits[np.arange(len(targets)), targets]
        top = logits.max(axis=-1)
        losses.append(np.log(np.exp(logits - top[:, None]).sum(axis=-1)) + top - likely)
        if progress:
            progress((i + 1) / count)
    return Perplexity(np.concatenate(losses))
