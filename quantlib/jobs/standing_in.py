"""What it means for a file that rows do not divide into a recipe's blocks: its true size, and what fits instead."""

from collections import Counter
from itertools import groupby
from math import prod

from quantlib import formats
from quantlib.errors import QuantlibError
from quantlib.jobs.expected import TYPICAL
from quantlib.jobs.planning import Plan, plan
from quantlib.recipes import RECIPES

WORTH_SAYING = 0.1  # share of the weights that other formats stand in for
SMALL_BLOCKS = tuple(r.name for r in RECIPES.values() if r.quantizes and formats.get(r.default).values == 32)
MOST = 2  # recipes that the sentence names
FEWER = 0.1  # of the matrices for which other formats stand in, that a recipe that fits may still have


def stand_in_words(chosen: Plan) -> str:
    """A sentence where other formats stand in for much of a plan's recipe, with recipes that fit; else nothing."""
    instead = [tensor for tensor in chosen.tensors if tensor.instead_of]
    weights = sum(prod(tensor.shape) for tensor in instead)
    if weights < WORTH_SAYING * max(1, chosen.weights):
        return ""
    width = Counter(tensor.shape[-1] for tensor in instead).most_common(1)[0][0]
    targets = ", ".join(name for name, _ in Counter(tensor.target for tensor in instead).most_common())
    wanted = ", ".join(name for name, _ in Counter(tensor.instead_of for tensor in instead).most_common())
    said = (
        f"{chosen.recipe.name} takes {chosen.bpw:.2f} bits per weight here: rows of {width:,} do not "
        f"divide into blocks of {wanted}, so {len(instead):,} matrices get {targets}."
    )
    if chosen.tensor_nbytes > chosen.source_nbytes:
        source = 8 * chosen.source_nbytes / chosen.weights
        said += f" That is larger than its source, which has {source:.2f} bits per weight."
    fitting = fitting_recipes(chosen)
    if fitting:
        listed = " and ".join(f"{other.recipe.name} ({other.bpw:.2f} bits)" for other in fitting)
        said += f" {listed} {'fit' if len(fitting) > 1 else 'fits'} these rows in less."
    return said


def _stand_ins(chosen: Plan) -> int:
    return sum(bool(tensor.instead_of) for tensor in chosen.tensors)


def fitting_recipes(chosen: Plan) -> list[Plan]:
    """Plans by recipes of small blocks that come out smaller than this one, the largest first; at most MOST."""
    found = []
    for name in SMALL_BLOCKS:
        try:
            other = plan(chosen.checkpoint, name)
        except QuantlibError:
            continue
        if other.nbytes < chosen.nbytes and not other.lacking and _stand_ins(other) < FEWER * _stand_ins(chosen):
            found.append(other)
    found.sort(key=lambda other: (-other.nbytes, TYPICAL[other.recipe.default]))
    return [next(same) for _, same in groupby(found, key=lambda other: other.nbytes)][:MOST]  # of one size, the better
