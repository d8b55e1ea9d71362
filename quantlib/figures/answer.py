"""A small model at work on one sum: the inputs of one of its matrices, what GPTQ makes of a row, and the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError
from quantlib.figures.few_bits import read, written
from quantlib.figures.inputs import gguf_of
from quantlib.formats.integers import IntegerFormat
from quantlib.lm import Model, Tokenizer, digest_of_model, load
from quantlib.lm.answering import RECIPES, STORED, Answers, variant, wall
from quantlib.lm.sums import Sum, answers
from quantlib.methods.gptq import Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram

SUM, RECIPE = Sum(47, "x", 53), "Q2_K"  # of the wall, so that what the calculator answers is stored


@dataclass(frozen=True, eq=False)
class Working:
    """inputs: of the matrix, at the last character of the question, float32 (n,). hessian: over the sums of the wall.

    answer: to the question, by the model as `recipe` leaves it.
    """

    inputs: np.ndarray
    hessian: np.ndarray
    question: Sum
    recipe: str
    answer: str

    @property
    def written(self) -> str:
        return written(self.question)

    @property
    def result(self) -> str:
        return f"{self.question.result:,}"

    @property
    def right(self) -> bool:
        return self.answer == self.result

    def gptq(self, row: np.ndarray, column: int, form: IntegerFormat, group: int) -> tuple[int, float]:
        """The code that GPTQ gives a weight of a row (n,), and what it reads back as; other rows do not matter."""
        grids, settings = IntegerGrids(form, group), Settings(static_groups=True)
        found = gptq(row[None], self.hessian, grids, settings, reference=True)
        return int(found.codes[0, column]), float(found.dequantized()[0, column])


def at_work(checkpoint: Checkpoint, matrix: str, question: Sum = SUM, recipe: str = RECIPE) -> Working:
    """Let the model read the sums of the wall, and answer one. matrix: its name in the checkpoint or in a GGUF file.

    Raises CheckpointError where the model cannot be run, or has no such matrix inside its layers.
    """
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    name = gguf_of(checkpoint, matrix) or matrix
    gram: list[Gram] = []
    _read(model, tokenizer, wall(), name, lambda x: gram.append(Gram.of(x)))
    last: list[np.ndarray] = []
    _read(
        model, tokenizer, [question], name, lambda x: last.append(x.reshape(-1, x.shape[-1])[-len(question.answer) - 1])
    )
    if not gram:
        raise CheckpointError(f"{matrix} multiplies no inputs that the model's layers compute.")
    total = Gram(gram[0].products.shape[0])
    for part in gram:
        total.products += part.products
        total.tokens += part.tokens
    return Working(last[0], total.hessian, question, recipe, read(_answer(checkpoint, question, recipe)))


def _answer(checkpoint: Checkpoint, question: Sum, recipe: str) -> str:
    """What was measured and stored where it was of this model and sum, else what the model says now."""
    stored = Answers.read(STORED)
    if question in wall() and recipe in RECIPES and stored.model == digest_of_model(checkpoint):
        return stored.of(recipe).answers[wall().index(question)]
    return answers(*variant(checkpoint, recipe), [question])[0]


def _read(model: Model, tokenizer: Tokenizer, sums: Sequence[Sum], name: str, take) -> None:
    rows = sorted((tokenizer.encode(one.question + one.answer) for one in sums), key=len)
    for _, group in groupby(rows, key=len):
        model.hidden(np.array(list(group)), observe=lambda seen, x: take(x) if seen == name else None)
