"""Budget recipes: spend a given number of bits where the measured error falls most."""

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quantlib.errors import RecipeError

PREFIX = "auto:"
UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True)
class Budget:
    """What a file may cost: bits per weight over all tensors, or bytes of the whole file; one of them is None."""

    name: str
    bpw: float | None = None
    nbytes: int | None = None


@dataclass(frozen=True)
class Option:
    """A format that a tensor could have: what it takes, and what it costs in the measure that is to be small."""

    format: str
    nbytes: int
    cost: float


def parse_budget(text: str) -> Budget:
    """ "auto:4.5bpw" or "auto:6GB" (B, kB, MB, GB, TB; KiB, MiB, GiB). Raises RecipeError for anything else."""
    found = re.fullmatch(r"auto:\s*(\d{1,15}(?:\.\d{1,9})?)\s*([a-z]{1,3})", text.strip().lower())
    number, unit = (float(found[1]), found[2]) if found else (0.0, "")
    if number > 0 and unit == "bpw":
        return Budget(text, bpw=number)
    if number > 0 and unit in UNITS:
        return Budget(text, nbytes=int(number * UNITS[unit]))
    raise RecipeError(f"{text[:40]!r} is no budget; write auto:4.5bpw for bits per weight, or auto:6GB for the file.")


def spend(options: Mapping[str, Sequence[Option]], capacity: int) -> dict[str, Option] | None:
    """An option for each tensor, within `capacity` bytes together, at about the least cost; None where none fit.

    Every tensor starts at its smallest option. Then, step by step, the tensor moves up whose cost falls most for each
    byte more, along the lower convex hull of its options: that is the best there is for the bytes spent so far. What is
    left at the end goes to single steps off the hull.
    """
    chosen = {name: min(choices, key=lambda o: (o.nbytes, o.cost)) for name, choices in options.items()}
    left = capacity - sum(option.nbytes for option in chosen.values())
    if left < 0:
        return None
    hulls = {name: hull(choices) for name, choices in options.items()}
    steps = [_step(name, hulls[name], 0) for name in options if len(hulls[name]) > 1]
    heapq.heapify(steps)
    while steps:
        _, name, index = heapq.heappop(steps)
        after = hulls[name][index + 1]
        more = after.nbytes - chosen[name].nbytes
        if more > left:
            continue
        chosen[name], left = after, left - more
        if index + 2 < len(hulls[name]):
            heapq.heappush(steps, _step(name, hulls[name], index + 1))
    return improved(chosen, options, capacity)


def improved(chosen: Mapping[str, Option], options: Mapping[str, Sequence[Option]], capacity: int) -> dict[str, Option]:
    """The same choice with what is left of the capacity spent on single better options, the most saved first."""
    chosen = dict(chosen)
    left = capacity - sum(option.nbytes for option in chosen.values())
    better = [
        (option.cost - chosen[name].cost, name, option)
        for name, choices in options.items()
        for option in choices
        if option.cost < chosen[name].cost and option.nbytes - chosen[name].nbytes <= left
    ]
    for _, name, option in sorted(better, key=lambda item: item[:2]):
        more = option.nbytes - chosen[name].nbytes
        if option.cost < chosen[name].cost and more <= left:
            chosen[name], left = option, left - more
    return chosen


def hull(options: Sequence[Option]) -> list[Option]:
    """The options on the lower convex hull of cost over bytes: each step up saves less for each byte than the last."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (o.nbytes, o.cost)):
        if kept and option.cost >= kept[-1].cost:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], option):
            kept.pop()
        if kept and option.nbytes == kept[-1].nbytes:
            kept.pop()
        kept.append(option)
    return kept


def _slope(before: Option, after: Option) -> float:
    """Cost for each byte more: negative, and the more so the better the step."""
    return (after.cost - before.cost) / max(1, after.nbytes - before.nbytes)


def _step(name: str, on_hull: list[Option], index: int) -> tuple[float, str, int]:
    return _slope(on_hull[index], on_hull[index + 1]), name, index
