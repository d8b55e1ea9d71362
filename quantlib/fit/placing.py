"""Where a model's layers go on a machine: all in the fast memory, some of it beside it, or nowhere.

What the fast memory holds in full runs fastest. Where it does not, llama.cpp leaves the experts of the first layers
(--n-cpu-moe), or whole layers (--n-gpu-layers), in the computer's own memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantlib.fit.machines import Machine
from quantlib.fit.weighing import Parts, Weighed


@dataclass(frozen=True)
class Placement:
    """What lies where, in bytes. how: "whole", "experts" (some experts beside), "layers" (some layers beside), "none".

    fast: bytes of weights in the fast memory, cache and work there beside them; slow: all that is in the computer's
    memory. count: layers whose experts, or layers that, stay there. over: bytes that are missing for
    all of it.
    """

    how: str
    fast: int
    cache: int
    work: int
    slow: int = 0
    count: int = 0
    over: int = 0

    @property
    def need(self) -> int:
        """Bytes in the fast memory."""
        return self.fast + self.cache + self.work

    @property
    def whole(self) -> bool:
        return self.how == "whole"

    @property
    def runs(self) -> bool:
        return self.how != "none"


def place(weighed: Weighed, cache: Sequence[int], work: int, machine: Machine) -> Placement:
    """The best place for a model. cache: bytes of each layer's; work: of the working memory on each card."""
    parts, kept = weighed.parts, sum(cache)
    if machine.kind != "card":
        over = parts.loaded + kept + work - machine.usable
        return Placement("whole" if over <= 0 else "none", parts.loaded, kept, work, over=max(0, over))
    work_on_all = work * len(machine.fast)
    if _divides(weighed, cache, work, machine):
        return Placement("whole", parts.on_cards, kept, work_on_all, parts.beside)
    over = max(1, parts.on_cards + kept + work_on_all - machine.usable)
    beside = _experts_beside(weighed, cache, work, machine) or _layers_beside(weighed, cache, work, machine)
    return replace(beside or Placement("none", parts.on_cards, kept, work_on_all, parts.beside), over=over)


def _divides(weighed: Weighed, cache: Sequence[int], work: int, machine: Machine, left: int = 0) -> bool:
    """Whether the cards hold it, each a run of whole layers; left: layers whose experts stay beside."""
    room = [memory.usable - work for memory in machine.fast]
    parts, card = weighed.parts, 0
    pieces = [
        layer + kept + (0 if at < left else experts)
        for at, (layer, experts, kept) in enumerate(zip(parts.layers, parts.experts, _each(cache, parts), strict=True))
    ]
    for piece in (*pieces, parts.output):
        while card < len(room) and room[card] < piece:
            card += 1
        if card == len(room):
            return False
        room[card] -= piece
    return True


def _each(cache: Sequence[int], parts: Parts) -> Sequence[int]:
    """A cache for each layer of the weights."""
    return [*cache, *(0 for _ in parts.layers)][: len(parts.layers)]


def _experts_beside(weighed: Weighed, cache: Sequence[int], work: int, machine: Machine) -> Placement | None:
    parts = weighed.parts
    if machine.slow is None or not any(parts.experts):
        return None
    for count in range(1, len(parts.layers) + 1):
        slow = parts.beside + sum(parts.experts[:count])
        if slow > machine.slow.usable:
            return None
        if _divides(weighed, cache, work, machine, count):
            fast = parts.on_cards - sum(parts.experts[:count])
            return Placement("experts", fast, sum(cache), work * len(machine.fast), slow, count)
    return None


def _layers_beside(weighed: Weighed, cache: Sequence[int], work: int, machine: Machine) -> Placement | None:
    """The last layers on the cards, as many as there is room for, the first ones beside."""
    parts = weighed.parts
    if machine.slow is None:
        return None
    kept = _each(cache, parts)
    whole = [layer + experts for layer, experts in zip(parts.layers, parts.experts, strict=True)]
    room = machine.usable - work * len(machine.fast) - max(whole, default=0) * (len(machine.fast) - 1)
    held = parts.output
    count = len(whole)
    while count and held + whole[count - 1] + kept[count - 1] <= room:
        count -= 1
        held += whole[count] + kept[count]
    if held > room or count == len(whole):
        return None
    slow = parts.beside + sum(whole[:count]) + sum(kept[:count])
    if slow > machine.slow.usable:
        return None
    fast = parts.output + sum(whole[count:])
    return Placement("layers", fast, sum(kept[count:]), work * len(machine.fast), slow, count)
