"""Plain advice: which recipe to run in so much memory."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantlib.fit.memory import Need

HEADROOM = 0.9  # Q5_K_M is advised where it leaves a tenth of the memory free


@dataclass(frozen=True)
class Rung:
    """A recipe to try, the share of the memory it may fill, and why it is advised where it fits."""

    recipe: str
    share: float
    why: str


LADDER = (
    Rung("Q8_0", 1.0, "it fits, and its answers are next to never different from the original's"),
    Rung("Q5_K_M", HEADROOM, "it fits with room to spare, and costs about a third of what Q4_K_M costs"),
    Rung("Q4_K_M", 1.0, "it fits, and is the usual choice: the last step down before the cost climbs"),
    Rung("IQ4_XS", 1.0, "Q4_K_M does not fit; this is a tenth smaller and nearly as good"),
    Rung("Q3_K_M", 1.0, "nothing of 4 bits fits; a smaller model in Q4_K_M is often the better answer, compare"),
    Rung("IQ2_M", 1.0, "only about 2.7 bits fit, with an importance matrix; take a smaller model if there is one"),
)


@dataclass(frozen=True)
class Advice:
    """The recipe to run and why; no recipe where none fits, and then what could be changed."""

    recipe: str | None
    why: str


def advise(found: Sequence[Need], memory: int) -> Advice:
    """The first rung of the ladder whose recipe fits."""
    by_name = {need.recipe: need for need in found}
    for rung in LADDER:
        need = by_name.get(rung.recipe)
        if need and need.fits(int(memory * rung.share)):
            return Advice(rung.recipe, rung.why)
    smallest = min(found, key=lambda need: need.total)
    if smallest.cache > smallest.weighed.nbytes:
        return Advice(None, "the cache of this context is larger than the weights: shorten it, or keep it in Q8_0")
    return Advice(None, "nothing fits: take a smaller model, or a memory that is larger")
