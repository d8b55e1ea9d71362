"""Sums whose answers are right or wrong: grades of difficulty, and how many of each a model solves.

A sum is written `12+34=`, its answer from the ones up, `64`, as on paper: each digit then follows from those before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt

import numpy as np

from quantlib.checkpoints import ImportanceMatrix
from quantlib.lm.model import Model
from quantlib.lm.tokenizer import Tokenizer

ALPHABET = "0123456789+-x="
BATCH = 128  # sums that run through the model together
LONGEST = 14  # tokens of an answer; the longest right one has seven digits and its end


@dataclass(frozen=True)
class Grade:
    """Sums of one difficulty: two numbers of so many digits each, joined by `sign`."""

    name: str
    digits: tuple[int, int]
    sign: str

    def draw(self, rng: np.random.Generator, count: int) -> list[Sum]:
        """So many sums of this grade, each number equally likely among those with its count of digits."""
        left, right = (rng.integers(10 ** (d - 1) if d > 1 else 0, 10**d, count) for d in self.digits)
        if self.sign == "-":  # no answer is negative
            left, right = np.maximum(left, right), np.minimum(left, right)
        return [Sum(int(a), self.sign, int(b)) for a, b in zip(left, right, strict=True)]


@dataclass(frozen=True)
class Sum:
    """left sign right, with whole numbers from 0 up."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        return {"+": self.left + self.right, "-": self.left - self.right, "x": self.left * self.right}[self.sign]

    @property
    def question(self) -> str:
        return f"{self.left}{self.sign}{self.right}="

    @property
    def answer(self) -> str:
        """The result's digits, the ones first."""
        return str(self.result)[::-1]


SIGNS = {"+": "+", "-": "-", "−": "-", "x": "x", "×": "x", "*": "x", "·": "x"}
WRITTEN = re.compile(rf"\s*([0-9]{{1,6}})\s*([{re.escape(''.join(SIGNS))}])\s*([0-9]{{1,6}})\s*=?\s*")


def parse(text: str) -> Sum | None:
    """The sum that somebody typed: two whole numbers of at most six digits joined by +, − or ×; None for another text.

    A difference that would be negative is None too: the model has never seen one.
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        return None
    one = Sum(int(found[1]), SIGNS[found[2]], int(found[3]))
    return one if one.result >= 0 else None


# From easy to hard for a model that has to work them out in its head.
GRADES = (
    Grade("1 + 1 digits", (1, 1), "+"),
    Grade("2 + 2 digits", (2, 2), "+"),
    Grade("3 − 3 digits", (3, 3), "-"),
    Grade("4 + 4 digits", (4, 4), "+"),
    Grade("6 + 6 digits", (6, 6), "+"),
    Grade("2 × 1 digits", (2, 1), "x"),
    Grade("3 × 1 digits", (3, 1), "x"),
    Grade("2 × 2 digits", (2, 2), "x"),
)


@dataclass(frozen=True)
class Score:
    """Right answers of a grade's sums."""

    grade: str
    right: int
    count: int

    @property
    def share(self) -> float:
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the share, at 95 %: (p + z²/2n ± z sqrt(p(1 − p)/n + z²/4n²)) / (1 + z²/n)."""
        p, n, z = self.share, self.count, 1.96
        middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def answers(model: Model, tokenizer: Tokenizer, sums: Sequence[Sum]) -> list[str]:
    """What the model answers to each sum, as it writes it: token by token, the likeliest each time, up to the end."""
    questions = [tokenizer.encode(s.question) for s in sums]
    order = sorted(range(len(sums)), key=lambda i: len(questions[i]))
    found = [""] * len(sums)
    for _, group in groupby(order, key=lambda i: len(questions[i])):
        for some in _batches(group, BATCH):
            tokens = np.array([questions[i] for i in some])  # (sums, question)
            written = _written(model, tokens, tokenizer.eos)
            for i, row in zip(some, written.tolist(), strict=True):
                found[i] = tokenizer.decode(row[: row.index(tokenizer.eos)] if tokenizer.eos in row else row)
    return found


def _written(model: Model, tokens: np.ndarray, end: int) -> np.ndarray:
    """The likeliest tokens after each row: int (sums, question) -> (sums, written)."""
    length = tokens.shape[1]
    for _ in range(min(LONGEST, model.shape.context - length)):
        nearest = model.logits(model.hidden(tokens)[:, -1]).argmax(axis=-1)  # (sums,)
        tokens = np.concatenate([tokens, nearest[:, None]], axis=1)
        if (tokens[:, length:] == end).any(axis=1).all():
            break
    return tokens[:, length:]


def solved(model: Model, tokenizer: Tokenizer, sums: Sequence[Sum]) -> list[bool]:
    """Whether what `answers` gives is right, to the last digit and the end.

    It is right exactly if the likeliest token after each beginning of the right answer is its next one: one run over
    question and answer together decides it.
    """
    rows = [(tokenizer.encode(s.question), [*tokenizer.encode(s.question + s.answer), tokenizer.eos]) for s in sums]
    sizes = [(len(question), len(whole)) for question, whole in rows]
    right = [False] * len(sums)
    for (start, _), group in groupby(sorted(range(len(sums)), key=sizes.__getitem__), key=sizes.__getitem__):
        for some in _batches(group, BATCH):
            tokens = np.array([rows[i][1] for i in some])  # (sums, whole)
            hidden = model.hidden(tokens[:, :-1])[:, start - 1 :]  # (sums, answer, hidden)
            same = (model.logits(hidden).argmax(axis=-1) == tokens[:, start:]).all(axis=1)
            for i, yes in zip(some, same.tolist(), strict=True):
                right[i] = yes
    return right


def score(model: Model, tokenizer: Tokenizer, grades: Iterable[Grade] = GRADES, count: int = 2000) -> list[Score]:
    """How many sums of each grade's list a model solves, to the last digit."""
    return [Score(g.name, sum(solved(model, tokenizer, listed(g, count))), count) for g in grades]


def listed(grade: Grade, count: int = 2000) -> list[Sum]:
    """The grade's list of sums: the same at each call."""
    return grade.draw(np.random.default_rng([2026, *grade.digits, ord(grade.sign)]), count)


def importance(
    model: Model, tokenizer: Tokenizer, grades: Iterable[Grade] = GRADES, count: int = 500
) -> ImportanceMatrix:
    """The importance matrix of sums that no list holds, each with its answer."""
    totals: dict[str, np.ndarray] = {}
    seen = 0

    def observe(name: str, x: np.ndarray) -> None:
        totals[name] = totals.get(name, 0) + np.einsum("ti,ti->i", x, x, dtype=np.float64)

    for grade in grades:
        drawn = grade.draw(np.random.default_rng([2027, *grade.digits, ord(grade.sign)]), count)
        rows = sorted((tokenizer.encode(one.question + one.answer) for one in drawn), key=len)
        for _, group in groupby(rows, key=len):
            for some in _batches(group, BATCH):
                model.hidden(np.array(some), observe=observe)
                seen += sum(map(len, some))
    means = {name: (total / seen).astype(np.float32)[None] for name, total in sorted(totals.items())}
    return ImportanceMatrix("sums", means, ("sums",), count * len(tuple(grades)))


def _batches(items: Iterable, size: int) -> Iterator[list]:
    items = list(items)
    return (items[i : i + size] for i in range(0, len(items), size))
