"""The edge of knowledge: sums by difficulty against bits, what falls first, and a puzzle of sums."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

from quantlib.figures.few_bits import read, written
from quantlib.figures.quiz import Question
from quantlib.lm.answering import Answered, Answers, wall
from quantlib.lm.sums import GRADES, Score

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 372, 44, 118, 12, 44
APART = 15  # between two names of lines, in units of the picture
PUZZLE, PUZZLED = "Q2_K", 10  # the recipe of the puzzle, and its count of sums


def edge_svg(answers: Answers) -> str:
    """A line for each grade of sums: recipes from many bits to few, right answers upward, in percent.

    Points carry data-words. What falls first is of class "first". Names stand at the right, beside the last recipe but
    one: after it nothing is left to tell lines apart.
    """
    count = len(answers.found)

    def x(at: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / count

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    marks = [
        f'<path class="rule" d="M{LEFT} {y(s):.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y(s) + 4:.1f}">{100 * s:.0f}</text>'
        for s in (0, 0.25, 0.5, 0.75, 1)
    ]
    marks += [
        f'<text class="stop" x="{x(at):.1f}" y="{HEIGHT - 24}">{escape(one.recipe)}</text>'
        f'<text class="bits" x="{x(at):.1f}" y="{HEIGHT - 7}">{plain(one.bpw)}</text>'
        for at, one in enumerate(answers.found)
    ]
    marks.append(
        f'<text class="bits" x="{WIDTH - RIGHT + 6}" y="{HEIGHT - 7}" style="text-anchor:start">bits each</text>'
    )
    marks.append(f'<text class="unit" x="{LEFT + 8}" y="{HEIGHT - BOTTOM - 10}">right answers, %</text>')
    first = set(first_to_fall(answers).grades)
    named = sorted(range(len(GRADES)), key=lambda g: -answers.found[-2].scores[g].share)
    heights = _apart([y(answers.found[-2].scores[g].share) for g in named])
    for at, height in sorted(zip(named, heights, strict=True)):
        grade, row = GRADES[at].name, [one.scores[at] for one in answers.found]
        kind = "first" if grade in first else "other"
        path = "L".join(f"{x(i):.1f} {y(score.share):.1f}" for i, score in enumerate(row))
        points = "".join(
            f'<g class="point" data-words="{escape(_words(one, score), quote=True)}">'
            f'<circle class="reach" cx="{x(i):.1f}" cy="{y(score.share):.1f}" r="9"/>'
            f'<circle class="dot" cx="{x(i):.1f}" cy="{y(score.share):.1f}" r="4"/></g>'
            for i, (one, score) in enumerate(zip(answers.found, row, strict=True))
        )
        end = len(row) - 2
        marks.append(
            f'<g class="grade {kind}"><path d="M{path}"/>{points}'
            f'<path class="lead" d="M{x(end) + 6:.1f} {y(row[end].share):.1f}L{WIDTH - RIGHT - 2:.1f} {height:.1f}"/>'
            f'<text class="name" x="{WIDTH - RIGHT + 2}" y="{height + 4:.1f}">{escape(grade)}</text></g>'
        )
    label = "Right answers in percent, by difficulty of the sum, from 32 bits down"
    return f'<svg class="edge" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _words(one: Answered, score: Score) -> str:
    low, high = score.interval
    return (
        f"{score.grade} from {one.recipe}, {plain(one.bpw)} bits\n{score.right:,} of {score.count:,} right, "
        f"{score.share:.1%}\nAnother list of sums would give {low:.1%} to {high:.1%}."
    )


def plain(bpw: float) -> str:
    """Bits as people write them: 32, 4.7."""
    return f"{bpw:.0f}" if bpw >= 9 else f"{bpw:.1f}"


def _apart(heights: Sequence[float]) -> list[float]:
    """Heights from the top down, moved as little as keeps APART between neighbours."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + APART) if found else height)
    over = found[-1] - (HEIGHT - BOTTOM) if found else 0
    return [h - max(0.0, over) for h in found]


@dataclass(frozen=True)
class Fall:
    """The first recipe at which grades fall clearly below the original, and which they are."""

    recipe: Answered
    grades: tuple[str, ...]


def fallen(original: Sequence[Score], now: Sequence[Score]) -> list[str]:
    """Grades whose interval lies wholly below the original's: another list of sums would hardly undo it."""
    return [a.grade for a, b in zip(original, now, strict=True) if b.interval[1] < a.interval[0]]


def first_to_fall(answers: Answers) -> Fall:
    """From many bits to few: where the first grades fall. No grades, and the last recipe, where none ever does."""
    original = answers.found[0].scores
    for one in answers.found[1:]:
        if grades := fallen(original, one.scores):
            return Fall(one, tuple(grades))
    return Fall(answers.found[-1], ())


def edge_words(answers: Answers) -> str:
    """What the picture shows, computed: what fell first and how well it was known, and what fell next."""
    original, fall = answers.found[0], first_to_fall(answers)
    if not fall.grades:
        return "No kind of sum falls clearly below the original with any of these recipes."
    before = [one for one in answers.found[1:] if one.bpw > fall.recipe.bpw]
    shaky = min(original.scores, key=lambda score: score.share)
    parts = [
        f"From {plain(original.bpw)} bits down to {plain(before[-1].bpw)}, no kind of sum changes clearly."
        if before
        else "",
        f"The first to fall are {joined(fall.grades)}, at {plain(fall.recipe.bpw)} bits ({fall.recipe.recipe}).",
        f"{shaky.grade} is what the model knew least well at {plain(original.bpw)} bits, {shaky.share:.0%}: "
        + ("the edge of its knowledge goes first." if shaky.grade in fall.grades else "yet it did not fall first."),
    ]
    return " ".join(filter(None, parts))


