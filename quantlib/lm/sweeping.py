"""Many recipes of one model, each measured against the model as it is: what a bit costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from time import monotonic

from quantlib.checkpoints import Checkpoint, ImportanceMatrix
from quantlib.errors import CheckpointError
from quantlib.jobs import Plan, plan
from quantlib.lm.applied import applied
from quantlib.lm.comparison import Baseline, Comparison, Summary, baseline, compare, together
from quantlib.lm.keeping import digest_of, digest_of_matrix, digest_of_model, kept
from quantlib.lm.model import Model, load
from quantlib.lm.texts import cut_texts, digest_of_texts
from quantlib.lm.tokenizer import Tokenizer
from quantlib.recipes import RECIPES, Recipe

CONTEXT = 512


@dataclass(frozen=True)
class Measured:
    """One recipe of a model, measured. weighted: whether an importance matrix helped to choose the codes.

    nbytes: of the file; bpw: of its tensors. total: over all texts; texts: over each.
    """

    recipe: str
    weighted: bool
    nbytes: int
    bpw: float
    seconds: float
    total: Summary
    texts: Mapping[str, Summary]

    @property
    def name(self) -> str:
        return f"{self.recipe} + imatrix" if self.weighted else self.recipe

    @classmethod
    def of(cls, document: Mapping) -> Measured:
        """From its plain values. Raises CheckpointError where they are not of that form."""
        try:
            texts = {name: Summary(**values) for name, values in document["texts"].items()}
            return cls(**{**document, "total": Summary(**document["total"]), "texts": texts})
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"The stored measurement cannot be read: {error}.") from None


@dataclass(frozen=True)
class Sweep:
    """Recipes of one model, measured on the same texts.

    model, text: hashes of the weights and of the texts that it was made of. measured: in the order of measuring.
    calibration: what the importance matrix was collected on, empty where none was used.
    """

    source: str
    model: str
    text: str
    texts: tuple[str, ...]
    context: int
    calibration: str
    measured: tuple[Measured, ...] = field(repr=False)

    def frontier(self) -> tuple[Measured, ...]:
        """Those that no other beats in both bits per weight and KL divergence, the largest first."""
        best: list[Measured] = []
        for m in sorted(self.measured, key=lambda m: (m.bpw, m.total.kl)):
            if not best or m.total.kl < best[-1].total.kl:
                best.append(m)
        return tuple(reversed(best))

    def of(self, recipe: str, weighted: bool = False) -> Measured | None:
        """A recipe's measurement, None where it was not measured."""
        return next((m for m in self.measured if (m.recipe, m.weighted) == (recipe, weighted)), None)

    def document(self) -> dict:
        """All of it as plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping) -> Sweep:
        """Back from its plain values. Raises CheckpointError where they are not of that form."""
        try:
            values = {**document, "texts": tuple(document["texts"])}
            return cls(**{**values, "measured": tuple(Measured.of(m) for m in document["measured"])})
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"The stored sweep cannot be read: {error}.") from None


def sweep(
    checkpoint: Checkpoint,
    texts: Mapping[str, str],
    recipes: Iterable[str | Recipe] = tuple(RECIPES),
    context: int = CONTEXT,
    imatrix: ImportanceMatrix | None = None,
    both: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Sweep:
    """Measure what each of these recipes would make of a model, without writing files.

    texts: by name. imatrix: used where a recipe needs one, and with `both` for a second measurement of every other
    recipe; recipes that need one are left out where there is none. progress(fraction, name) is called before each.
    What has been measured before, on this machine and of the same weights, texts and recipe, is not measured again.
    Raises CheckpointError where the model cannot be run or a text is too short.
    """
    model, text = digest_of_model(checkpoint), digest_of_texts(texts)
    matrix = digest_of_matrix(imatrix) if imatrix else None
    made: list[Bench] = []  # the model is loaded when something must be measured

    def measure(plan: Plan) -> dict:
        if not made:
            made.append(bench(checkpoint, texts, context))
        started = monotonic()
        found = made[0].against(applied(made[0].model, plan))
        total = together(list(found.values())).summary()
        return {
            "seconds": round(monotonic() - started, 3),
            "total": asdict(total),
            "texts": {name: asdict(comparison.summary()) for name, comparison in found.items()},
        }

    plans = list(_plans(checkpoint, recipes, imatrix, both))
    measured = []
    for i, (one, weighted) in enumerate(plans):
        if progress:
            progress(i / len(plans), one.recipe.name + " + imatrix" * weighted)
        formats = [(t.name, t.target) for t in one.tensors]
        key = digest_of("recipe", model, text, context, formats, matrix if weighted else None)
        facts = {"recipe": one.recipe.name, "weighted": weighted, "nbytes": one.nbytes, "bpw": round(one.bpw, 4)}
        measured.append(Measured.of(facts | kept(key, partial(measure, one))))
    if progress:
        progress(1.0, "")
    name = checkpoint.source.name or str(checkpoint.source)
    calibration = imatrix.source if imatrix and any(m.weighted for m in measured) else ""
    return Sweep(name, model, text, tuple(texts), context, calibration, tuple(measured))


def _plans(checkpoint, recipes, imatrix, both: bool) -> Iterator[tuple[Plan, bool]]:
    """The plans to measure, and whether each is weighted."""
    for recipe in recipes:
        plain = plan(checkpoint, recipe)
        if not plain.lacking:
            yield plain, False
        blocks = any(t.target not in ("FP32", "FP16", "BF16") for t in plain.tensors)
        if imatrix is not None and (plain.lacking or both) and blocks:
            yield plan(checkpoint, recipe, imatrix), True


@dataclass(frozen=True, eq=False)
class Bench:
    """A model with its texts and what it predicts of them: what its variants are measured on."""

    model: Model
    baselines: Mapping[str, Baseline]

    def against(self, model: Model, progress: Callable[[float], None] | None = None) -> dict[str, Comparison]:
        """A variant's comparison on each text."""
        found, count = {}, len(self.baselines)
        for i, (name, base) in enumerate(self.baselines.items()):
            inner = (lambda f, i=i: progress((i + f) / count)) if progress else None
            found[name] = compare(model, base, inner)
        return found


def bench(
    checkpoint: Checkpoint, texts: Mapping[str, str], context: int = CONTEXT, unscored: int | None = None
) -> Bench:
    """Load a model and let it predict the texts, windows of which are scored as `Windows` has it.

    Raises CheckpointError where it cannot be run or a text is short.
    """
    model = load(checkpoint)
    windows = cut_texts(model, Tokenizer.of(checkpoint), texts, context, unscored)
    return Bench(model, {name: baseline(model, w) for name, w in windows.items()})
