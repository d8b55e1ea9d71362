"""Which of the options to run: the best that fits and is worth its size, and what else could be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log

from quantlib.fit.placing import Placement
from quantlib.fit.quality import Cost
from quantlib.fit.speed import Speed
from quantlib.fit.weighing import NATIVE, Weighed

# A larger file is worth it where KL falls by at least this much of itself for each doubling's logarithm, and by so
# many nats: from Q6_K to Q8_0 it is (0.0055 to 0.0014 for 30% more), from Q8_0 to BF16 it is not (0.0008 for 88% more).
WORTH_SHARE, WORTH_NATS = 0.5, 0.005
POOR = 0.15  # KL on Llama-3-8B above which a smaller model is likely the better answer: below about 3.3 bits
BEARABLE = 5.0  # tokens a second, about as fast as one reads aloud
USUAL, MOSTLY_AS_FAST = "Q4_K_M", 0.75  # a larger file in two memories costs speed: so much of the usual one's stays
PATIENT = 2.0  # tokens a second, about as fast as one types
FEWER_BITS = 0.05  # KL on Llama-3-8B above which a few layers beside are better, where they cost little speed
TIGHT = 256 << 20  # bytes of headroom below which other programs can push it out


@dataclass(frozen=True)
class Option:
    """One recipe on one machine.

    kept: bytes of the whole cache. total: bytes that all of it needs in one memory. headroom: what that leaves of the
    fast memory, below zero where it does not fit.
    """

    weighed: Weighed
    placed: Placement
    cost: Cost
    speed: Speed | None
    kept: int
    total: int
    headroom: int

    @property
    def recipe(self) -> str:
        return self.weighed.recipe

    @property
    def imatrix(self) -> bool:
        return self.weighed.imatrix

    @property
    def fits(self) -> bool:
        """Whether all of it fits in the fast memory."""
        return self.placed.whole

    @property
    def label(self) -> str:
        """The recipe, and whether the file was made with an importance matrix where both kinds are compared."""
        return f"{self.recipe} (imatrix)" if self.imatrix else self.name

    @property
    def name(self) -> str:
        """What the file is called for."""
        return "MXFP4" if self.recipe == NATIVE else self.recipe


@dataclass(frozen=True)
class Choice:
    """What is advised. option: None where nothing runs. how: "whole", "beside" (some of it in the computer's memory),
    "poor" (whole, at a high cost), "last" (it runs, too slowly and at a high cost) or "nothing". other: a second way
    that is worth knowing."""

    option: Option | None
    how: str
    other: Option | None = None


def choose(options: Sequence[Option]) -> Choice:
    """The best option that fits whole, unless a much better one runs in two memories: bearably fast where the first
    costs much, and nearly as fast where it has fewer than four bits.

    Raises ValueError where there are no options.
    """
    easy = [option for option in options if option.fits and option.headroom >= TIGHT]
    whole = best(easy or [option for option in options if option.fits])
    beside = best(_bearable(options))
    if whole is not None and whole.cost.kl <= POOR:
        near = best(_nearly_as_fast(options, whole)) if whole.cost.kl > FEWER_BITS else None
        return Choice(near, "beside", whole) if near and _clearly_better(near, whole) else Choice(whole, "whole")
    if beside is not None and (whole is None or _clearly_better(beside, whole)):
        return Choice(beside, "beside", whole)
    if whole is not None:
        return Choice(whole, "poor", slowly_beside(options))
    slow = slowly_beside(options)
    if slow is not None and slow.cost.kl > POOR and not bearable(slow):
        return Choice(slow, "last")
    return Choice(slow, "beside" if slow else "nothing")


def _clearly_better(beside: Option, whole: Option) -> bool:
    return beside.cost.kl < whole.cost.kl / 2


def _bearable(options: Sequence[Option]) -> list[Option]:
    """Those of a low cost that run in two memories, not too slowly, and not much slower than the usual file there."""
    running = [o for o in options if not o.fits and o.placed.runs and bearable(o) and o.cost.kl <= POOR]
    usual = next((o.speed for o in running if o.recipe == USUAL and o.speed), None)
    least = usual.about * MOSTLY_AS_FAST if usual else 0.0
    return [o for o in running if o.weighed.bpw < 7 and (o.speed is None or o.speed.about >= least)]


def _nearly_as_fast(options: Sequence[Option], whole: Option) -> list[Option]:
    """Those that run in two memories and lose little speed by it; none where no speed is known."""
    if whole.speed is None:
        return []
    least = whole.speed.about * MOSTLY_AS_FAST
    return [o for o in _bearable(options) if o.speed is not None and o.speed.about >= least]


def bearable(option: Option) -> bool:
    """Whether one can read along; also where no speed is known."""
    return option.speed is None or option.speed.about >= BEARABLE


def slowly_beside(options: Iterable[Option]) -> Option | None:
    """The usual four-bit file in two memories, else the best that is not slower than typing; None where none runs."""
    running = [o for o in options if not o.fits and o.placed.runs]
    usual = [o for o in running if o.recipe == USUAL and o.imatrix]
    if usual:
        return usual[0]
    fast = [o for o in running if o.speed is None or o.speed.about >= PATIENT]
    return best(fast) or min(running, key=lambda o: o.placed.slow, default=None)


def best(options: Iterable[Option]) -> Option | None:
    """From the smallest up: a larger one takes over where its lower cost is worth its size."""
    chosen = None
    for option in sorted(options, key=lambda o: (o.weighed.nbytes, -o.cost.kl)):
        if chosen is None or worth(option, chosen):
            chosen = option
    return chosen


def worth(larger: Option, smaller: Option) -> bool:
    """Whether a lower cost is worth the size: KL falls by half of itself, and by 0.005, times the sizes' logarithm."""
    growth = log(max(larger.weighed.nbytes, 1) / max(smaller.weighed.nbytes, 1))
    gain = smaller.cost.kl - larger.cost.kl
    if growth <= 0:
        return gain > 0
    return gain >= growth * max(WORTH_SHARE * smaller.cost.kl, WORTH_NATS)
