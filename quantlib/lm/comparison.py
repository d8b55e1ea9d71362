"""A model against the model it was made from, token by token: what an average hides.

The measures are those of llama-perplexity's --kl-divergence, with its definitions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, prod, sqrt

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.lm.model import Model
from quantlib.lm.perplexity import Perplexity, log_probabilities, over_windows, scored_logits
from quantlib.lm.tokenizer import Tokenizer
from quantlib.lm.windows import Windows, joined

HELD = 1_000_000_000  # bytes of a baseline's predictions that are kept; longer ones are made again each time
PERCENTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
BEFORE = 24  # tokens of context that are shown before one of the worst


@dataclass(frozen=True, eq=False)
class Baseline:
    """What a model predicts at each scored place of a text: the measure for others.

    held: its log probabilities, float32 (windows, scored, vocabulary), or None where they are too many to keep.
    """

    model: Model
    windows: Windows
    held: np.ndarray | None

    def predictions(self, some: slice) -> np.ndarray:
        """Log probabilities before the scored tokens of some windows, float32 (n, vocabulary)."""
        if self.held is None:
            return log_probabilities(scored_logits(self.model, self.windows, some))
        return self.held[some].reshape(-1, self.held.shape[-1])


def baseline(model: Model, windows: Windows, progress: Callable[[float], None] | None = None) -> Baseline:
    """Let a model predict a text, for others to be compared with it."""
    size = (*windows.targets.shape, model.shape.vocabulary)
    if 4 * prod(size) > HELD:
        return Baseline(model, windows, None)
    held = np.empty(size, np.float32)

    def keep(some: slice, targets: np.ndarray, logits: np.ndarray) -> None:
        held[some] = log_probabilities(logits).reshape(held[some].shape)

    deque(over_windows(model, windows, keep, progress), maxlen=0)
    return Baseline(model, windows, held)


@dataclass(frozen=True, eq=False)
class Comparison:
    """How a model's predictions differ from its baseline's, for every scored token, arrays (tokens,).

    losses, baseline_losses: negative log-likelihoods in nats, float64. divergence: KL(baseline ‖ model) in nats,
    float64. top, baseline_top: the likeliest tokens, int. windows: the text.
    Standard errors take tokens as independent, as llama-perplexity does.
    """

    windows: Windows = field(repr=False)
    losses: np.ndarray
    baseline_losses: np.ndarray
    divergence: np.ndarray
    top: np.ndarray
    baseline_top: np.ndarray

    @property
    def tokens(self) -> int:
        return len(self.losses)

    @property
    def perplexity(self) -> Perplexity:
        return Perplexity(self.losses)

    @property
    def baseline_perplexity(self) -> Perplexity:
        return Perplexity(self.baseline_losses)

    @property
    def log_ratio(self) -> tuple[float, float]:
        """ln(PPL / PPL of the baseline) and its standard error, from the differences token by token."""
        return _mean(self.losses - self.baseline_losses)

    @property
    def difference(self) -> tuple[float, float]:
        """PPL - PPL of the baseline and its standard error, with what both share taken out."""
        own, base = self.perplexity, self.baseline_perplexity
        shared = np.cov(self.losses, self.baseline_losses)[0, 1] / self.tokens * own.value * base.value
        return own.value - base.value, sqrt(max(0.0, own.stderr**2 + base.stderr**2 - 2 * shared))

    @property
    def kl(self) -> tuple[float, float]:
        """The mean KL divergence and its standard error, in nats."""
        return _mean(self.divergence)

    def kl_percentile(self, percent: float) -> float:
        return float(np.percentile(self.divergence, percent))

    @property
    def changed_top(self) -> tuple[float, float]:
        """The share of tokens at which another token is the likeliest, and its standard error."""
        return _mean((self.top != self.baseline_top).astype(np.float64))

    @property
    def probability_change(self) -> np.ndarray:
        """The right token's probability minus the one that the baseline gave it, float64 (tokens,)."""
        return np.exp(-self.losses) - np.exp(-self.baseline_losses)

    @property
    def probability_change_rms(self) -> tuple[float, float]:
        """The root mean square of that change, and its standard error."""
        mean, error = _mean(self.probability_change**2)
        return sqrt(mean), error / (2 * sqrt(mean)) if mean else 0.0

    def summary(self) -> Summary:
        """The figures, without the tokens."""
        own, base, change = self.perplexity, self.baseline_perplexity, self.probability_change
        return Summary(
            self.tokens,
            *(own.value, own.stderr, base.value, base.stderr),
            *self.difference,
            *self.log_ratio,
            *self.kl,
            float(self.divergence.max()),
            {f"{p:g}": self.kl_percentile(p) for p in PERCENTILES},
            *self.changed_top,
            float(change.mean()),
            *self.probability_change_rms,
            {f"{p:g}": float(np.percentile(change, p)) for p in PERCENTILES},
        )