def surprise(answers: Answers) -> str:
    """What the edge does not explain: what was firmly known and fell furthest one recipe later; else empty."""
    at = answers.found.index(first_to_fall(answers).recipe) + 1
    if at >= len(answers.found):
        return ""
    later, original = answers.found[at], answers.found[0]
    firm = [(a, b) for a, b in zip(original.scores, later.scores, strict=True) if a.interval[0] > 0.99]
    was, now = max(firm, key=lambda pair: pair[0].share - pair[1].share, default=(None, None))
    if was is None or was.share - now.share < 0.05:
        return ""
    return (
        f"But knowing something firmly is not enough. {was.grade} was right in {was.share:.1%} of the sums. It falls "
        f"to {now.share:.0%} at {plain(later.bpw)} bits ({later.recipe}): its answers have many digits, and one wrong "
        "digit spoils them."
    )


def joined(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""


@dataclass(frozen=True)
class Puzzle:
    """Sums of which some come out wrong. sums and said: as people write them; wrong: which answers are not right."""

    recipe: str
    sums: tuple[str, ...]
    said: tuple[str, ...]
    wrong: tuple[bool, ...]

    def score(self, picked: Collection[str]) -> int:
        """For how many sums the reader's verdict is right; picked: those they expect to come out wrong."""
        return sum((one in picked) == wrong for one, wrong in zip(self.sums, self.wrong, strict=True))


def puzzle(answers: Answers, recipe: str = PUZZLE, count: int = PUZZLED) -> Puzzle:
    """Half of the sums wrong, as far as there are so many, spread over the wall, in its order from easy to hard."""
    said = [read(answer) for answer in answers.of(recipe).answers]
    sums = wall()
    wrong = [answer != f"{one.result:,}" for one, answer in zip(sums, said, strict=True)]
    kinds = ([i for i, is_wrong in enumerate(wrong) if is_wrong is kind] for kind in (True, False))
    chosen = sorted(at for places in kinds for at in _spread(places, count // 2))
    return Puzzle(
        recipe, tuple(written(sums[i]) for i in chosen), tuple(said[i] for i in chosen),
        tuple(wrong[i] for i in chosen),
    )  # fmt: skip


ABLE = 0.95  # so many of 2,000 sums right: the model can do them
ASKED = ("1 + 1 digits", "6 + 6 digits", "2 × 2 digits")
OFFERED = ("Q8_0", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ2_XXS", "IQ1_M")
HALVES = {"about 8": 8.0, "about 4": 4.0, "about 2": 2.0}  # bits, to guess where half of the sums are wrong


def questions(answers: Answers) -> list[Question]:
    """Which is the smallest recipe that still can do one kind of sum, for kinds that fall at different bits."""
    return [_smallest(answers, name) for name in ASKED]


def _smallest(answers: Answers, name: str) -> Question:
    grade = [score.grade for score in answers.found[0].scores].index(name)
    offered = [answers.of(recipe) for recipe in OFFERED]
    able = [one for one in offered if one.scores[grade].share >= ABLE]
    smallest = able[-1]
    below = offered[offered.index(smallest) + 1 :]
    because = f"{smallest.scores[grade].share:.1%} are right from {smallest.recipe}"
    if below:
        because += f", and {below[0].scores[grade].share:.1%} from {below[0].recipe}"
    return Question(name, OFFERED, smallest.recipe, f"{because}.")


def half_wrong(answers: Answers) -> tuple[str, str]:
    """Where from many bits to few half of all sums are wrong: the guess that is nearest, and a sentence."""
    shares = [sum(s.right for s in one.scores) / sum(s.count for s in one.scores) for one in answers.found]
    at = next((i for i, share in enumerate(shares) if share < 0.5), len(shares) - 1)
    one, before = answers.found[at], answers.found[at - 1]
    right = min(HALVES, key=lambda name: abs(HALVES[name] - one.bpw))
    return right, (
        f"From {before.recipe}, {plain(before.bpw)} bits, {shares[at - 1]:.0%} of all its sums are still right. From "
        f"{one.recipe}, {plain(one.bpw)} bits, {shares[at]:.0%} are."
    )


def _spread(places: Sequence[int], count: int) -> list[int]:
    """So many of the places, evenly over their list; all where there are fewer."""
    if len(places) <= count:
        return list(places)
    return [places[(2 * i + 1) * len(places) // (2 * count)] for i in range(count)]


def puzzle_html(found: Puzzle, picked: Collection[str]) -> str:
    """What became of each sum, and whether the reader said so."""
    rows = "".join(
        f'<tr><th>{escape(one)}</th><td class="{"wrong" if wrong else "right"}">{escape(said or "nothing")}</td>'
        f"<td>{'wrong' if wrong else 'right'}</td><td>{'✓' if (one in picked) == wrong else '×'}</td></tr>"
        for one, said, wrong in zip(found.sums, found.said, found.wrong, strict=True)
    )
    head = f"<tr><th>sum</th><th>answer from {escape(found.recipe)}</th><th></th><th>you</th></tr>"
    name = "The sums, their answers and your choice"
    return f'<table class="puzzle" aria-label="{name}"><thead>{head}</thead><tbody>{rows}</tbody></table>'
