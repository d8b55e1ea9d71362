"""One question, one answer: the page, its Python and the command all call `ask` and print `Answer.text`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from quantlib.checkpoints import Checkpoint
from quantlib.errors import RecipeError
from quantlib.fit.advice import Choice, Option, choose
from quantlib.fit.cache import CACHE_FORMATS, CacheLayer, cache_of
from quantlib.fit.described import original_of
from quantlib.fit.machines import MACHINES, Machine
from quantlib.fit.placing import place
from quantlib.fit.quality import Kin, cost_of, kin_of
from quantlib.fit.sources import Subject, subject
from quantlib.fit.speed import speed_of
from quantlib.fit.weighing import Weighed, routing_of, weigh, weighed_tensors
from quantlib.fit.work import work_bytes
from quantlib.recipes import RECIPES, quantizable

CONTEXT = 8192
LOSSLESS = ("FP32", "FP16", "BF16")


@dataclass(frozen=True)
class Answer:
    """What to run, and everything that it was chosen from.

    subject, machine, context, cache_format: the question. layers: what each keeps. options: every recipe, the most
    precise first; of a file that is quantized already, those of its original. choice: the advice. quantized, file: the
    format of most of its weights, and the file as it is.
    """

    subject: Subject
    machine: Machine
    context: int
    cache_format: str
    layers: tuple[CacheLayer, ...]
    options: tuple[Option, ...]
    choice: Choice
    quantized: str = ""
    file: Option | None = None

    @property
    def option(self) -> Option | None:
        """The option that is advised; None where nothing runs."""
        return self.choice.option

    @property
    def shown(self) -> Option:
        """The option to draw: the one that is advised, or the smallest."""
        return self.option or min(self.options, key=lambda o: o.placed.over)

    @property
    def headline(self) -> str:
        """The answer in one line."""
        from quantlib.fit.words import headline

        return headline(self)

    @property
    def text(self) -> str:
        """The answer as text, line by line."""
        from quantlib.fit.words import text

        return text(self)

    def __str__(self) -> str:
        return self.text


def ask(model: str | Subject, machine: str | Machine, context: int = CONTEXT, cache_format: str = "FP16") -> Answer:
    """Which recipe of a model to run on a machine with so many tokens of context.

    model: as of `subject`. machine: a name of MACHINES or a value of `machines`. Raises CheckpointError for a model
    that cannot be found, RecipeError for a machine or a format that is not known.
    """
    found = subject(model) if isinstance(model, str) else model
    machine = machine_named(machine) if isinstance(machine, str) else machine
    if cache_format not in CACHE_FORMATS:
        raise RecipeError(f"A cache is kept in {', '.join(CACHE_FORMATS)}, not in {cache_format!r}.")
    layers = cache_of(found.view)
    quantized = quantized_as(found.view)
    rows = weigh_once(found, quantized)
    kept = [layer.nbytes(context, cache_format) for layer in layers]
    work = work_bytes(found.view, context)
    kin = kin_of(found.view)
    options = tuple(_option(row, kept, work, machine, kin) for row in rows)
    if not quantized:
        return Answer(found, machine, context, cache_format, layers, options, choose(options))
    file = _option(stored(found), kept, work, machine, kin)
    choice = Choice(file, "whole") if file.fits else choose(options)
    return Answer(found, machine, context, cache_format, layers, options, choice, quantized, file)


def machine_named(name: str) -> Machine:
    """A machine of the catalogue, in any case, also by the start of its name. Raises RecipeError for others."""
    plain = name.strip().lower()
    near = [m for key, m in MACHINES.items() if plain and (plain == key.lower() or plain in key.lower())]
    exact = [m for m in near if m.name.lower() == plain]
    if not near:
        raise RecipeError(f"{name[:60]!r} is no machine that is known here: name one of {', '.join(MACHINES)}.")
    return (exact or near)[0]


def _option(row: Weighed, kept: list[int], work: int, machine: Machine, kin: Kin) -> Option:
    placed = place(row, kept, work, machine)
    headroom = machine.usable - placed.need if placed.whole else -placed.over
    total = machine.usable - headroom
    return Option(row, placed, cost_of(row, kin), speed_of(row, placed, machine), sum(kept), total, headroom)


def quantized_as(view: Checkpoint) -> str:
    """The format of most quantized weights, where a file's matrices are quantized; "" where they are floats.

    A model that is published with its experts in MXFP4 is not: its other matrices are floats.
    """
    counted: dict[str, int] = {}
    for t in view:
        if quantizable(t.name, t.shape):
            counted[t.format] = counted.get(t.format, 0) + t.size
    lossy = {name: n for name, n in counted.items() if name not in LOSSLESS}
    native = set(lossy) == {"MXFP4"} and set(counted) & set(LOSSLESS)
    return "" if native or not lossy else max(lossy, key=lambda name: lossy[name])


def stored(found: Subject) -> Weighed:
    """A file that is quantized already, as it is."""
    view = found.view
    recipe = recipe_of(view) or quantized_as(view)
    imatrix = any(key.startswith("quantize.imatrix.") for key in view.metadata)
    return weighed_tensors(list(view), recipe, imatrix, routing_of(view), _file_bytes(found))


def recipe_of(view: Checkpoint) -> str | None:
    """The recipe that a file says it was made by."""
    said = view.value("general.file_type")
    return next((name for name, recipe in RECIPES.items() if type(said) is int and recipe.file_type == said), None)


def _file_bytes(found: Subject) -> int:
    files = sum(file.size for file in found.checkpoint.files)
    return files or sum(tensor.nbytes for tensor in found.view)


@lru_cache(maxsize=64)
def _weighed(checkpoint: Checkpoint, view: Checkpoint) -> tuple[Weighed, ...]:
    return tuple(weigh(checkpoint, view))


def weigh_once(found: Subject, quantized: str = "") -> tuple[Weighed, ...]:
    """Every recipe's bytes, kept for the models that were asked about last; of a quantized file as of its original."""
    if quantized:
        original = original_of(found.view)
        return _weighed(original, original)
    return _weighed(found.checkpoint, found.view)
