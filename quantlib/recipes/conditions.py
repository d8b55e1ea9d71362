"""Conditions that rules ask of a tensor's place in a model, each with the words for it."""

from collections.abc import Callable
from dataclasses import dataclass

from quantlib.architectures import rules_of, titles
from quantlib.recipes.roles import Role


@dataclass(frozen=True)
class Model:
    """The facts of a model that conditions ask for. heads_per_kv: query heads that share one key-value head."""

    architecture: str | None
    layers: int
    experts: int = 0
    tied: bool = False
    heads_per_kv: int = 1

    @property
    def is_70b(self) -> bool:
        """What llama.cpp takes for a 70B model."""
        return rules_of(self.architecture).is_seventy_b(self.layers, self.heads_per_kv)


@dataclass(frozen=True)
class Place:
    """Where a tensor stands: its role, and which it is (from 0) of how many with that role, layer by layer.

    stacked: it holds the matrices of several experts. important: the run has an importance matrix.
    """

    role: Role
    index: int
    count: int
    model: Model
    stacked: bool = False
    important: bool = False


@dataclass(frozen=True)
class When:
    """A condition on a place, and the words for it."""

    words: str
    holds: Callable[[Place], bool]

    def __and__(self, other: "When") -> "When":
        words = ", ".join(filter(None, (self.words, other.words)))
        return When(words, lambda p: self.holds(p) and other.holds(p))

    def __invert__(self) -> "When":
        return When(f"not {self.words}", lambda p: not self.holds(p))


def _gets_more_bits(p: Place) -> bool:
    eighth = p.count // 8
    return p.index < eighth or p.index >= 7 * p.count // 8 or (p.index - eighth) % 3 == 2


def first(n: int) -> When:
    """Among the first n tensors of its role."""
    return When(f"among the first {n} layers", lambda p: p.index < n)


ALWAYS = When("", lambda p: True)
MORE_BITS = When("in the first eighth, the last eighth or every third layer between", _gets_more_bits)
FIRST_SIXTEENTH = When("in the first sixteenth of the layers", lambda p: p.index < p.count // 16)
FIRST_EIGHTH = When("in the first eighth of the layers", lambda p: p.index < p.count // 8)
MIDDLE = When(
    "in the middle three quarters of the layers", lambda p: p.count // 8 <= p.index < 7 * p.count // 8
)  # fmt: skip
SHARED = When("shared by four or more query heads", lambda p: p.model.heads_per_kv >= 4)
IN_70B = When("in an 80-layer model, where eight heads share it", lambda p: p.model.is_70b)
FOUR_EXPERTS = When("in a model of four or more experts", lambda p: p.model.experts >= 4)
EIGHT_EXPERTS = When("in a model of 8 experts, where it is a small share", lambda p: p.model.experts == 8)
STACKED = When("of all experts together", lambda p: p.stacked)
OWN_DOWN = When(
    f"in the {' or '.join(titles(lambda rules: rules.own_down))} architecture",
    lambda p: rules_of(p.model.architecture).own_down,
)
WITH_IMATRIX = When("with an importance matrix", lambda p: p.important)
WITHOUT_IMATRIX = When("without an importance matrix", lambda p: not p.important)
