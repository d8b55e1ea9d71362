"""The calculator from fewer and fewer bits: how many sums of each grade it still solves, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.errors import CheckpointError
from quantlib.jobs import plan
from quantlib.lm.applied import applied
from quantlib.lm.keeping import digest_of_model
from quantlib.lm.model import Model, load
from quantlib.lm.sums import GRADES, Score, Sum, answers, importance, listed, score
from quantlib.lm.texts import ASSETS
from quantlib.lm.tokenizer import Tokenizer

CALCULATOR = ASSETS / "calculator"
STORED = ASSETS / "measurements" / "sums.json"  # of the calculator; assets/measurements/make.py writes it
# From 32 bits down, one for each step that people are offered.
RECIPES = ("F32", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_M", "TQ1_0")
TENSOR, ROW, SHOWN = "blk.1.ffn_up.weight", 3, 32  # weights to look at: one block of the formats that have the largest
WALL_ROWS = (1, 1, 1, 1, 2, 1, 1, 2)  # rows of ten sums for each grade


@dataclass(frozen=True)
class Answered:
    """The model from one recipe. weighted: whether an importance matrix helped to choose the codes.

    bpw: of its tensors. scores: of each grade's list. answers: to the sums of the wall, the ones first. weights: FP32
    bit patterns of what is stored for the SHOWN weights.
    """

    recipe: str
    weighted: bool
    bpw: float
    scores: tuple[Score, ...]
    answers: tuple[str, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True)
class Answers:
    """All recipes of one model, the largest first. model: the hash of its weights."""

    model: str
    found: tuple[Answered, ...]

    def of(self, recipe: str) -> Answered:
        return next(a for a in self.found if a.recipe == recipe)

    def write(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Answers:
        """Back from its file. Raises CheckpointError where it cannot be read."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(document["model"], tuple(_answered(values) for values in document["found"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"The stored measurement {path} cannot be read: {error}.") from None


def _answered(values: Mapping) -> Answered:
    scores = tuple(Score(**score) for score in values["scores"])
    return Answered(**{**values, "scores": scores, **{name: tuple(values[name]) for name in ("answers", "weights")}})


def wall() -> list[Sum]:
    """A hundred sums, ten a row, from easy to hard."""
    return [one for grade, rows in zip(GRADES, WALL_ROWS, strict=True) for one in listed(grade)[: 10 * rows]]


def variant(checkpoint: Checkpoint, recipe: str) -> tuple[Model, Tokenizer]:
    """The model as one recipe leaves it, with an importance matrix of sums where the recipe needs one."""
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    made = plan(checkpoint, recipe)
    if made.lacking:
        made = plan(checkpoint, recipe, importance(model, tokenizer))
    return applied(model, made), tokenizer


def answering(
    checkpoint: Checkpoint,
    recipes: Sequence[str] = RECIPES,
    count: int = 2000,
    progress: Callable[[str], None] = lambda recipe: None,
) -> Answers:
    """Let the model answer the lists and the wall from every recipe; those that need an importance matrix get one.

    count: sums of each grade. Raises CheckpointError where the model cannot be run.
    """
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    matrix, found = importance(model, tokenizer), []
    for recipe in recipes:
        progress(recipe)
        plain = plan(checkpoint, recipe)
        weighted = bool(plain.lacking)
        made = plan(checkpoint, recipe, matrix) if weighted else plain
        variant = applied(model, made)
        scores = tuple(score(variant, tokenizer, count=count))
        said = tuple(answers(variant, tokenizer, wall()))
        stored = variant.weight(TENSOR)[ROW, :SHOWN].view(np.uint32)
        found.append(Answered(recipe, weighted, round(made.bpw, 4), scores, said, tuple(stored.tolist())))
    return Answers(digest_of_model(checkpoint), tuple(found))
