"""Questions that a chapter's end asks, each with its answers, the right one, and the figures that say why."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """text: what is asked. choices: the answers, of which `right` is one. because: what was measured, one sentence."""

    text: str
    choices: tuple[str, ...]
    right: str
    because: str

    def verdict(self, said: str | None) -> str:
        """What is said of an answer; nothing while there is none."""
        if said is None:
            return ""
        return f"✅ Right. {self.because}" if said == self.right else f"It is {self.right}. {self.because}"


def score(questions: Sequence[Question], said: Sequence[str | None]) -> int:
    """How many answers are right."""
    return sum(one.right == answer for one, answer in zip(questions, said, strict=True))
