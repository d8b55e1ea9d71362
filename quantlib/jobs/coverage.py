"""How far side information reaches: which tensors an importance matrix is for, and which rules fit a tensor."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from quantlib.checkpoints import ImportanceMatrix, Tensor
from quantlib.formats import Format, get
from quantlib.recipes import Overrides, Recipe, Role, needs_importance, role_of

if TYPE_CHECKING:
    from quantlib.jobs.planning import PlannedTensor

MOST = 3  # names that a sentence lists
OUTSIDE = (Role.OUTPUT, Role.EMBEDDING)  # an importance matrix usually leaves them out


@dataclass(frozen=True)
class Coverage:
    """An importance matrix as far as it says something of a model's tensors.

    matrix: without the entries that do, None where none is left. known: names that it has an entry for, in the file.
    zero: those whose entry is zero in every channel, which tells nothing.
    """

    matrix: ImportanceMatrix | None = None
    given: ImportanceMatrix | None = field(default=None, repr=False)
    zero: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: ImportanceMatrix | None, tensors: Iterable[Tensor]) -> "Coverage":
        """What of a matrix, or of none, is about these tensors."""
        if given is None:
            return cls()
        found = {t.name: given.entries[t.name] for t in tensors if t.name in given.entries}
        zero = frozenset(name for name, values in found.items() if not values.any())
        useful = found.keys() - zero
        kept = {name: _filled(values) for name, values in given.entries.items() if name not in zero}
        return cls(replace(given, entries=kept) if useful else None, given, zero)

    def notes(self, wanted: Sequence[str], lacking: Sequence[str], recipe: Recipe) -> tuple[str, ...]:
        """What a reader should know. wanted: the tensors that importance could weigh. lacking: see `lacking_of`."""
        notes = []
        if self.given is not None:
            has = self.given.entries.keys()
            matched = [name for name in wanted if name in has and name not in self.zero]
            missing, zero = [n for n in wanted if n not in has], [n for n in wanted if n in self.zero]
            if missing or zero:
                notes.append(self._sentence(len(matched), len(wanted), missing, zero))
        if lacking:
            which = "needs an importance matrix" if self.given is None else "needs importance, and the matrix has none,"
            notes.append(
                f"{recipe.name} {which} for {len(lacking)} tensors, {lacking[0]} the first: it cannot be run without."
            )
        return tuple(notes)

    def _sentence(self, matched: int, wanted: int, missing: Sequence[str], zero: Sequence[str]) -> str:
        parts = [f"The importance matrix matches {matched} of {wanted} tensors that it could weigh"]
        if missing:
            parts.append(f"it has no entry for {_listed(missing)}")
        if zero:
            parts.append(f"it is zero in every channel of {_listed(zero)}, which counts as no importance")
        end = "; it is not used, and may belong to another model." if not matched else "."
        return "; ".join(parts) + end

    def refusal(self, lacking: Sequence[str], recipe: Recipe) -> str:
        """Why a plan that lacks importance for these tensors is not run."""
        which = f"{lacking[0]} and {len(lacking) - 1} others" if len(lacking) > 1 else lacking[0]
        if self.given is None:
            return f"{recipe.name} needs an importance matrix for {which}; give one, or choose another recipe."
        return (
            f"{recipe.name} needs importance for {which}, and the importance matrix {self.given.source} has none for "
            "them; give the model's own matrix, or choose another recipe."
        )


ENOUGH_WINDOWS = 100  # of 512 tokens; with fewer, channels that are rarely used are weighed by chance


def adequacy(given: ImportanceMatrix, tensors: Iterable[Tensor]) -> tuple[str, ...]:
    """How far an importance matrix carries: of how many tensors and windows it is, and which experts it never saw."""
    names = {t.name for t in tensors}
    matched = sum(name in names for name in given.entries)
    said = [f"It has entries for {matched:,} of this model's tensors, from {given.chunks:,} windows of text."]
    if 0 < given.chunks < ENOUGH_WINDOWS:
        said.append(
            f"That is little: from about {ENOUGH_WINDOWS} windows on, another text of the same kind gives the same "
            "weights. Bring a longer text, or expect less gain."
        )
    unseen = [(name, int((~values.any(axis=-1)).sum()), len(values)) for name, values in given.entries.items()]
    unseen = [one for one in unseen if one[1] and one[2] > 1]
    if unseen:
        worst = max(unseen, key=lambda one: one[1])
        said.append(
            f"In {len(unseen):,} tensors some experts never saw a token ({worst[1]} of {worst[2]} in {worst[0]}); all "
            "their channels count alike."
        )
    return tuple(said)


def lacking_of(recipe: Recipe, planned: Iterable["PlannedTensor"]) -> tuple[str, ...]:
    """Names of the planned tensors whose format cannot be, or is not to be, chosen without importance."""
    return tuple(
        t.name
        for t in planned
        if t.importance is None
        and not t.copied
        and (needs_importance(recipe, t.name, t.target) or _form(t).requires_importance)
    )


def weighable(planned: Iterable["PlannedTensor"], given: ImportanceMatrix | None) -> tuple[str, ...]:
    """Names of the planned tensors that importance could weigh; the embedding and the output where it has entries."""
    known = given.entries if given else {}
    return tuple(
        t.name
        for t in planned
        if not t.copied and _form(t).uses_importance and (role_of(t.name) not in OUTSIDE or t.name in known)
    )


def idle_rules(overrides: Overrides, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each wish about tensors that no tensor fits."""
    roles = [(name, role_of(name)) for name in names]
    idle = [rule for rule in overrides.rules if not any(rule.fits(name, role) for name, role in roles)]
    return tuple(
        f"No tensor fits the rule {rule.words.removeprefix('asked for: ')}; it changes nothing." for rule in idle
    )


def _filled(values: np.ndarray) -> np.ndarray:
    """Importance (experts, n) in which an expert that is zero in every channel counts all of them alike."""
    used = values.any(axis=-1, keepdims=True)
    return values if used.all() else np.where(used, values, np.float32(1))


def _form(planned: "PlannedTensor") -> Format:
    return get(planned.target)


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {rest} more" if rest > 0 else "")
