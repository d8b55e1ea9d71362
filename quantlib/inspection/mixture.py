"""Which recipe a file is of, judged by its tensors: the mixture of formats speaks, whatever the header says."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from quantlib import formats
from quantlib.checkpoints import Checkpoint
from quantlib.errors import QuantlibError
from quantlib.jobs.planning import in_quantizer_order, model_facts
from quantlib.recipes import RECIPES, Choice, Recipe, decide, quantizable
from quantlib.recipes.choosing import FALLBACK

Tensors = list[tuple[str, tuple[int, ...], str]]  # (GGUF name, shape, format)
MOST_TENSORS = 20_000  # of which the mixture is judged


@dataclass(frozen=True)
class Match:
    """The recipe whose mixture is nearest. share: of the matrices' weights that have the format it gives them.

    differing: the names of the others. also: recipes that fit as well. stand_ins: names of matrices that have another
    format than the recipe names, because their rows do not divide into its blocks.
    """

    recipe: str
    share: float
    differing: tuple[str, ...]
    stand_ins: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        return not self.differing


def nearest_recipe(view: Checkpoint, named: str | None = None) -> Match | None:
    """The recipe that gives most weights of a checkpoint, seen as GGUF stores it, the formats that they have.

    named: the recipe that the header names, which wins among equals. None where no matrix is quantized.
    """
    tensors = matrices(view)
    if not any(_quantized(format) for _, _, format in tensors) or len(tensors) > MOST_TENSORS:
        return None
    total, found = sum(prod(shape) for _, shape, _ in tensors), list[Match]()
    for recipe, choices in _candidates(view, tensors):
        pairs = [pair for pair in zip(tensors, choices, strict=True) if pair[0][2] != pair[1].format]
        missed = sum(prod(shape) for (_, shape, _), _ in pairs)
        differing = tuple(name for (name, _, _), _ in pairs)
        stand_ins = tuple(one[0] for one, choice in zip(tensors, choices, strict=True) if choice.instead_of)
        found.append(Match(recipe.name, 1 - missed / total, differing, stand_ins))
    if not found:
        return None
    best = max(found, key=lambda m: (m.share, m.recipe == named))
    also = {m.recipe for m in found if m.share == best.share} - {best.recipe}
    return replace(best, also=tuple(sorted(also)))


def matrices(view: Checkpoint) -> Tensors:
    """The tensors that recipes decide, in the order in which they count them."""
    about = ((t.name, tuple(t.shape) or (1,), t.format) for t in in_quantizer_order(view))
    return [one for one in about if quantizable(one[0], one[1], view.architecture)]


def _candidates(view: Checkpoint, tensors: Tensors) -> Iterator[tuple[Recipe, list[Choice]]]:
    """The recipes that could have made these formats, with what each would choose, with importance and without."""
    present, model = {format for _, _, format in tensors}, model_facts(view)
    for recipe in RECIPES.values():
        possible = recipe.formats | {FALLBACK[format] for format in recipe.formats & FALLBACK.keys()}
        if recipe.quantizes and possible & present:
            for important in (False, True):
                try:
                    yield recipe, decide(tensors, recipe, model, important=important)
                except QuantlibError:  # a recipe that these rows do not fit
                    break


def _quantized(format: str) -> bool:
    return format in formats.FORMATS and formats.get(format).kind == "block"
