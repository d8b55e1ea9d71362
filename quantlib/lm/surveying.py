"""A real model from fewer and fewer bits: what it answers to plain questions, and how far it moves in each register.

Every format that can use an importance matrix has the same one. Two ladders. Recipes, as files hold them; where rows do
not divide into a format's blocks, another format stands in, so a file of a narrow model has far more bits than its name
says. And formats alone, in all matrices inside the layers, with blocks that run on over the ends of rows, which no file
may hold: what the bits themselves do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import lcm
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.checkpoints import Checkpoint, ImportanceMatrix
from quantlib.errors import CheckpointError
from quantlib.formats import BlockFormat
from quantlib.jobs import plan
from quantlib.jobs.pool import shared_pool
from quantlib.lm.applied import applied
from quantlib.lm.asking import asked
from quantlib.lm.calibration import imatrix
from quantlib.lm.comparison import Comparison
from quantlib.lm.keeping import digest_of_model
from quantlib.lm.model import Model
from quantlib.lm.sums import GRADES, listed
from quantlib.lm.sweeping import bench
from quantlib.lm.texts import ASSETS, CALIBRATION, read_texts
from quantlib.lm.tokenizer import Tokenizer

ORIGINAL = "original"
RECIPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_M")
FORMATS = ("Q4_K", "Q3_K", "Q2_K", "IQ2_XXS", "IQ1_M")  # the original is at 4 bits: more gain nothing
WANTED = ((ORIGINAL, False), *((name, True) for name in FORMATS), *((name, False) for name in RECIPES))
STORED = ASSETS / "measurements" / "survey.json"  # assets/measurements/make.py writes it
CONTEXT, UNSCORED, SUMS = 256, 32, 60  # tokens of a window and those only read; sums of a grade
LETTERS = {"prose": 2600, "code": 2400, "arithmetic": 680}  # of each register: two windows and a little
TEXTS = {"prose": ASSETS / "evaluation" / "story.txt", "code": ASSETS / "evaluation" / "code.txt"}


@dataclass(frozen=True)
class Moved:
    """How far a register's predictions moved from the original's: KL in nats with its standard error, the share of
    places whose likeliest token changed, and both perplexities, over so many tokens.
    """

    tokens: int
    kl: float
    kl_stderr: float
    changed: float
    perplexity: float
    baseline: float

    @classmethod
    def of(cls, comparison: Comparison) -> Moved:
        found = comparison.summary()
        return cls(found.tokens, found.kl, found.kl_stderr, found.changed_top, found.perplexity, found.baseline)


@dataclass(frozen=True)
class Variant:
    """The model from one recipe, or with one format alone. bpw: of the matrices inside the layers, or of all tensors
    of a recipe's file. weighted: whether an importance matrix helped. answers and registers: what was measured.
    """

    name: str
    alone: bool
    bpw: float
    weighted: bool
    answers: tuple[str, ...]
    registers: Mapping[str, Moved]

    @property
    def label(self) -> str:
        return f"{self.name} alone" if self.alone else self.name


@dataclass(frozen=True)
class Survey:
    """All variants of one model, the original first. source: its file; model: the hash of its weights."""

    source: str
    model: str
    found: tuple[Variant, ...]

    def of(self, name: str, alone: bool = False) -> Variant | None:
        return next((v for v in self.found if (v.name, v.alone) == (name, alone)), None)

    def ladder(self, alone: bool) -> tuple[Variant, ...]:
        """The original, and one ladder below it."""
        return self.found[:1] + tuple(v for v in self.found[1:] if v.alone == alone)

    def write(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Survey:
        """Back from its file. Raises CheckpointError where it cannot be read."""
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(document["source"], document["model"], tuple(_variant(values) for values in document["found"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"The stored measurement {path} cannot be read: {error}.") from None


def _variant(values: Mapping) -> Variant:
    registers = {name: Moved(**one) for name, one in values["registers"].items()}
    return Variant(**{**values, "answers": tuple(values["answers"]), "registers": registers})


def survey(
    checkpoint: Checkpoint,
    wanted: Iterable[tuple[str, bool]] = WANTED,
    path: Path = STORED,
    progress: Callable[[str], None] = print,
) -> Survey:
    """Ask every variant the twenty questions, and let it read the registers. wanted: names, and whether alone.

    The file at `path` grows by one variant at a time, and what it has of this model already stays as it is.
    Raises CheckpointError where the model cannot be run.
    """
    digest = digest_of_model(checkpoint)
    kept = Survey.read(path) if path.exists() else None
    done = list(kept.found) if kept and kept.model == digest else []
    judge, tokenizer = bench(checkpoint, read_registers(), CONTEXT, UNSCORED), Tokenizer.of(checkpoint)
    matrix = _importance(judge.model, tokenizer)
    for name, alone in wanted:
        if any((v.name, v.alone) == (name, alone) for v in done):
            continue
        progress(f"{name}{' alone' * alone}")
        model, facts = _changed(checkpoint, judge.model, name, alone, matrix)
        moved = {register: Moved.of(found) for register, found in judge.against(model).items()}
        done.append(Variant(name, alone, **facts, answers=asked(model, tokenizer), registers=moved))
        done.sort(key=lambda v: WANTED.index((v.name, v.alone)))
        Survey(checkpoint.source.name, digest, tuple(done)).write(path)
    return Survey(checkpoint.source.name, digest, tuple(done))


def _importance(model: Model, tokenizer: Tokenizer) -> ImportanceMatrix:
    text = read_texts([CALIBRATION])[CALIBRATION.stem]
    sums = imatrix(model, tokenizer.encode(text)[: 4 * CONTEXT], CONTEXT, tokenizer.bos)
    entries = {name: total[None] / sums.counts[name].max() for name, total in sums.sums.items()}
    return ImportanceMatrix(CALIBRATION.stem, entries)


def read_registers() -> dict[str, str]:
    """Prose, code and arithmetic: a story, a file of this project, and sums with their answers, a line each.

    Of each its beginning.
    """
    texts = {name: read_texts([path])[path.stem] for name, path in TEXTS.items()}
    sums = [one for grade in (*GRADES[:3], GRADES[5]) for one in listed(grade, SUMS)]
    shuffled = np.random.default_rng(7).permutation(len(sums)).tolist()
    lines = (f"{sums[i].left} {sums[i].sign} {sums[i].right} = {sums[i].result}" for i in shuffled)
    texts["arithmetic"] = "\n".join(lines) + "\n"
    return {name: text[: LETTERS[name]] for name, text in texts.items()}


def _changed(checkpoint, model: Model, name: str, alone: bool, matrix: ImportanceMatrix) -> tuple[Model, dict]:
    """The variant's model, and its bits."""
    if name == ORIGINAL:
        stored = sum(t.nbytes for t in checkpoint)
        return model, {"bpw": round(8 * stored / sum(t.size for t in checkpoint), 3), "weighted": False}
    if alone:
        form = formats.get(name)
        weighted = form.uses_importance
        return running_on(model, form, matrix if weighted else None), {"bpw": form.bpw, "weighted": weighted}
    made = plan(checkpoint, name, matrix)
    weighted = any(formats.get(t.target).uses_importance for t in made.tensors if t.importance is not None)
    return applied(model, made), {"bpw": round(made.bpw, 3), "weighted": weighted}


