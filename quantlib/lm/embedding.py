"""Embeddings of sentences, and what quantization changes of them.

An embedding is the direction of one vector for a text: the mean of its tokens' vectors, the first one's, or the last
one's. Two models agree where the directions do, and where each text has the same neighbours in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from quantlib.architectures import by_name
from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.encoder_loading import load_encoder
from quantlib.lm.model import load
from quantlib.lm.texts import ASSETS, read_text
from quantlib.lm.threads import single_threaded_blas
from quantlib.lm.tokenizer import Tokenizer

POOLINGS = ("mean", "cls", "last")
SENTENCES = ASSETS / "evaluation" / "sentences.txt"
MOST = 4096  # sentences that are compared at once, each with all others


class Hidden(Protocol):
    """What gives a vector for each token."""

    def hidden(self, tokens: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Embedder:
    """A model and how its tokens' vectors become one."""

    model: Hidden
    pooling: str

    def __call__(self, texts: Sequence[Sequence[int]], progress: Callable[[float], None] | None = None) -> np.ndarray:
        """Vectors of length 1 of texts that are given as tokens: float32 (texts, width). progress: told the share."""
        rows = []
        with single_threaded_blas():  # sentences are short: its threads would wait for one another
            for done, tokens in enumerate(texts, 1):
                rows.append(pooled(self.model.hidden(np.asarray(tokens)), self.pooling))
                if progress is not None:
                    progress(done / len(texts))
        found = np.stack(rows)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def pooled(hidden: np.ndarray, pooling: str) -> np.ndarray:
    """One vector of those of the tokens: (n, width) -> (width,)."""
    match pooling:
        case "mean":
            return hidden.mean(axis=0)
        case "cls":
            return hidden[0]
        case "last":
            return hidden[-1]
    raise CheckpointError(f"A pooling is {', '.join(POOLINGS)}, not {pooling[:40]!r}.")


def is_encoder(checkpoint: Checkpoint) -> bool:
    """Whether a model makes vectors of texts and nothing else; False also for what has no architecture here."""
    try:
        known = by_name(gguf_view(checkpoint).architecture)
    except CheckpointError:
        return False
    return known is not None and known.encodes is not None


def load_embedder(checkpoint: Checkpoint, pooling: str | None = None) -> Embedder:
    """A model that makes embeddings: an encoder, or a language model, of which the last token's vector is taken.

    pooling: "mean", "cls" or "last"; by default what the model says, and "mean" or "last" where it says nothing.
    Raises CheckpointError for a model that does not run.
    """
    view = gguf_view(checkpoint)
    encodes = is_encoder(checkpoint)
    stated = view.value(f"{view.architecture}.pooling_type")
    says = POOLINGS[stated - 1] if isinstance(stated, int) and 1 <= stated <= len(POOLINGS) else None
    model: Hidden = load_encoder(checkpoint) if encodes else load(checkpoint)
    return Embedder(model, pooling or says or ("mean" if encodes else "last"))


def tokens_of(checkpoint: Checkpoint, sentences: Sequence[str]) -> list[list[int]]:
    """The tokens of sentences, with what the model puts around each. Raises CheckpointError without a tokenizer."""
    view, tokenizer = gguf_view(checkpoint), Tokenizer.of(checkpoint)

    def number(key: str) -> list[int]:
        value = view.value(f"tokenizer.ggml.{key}")
        return [value] if isinstance(value, int) else []

    if is_encoder(checkpoint):
        first, last = number("cls_token_id") or number("bos_token_id"), number("seperator_token_id")
        last = last or number("eos_token_id")
        plain = Tokenizer(tokenizer.runner, None, tokenizer.eos)
        return [[*first, *plain.encode(text), *last] for text in sentences]
    ends = number("eos_token_id") if view.value("tokenizer.ggml.add_eos_token") is True else []
    return [[*tokenizer.encode(text), *ends] for text in sentences]


def read_sentences(path: str | Path = SENTENCES) -> list[str]:
    """The lines of a text, empty ones left out. Raises CheckpointError where there are fewer than 3 or too many."""
    return sentences_in(read_text(Path(path)), str(path))


def sentences_in(text: str, source: str) -> list[str]:
    """The lines of a text, as `read_sentences` has them. source: what messages call it."""
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if not 3 <= len(found) <= MOST:
        raise CheckpointError(f"{source} has {len(found):,} sentences (lines); 3 to {MOST:,} can be compared.")
    return found


@dataclass(frozen=True)
class Agreement:
    """How well the embeddings of one model agree with another's on the same texts.

    cosine: of each text's two vectors, float64 (texts,). nearest: the share of texts whose nearest neighbour is the
    same. ranks: for each text, by how many places its neighbours moved on average, float64 (texts,).
    """

    cosine: np.ndarray
    nearest: float
    ranks: np.ndarray

    def furthest(self, count: int) -> list[int]:
        """The texts whose vectors turned furthest, the worst first."""
        return [int(i) for i in self.cosine.argsort()[:count]]

    def figures(self) -> dict[str, float]:
        """The numbers that sum it up, by name."""
        return {
            "sentences": len(self.cosine),
            "cosine": float(self.cosine.mean()),
            "cosine_lowest": float(self.cosine.min()),
            "same_nearest": self.nearest,
            "rank_change": float(self.ranks.mean()),
        }


def agreement(original: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare vectors of length 1 of the same texts: both (texts, width), of at least 3 texts."""
    if original.shape != other.shape or len(original) < 3:
        raise CheckpointError(f"Embeddings of {original.shape} and {other.shape} cannot be compared.")
    before, after = _orders(original), _orders(other)
    moved = np.abs(np.argsort(before, axis=1) - np.argsort(after, axis=1))
    own = np.arange(len(original))
    moved[own, own] = 0
    cosine = np.einsum("ij,ij->i", original.astype(np.float64), other.astype(np.float64))
    return Agreement(cosine, float((before[:, 0] == after[:, 0]).mean()), moved.sum(axis=1) / (len(original) - 1))


def _orders(vectors: np.ndarray) -> np.ndarray:
    """For each text all texts from the most similar on, itself at the end: int (texts, texts)."""
    similar = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")


def compare_embeddings(
    original: Checkpoint,
    other: Checkpoint,
    sentences: Sequence[str],
    pooling: str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Agreement:
    """How well another model's embeddings of sentences agree with the original's, which cuts them into tokens."""
    tokens = tokens_of(original, sentences)

    def half(start: float) -> Callable[[float], None] | None:
        return None if progress is None else lambda share: progress(start + share / 2)

    mine = load_embedder(original, pooling)
    before = mine(tokens, half(0.0))
    return agreement(before, load_embedder(other, mine.pooling)(tokens, half(0.5)))
