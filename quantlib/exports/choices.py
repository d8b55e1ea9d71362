"""What may be chosen about a scheme besides its name: bits, group size, grid, order of rounding, damping."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields

from quantlib.errors import MethodError

# What people call each.
WORDS = {
    "bits": "number of bits",
    "group": "group size",
    "symmetric": "choice between symmetric and asymmetric codes",
    "act_order": "order of rounding",
    "damping": "damping",
}


@dataclass(frozen=True)
class Choices:
    """bits: of a code. group: weights of a row that share a scale, None for all of it. symmetric: no zero points.

    act_order: columns of the largest activations are rounded first. damping: added to the Hessian's diagonal, a share
    of its mean.
    """

    bits: int = 4
    group: int | None = 128
    symmetric: bool = True
    act_order: bool = False
    damping: float = 0.01

    @property
    def grouped(self) -> str:
        """Which weights share a scale, in words."""
        return "each row" if self.group is None else f"each {self.group} weights"

    def besides(self, usual: Choices) -> dict[str, object]:
        """The choices that are not the usual ones, by name."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value != getattr(usual, name)}


@dataclass(frozen=True)
class Between:
    """Numbers from one to another, both included."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


Offer = Collection[object] | Between


def check(scheme: str, name: str, value: object, offer: Offer | None) -> None:
    """Raises MethodError where a scheme leaves nothing to choose under this name, or not this."""
    if offer is None:
        raise MethodError(f"{scheme} has no {WORDS[name]} to choose; leave it out, or choose another scheme.")
    if value not in offer:
        listed = str(offer) if isinstance(offer, Between) else ", ".join(map(said, offer))
        raise MethodError(f"The {WORDS[name]} of {scheme} is one of {listed}, not {said(value)}.")


def said(value: object) -> str:
    """A choice as a command takes it."""
    return "channel" if value is None else str(value)