def running_on(model: Model, form: BlockFormat, matrix: ImportanceMatrix | None = None) -> Model:
    """The model with every matrix inside its layers in one format, whose blocks run on over the ends of rows.

    Raises CheckpointError where a whole matrix does not divide into blocks.
    """
    names = [n for n, w in model.weights.items() if n.startswith("blk.") and len(w.shape) == 2]
    if odd := [n for n in names if np.prod(model.weights[n].shape) % form.values]:
        raise CheckpointError(f"{odd[0]} does not divide into blocks of {form.values} {form.name} weights.")
    importance = {n: matrix.of(n, model.weights[n].shape) if matrix else None for n in names}
    tasks = {n: shared_pool().submit(_read_back, model.weight(n), form, importance[n]) for n in names}
    return model.replaced({name: task.result() for name, task in tasks.items()})


def _read_back(weight: np.ndarray, form: BlockFormat, importance: np.ndarray | None) -> np.ndarray:
    """One matrix (rows, n) stored as (blocks, values) and decoded. importance: (1, n), or None.

    Blocks begin at few different columns, and those that begin at the same one share their part of the importance.
    """
    blocks = np.ascontiguousarray(weight, np.float32).reshape(-1, form.values)
    if importance is None:
        return form.dequantize(form.quantize(blocks)).reshape(weight.shape)
    phases = lcm(weight.shape[1], form.values) // form.values
    parts = np.tile(importance.ravel(), phases * form.values // weight.shape[1]).reshape(phases, form.values)
    out = np.empty_like(blocks)
    for phase, part in enumerate(parts):
        out[phase::phases] = form.dequantize(form.quantize(blocks[phase::phases], part))
    return out.reshape(weight.shape)