@dataclass(frozen=True)
class Summary:
    """What a comparison says in figures. Divergences in nats; shares and probabilities from 0 to 1."""

    tokens: int
    perplexity: float
    stderr: float
    baseline: float
    baseline_stderr: float
    difference: float
    difference_stderr: float
    log_ratio: float
    log_ratio_stderr: float
    kl: float
    kl_stderr: float
    kl_largest: float
    kl_percentiles: Mapping[str, float]
    changed_top: float
    changed_top_stderr: float
    probability_change: float
    probability_change_rms: float
    probability_change_rms_stderr: float
    probability_change_percentiles: Mapping[str, float]


@dataclass(frozen=True)
class WorstToken:
    """One place of the text where the model moved furthest from its baseline."""

    before: str  # the text that leads up to it
    right: str  # what the text goes on with
    divergence: float
    baseline_probability: float  # of the right token
    probability: float
    baseline_top: str
    top: str


def compare(model: Model, base: Baseline, progress: Callable[[float], None] | None = None) -> Comparison:
    """Let a model predict the text that its baseline has predicted. Both must have one vocabulary."""
    if model.shape.vocabulary != base.model.shape.vocabulary:
        raise CheckpointError("Two models can be compared only where they have the same vocabulary.")

    def against(some: slice, targets: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, ...]:
        return compared(targets, logits, base.predictions(some))

    parts = over_windows(model, base.windows, against, progress)
    return Comparison(base.windows, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def compared(targets: np.ndarray, logits: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, ...]:
    """Token by token, the fields of a Comparison from logits and the baseline's log probabilities, (n, vocabulary)."""
    found, rows = log_probabilities(logits), np.arange(len(targets))
    divergence = np.einsum("ij,ij->i", np.exp(expected), expected - found)
    divergence = np.maximum(divergence, 0)  # as it is but for rounding, which can make -1e-7 of nothing
    losses = (-found[rows, targets], -expected[rows, targets], divergence)
    return *(x.astype(np.float64) for x in losses), found.argmax(axis=1), expected.argmax(axis=1)


def together(comparisons: Sequence[Comparison]) -> Comparison:
    """Comparisons over several texts, in windows of one length, as one."""
    names = ("losses", "baseline_losses", "divergence", "top", "baseline_top")
    columns = (np.concatenate([getattr(c, name) for c in comparisons]) for name in names)
    return Comparison(joined([c.windows for c in comparisons]), *columns)


def worst_tokens(comparison: Comparison, tokenizer: Tokenizer, count: int = 10) -> tuple[WorstToken, ...]:
    """The places of the largest divergence, with the text before them."""
    windows = comparison.windows
    found = []
    for i in np.argsort(-comparison.divergence, kind="stable")[:count].tolist():
        row, place = divmod(i, windows.targets.shape[1])
        at = windows.first + 1 + place
        found.append(
            WorstToken(
                before=tokenizer.decode(windows.tokens[row, max(0, at - BEFORE) : at].tolist()),
                right=tokenizer.decode([int(windows.tokens[row, at])]),
                divergence=float(comparison.divergence[i]),
                baseline_probability=exp(-comparison.baseline_losses[i]),
                probability=exp(-comparison.losses[i]),
                baseline_top=tokenizer.decode([int(comparison.baseline_top[i])]),
                top=tokenizer.decode([int(comparison.top[i])]),
            )
        )
    return tuple(found)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(values.mean()), sqrt(float(values.var()) / max(1, len(values) - 1))
