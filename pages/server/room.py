"""The guesses of a room: those who followed a presenter's code guess on their phones, the wall counts.

Off until a presenter asks for it: a room is a name in the address. Nobody is named, nothing is written down, and all is
forgotten hours after the last guess, or sooner where others need the space.
"""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

NAME = r"[a-hj-km-np-z2-9]{10}"
SECONDS = 4 * 3600  # that a room is remembered after its last guess
ROOMS, QUESTIONS, PEOPLE = 50, 100, 1000  # at most, the last two of one room


@dataclass
class _Room:
    last: float
    guesses: dict[str, dict[str, str]] = field(default_factory=dict)  # of each question: who guessed what


class Rooms:
    """All rooms of this server. `now` tells the time in seconds."""

    def __init__(self, now=time.monotonic):
        self._now, self._lock = now, threading.Lock()
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def guess(self, name: str, question: str, person: str, said: str) -> None:
        """Somebody's guess; it replaces the one before it. One too many in a room is not counted."""
        with self._lock:
            room = self._of(name)
            people = (
                room.guesses.get(question, {})
                if len(room.guesses) >= QUESTIONS
                else room.guesses.setdefault(question, {})
            )
            if person in people or len(people) < PEOPLE:
                people[person] = said

    def counts(self, name: str, question: str, choices: Sequence[str]) -> list[int]:
        """How many chose each."""
        with self._lock:
            room = self._rooms.get(name)
            found = Counter(room.guesses.get(question, {}).values()) if room else Counter()
        return [found[choice] for choice in choices]

    def _of(self, name: str) -> _Room:
        now = self._now()
        for old in [key for key, room in self._rooms.items() if now - room.last > SECONDS]:
            del self._rooms[old]
        room = self._rooms.setdefault(name, _Room(now))
        room.last = now
        self._rooms.move_to_end(name)
        while len(self._rooms) > ROOMS:
            self._rooms.popitem(last=False)
        return room


ROOMS_HERE = Rooms()
