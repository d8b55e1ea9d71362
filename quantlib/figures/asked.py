"""A real model's answers from fewer and fewer bits: the message to its component, and what it shows in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise, takewhile
from math import hypot

from quantlib.figures import palette
from quantlib.figures.edge import joined, plain
from quantlib.figures.plane import WIDE, Plane, frame, names, whole
from quantlib.fit.published import LLAMA_3_8B, LLAMA_3_8B_BPW
from quantlib.lm import Sweep
from quantlib.lm.asking import QUESTIONS
from quantlib.lm.surveying import Moved, Survey, Variant

MODEL, WEIGHTS = "SmolLM2-135M-Instruct", "135 million"
FEW = (0, 3, 7, 8, 10, 19)  # of the twenty questions, those of the first page: as many stay right as of all
REGISTERS = ("prose", "code", "arithmetic")
HUES = {"prose": "code", "code": "exponent", "arithmetic": "sub-scale"}
WITNESS = "IQ2_XXS"  # a recipe that all models were measured with, each with an importance matrix
NEARLY = 0.9  # of the answers: so many right, and nobody would notice
ORIGINAL_BITS = 4  # of the weights as published
LEFT_OUT = 8.2  # bits: recipes with more lose too little to be seen beside the others


def right(one: Variant) -> tuple[bool, ...]:
    """Which of the twenty answers are right."""
    return tuple(q.is_right(answer) for q, answer in zip(QUESTIONS, one.answers, strict=True))


def asked_message(found: Survey, alone: bool, shown: Sequence[int] = tuple(range(len(QUESTIONS)))) -> dict:
    """What the component `asked` shows of one ladder. shown: which of the twenty questions."""
    stops = [_stop(one, shown) for one in found.ladder(alone)]
    return {
        "token": f"{found.model}/{alone}/{len(shown)}",
        "start": min(range(len(stops)), key=lambda i: abs(2 * sum(stops[i]["right"]) - len(shown))),  # half are wrong
        "questions": [QUESTIONS[i].text for i in shown],
        "registers": list(REGISTERS) if len(shown) == len(QUESTIONS) else [],
        "stops": stops,
    }


def _stop(one: Variant, shown: Sequence[int]) -> dict:
    verdicts = right(one)
    return {
        "name": one.name,
        "bits": round(100 * one.bpw),
        "answers": [" ".join(one.answers[i].split()) for i in shown],
        "right": [verdicts[i] for i in shown],
        "changed": [round(1000 * one.registers[name].changed) for name in REGISTERS],
    }


def places(found: Survey) -> int:
    """How many tokens of each register are scored."""
    return found.found[0].registers[REGISTERS[0]].tokens


def asked_words(found: Survey, alone: bool) -> str:
    """How many answers stay right on one ladder: down to where nearly all do, and then from step to step."""
    counts = [(one, sum(right(one))) for one in found.ladder(alone)[1:]]
    asked = len(QUESTIONS)
    safe = list(takewhile(lambda pair: pair[1] >= NEARLY * asked, counts))
    rest = counts[len(safe) :]
    ruined = [one for one, _ in reversed(list(takewhile(lambda pair: not pair[1], reversed(rest))))]
    falls = [f"{count} with {_bits(one)}" for one, count in rest if one not in ruined]
    if ruined:
        falls.append(f"none {'from' if ruined[1:] else 'with'} {_bits(ruined[0])}{' on' * bool(ruined[1:])}")
    least = min((count for _, count in safe), default=0)
    kept = f"all {asked}" if least == asked else f"at least {least} of the {asked}"
    first = f"Down to {_bits(safe[-1][0])}, {kept} answers stay right. " if safe else ""
    return first + (f"{'Then' if safe else 'Right'} {'it is' if safe else 'are'} {joined(falls)}." if falls else "")


def apart_words(found: Survey, alone: bool) -> str:
    """Which variants of one ladder had an importance matrix, where some had and some had not; else empty."""
    below = [one for one in found.ladder(alone)[1:] if one.name != "Q8_0"]
    helped = [one.name for one in below if one.weighted]
    if len(helped) in (0, len(below)):
        return ""
    return f"{joined(helped)} had an importance matrix and the others had none, so they are not to be compared."


def matrix_words(found: Survey) -> str:
    """Which of all variants had an importance matrix."""
    helped = [one.label for one in found.found if one.weighted]
    without = [one.label for one in found.found[1:] if not one.weighted and one.name != "Q8_0"]
    if not without:
        return "Every format that can use an importance matrix had the same one"
    return f"An importance matrix helped {joined(helped)}, and not {joined(without)}"


def _bits(one: Variant) -> str:
    return f"{one.name} ({plain(one.bpw)} bits)"


def unequal_words(found: Survey, alone: bool) -> str:
    """Where more bits moved the predictions further, beyond two standard errors in every register; else empty.

    The original's weights have 16 levels in each block, which matters to formats of four bits and more.
    """
    for larger, smaller in pairwise(found.ladder(alone)[1:]):
        if all(_gap(larger.registers[name], smaller.registers[name]) > 0 for name in REGISTERS):
            reason = (
                " The file that is taken as the original has only 16 levels in each block. How well a format meets "
                "just those levels matters here, and its number of bits does not say."
            )
            return (
                f"More bits are not always better: {larger.name} moves the predictions further than {smaller.name}."
                + reason * (smaller.bpw > ORIGINAL_BITS)
            )
    return ""


def _gap(larger: Moved, smaller: Moved) -> float:
    """By how much the larger moved further, less two standard errors."""
    return larger.kl - smaller.kl - 2 * hypot(larger.kl_stderr, smaller.kl_stderr)


def lesson(found: Survey) -> str:
    """How many answers stay right with all matrices in one format, down to the first format that leaves none."""
    counts = [(one.name, sum(right(one))) for one in found.ladder(alone=True)[1:]]
    end = next((i for i, (_, count) in enumerate(counts) if not count), len(counts) - 1)
    said = [f"{count or 'none'} in {name}" for name, count in counts[1 : end + 1]]
    return (
        f"A real model of {WEIGHTS} weights answers {counts[0][1]} of {len(QUESTIONS)} plain questions with all its "
        f"matrices in {counts[0][0]}, {joined(said)}."
    )


def registers_words(found: Survey) -> str:
    """Which register moves most, over the variants that move at all."""
    most = [max(REGISTERS, key=lambda name: one.registers[name].kl) for one in found.found[1:]]
    winner = max(REGISTERS, key=most.count)
    least = [min(REGISTERS, key=lambda name: one.registers[name].kl) for one in found.found[1:]]
    calm = max(REGISTERS, key=least.count)
    return (
        f"In {most.count(winner)} of {len(most)} cases **{winner}** moves most, and in {least.count(calm)} **{calm}** "
        "moves least."
    )


def beside_words(found: Survey, sweep: Sweep | None) -> str:
    """What one recipe costs the demo model, a large one and this one, each with an importance matrix."""
    small = sweep.of(WITNESS, weighted=True) if sweep else None
    large = next(one for one in LLAMA_3_8B if one.recipe == WITNESS and one.imatrix)
    real = found.of(WITNESS)
    if small is None or real is None:
        return ""
    prose = real.registers["prose"].kl
    words = (
        f"A file of recipe {WITNESS} moves the demo model by {small.total.kl:.2g} nats, Llama-3-8B by {large.kl:.2g}, "
        f"and this model by {prose:.2g} in prose, with {plain(real.bpw)} bits for each weight."
    )
    if min(prose, large.kl) < small.total.kl:
        return words
    return f"{words} The demo model moves least: its predictions are vague, and vague predictions change little."


def beside_svg(found: Survey, alone: bool, sweep: Sweep | None, theme: str = "light", plane: Plane = WIDE) -> str:
    """Bits against KL divergence, both by doubling: the real model in each register, the demo model, and Llama-3-8B."""
    below = [one for one in found.ladder(alone)[1:] if one.bpw < LEFT_OUT]
    lines = {name: [(one.bpw, one.registers[name].kl, one.name) for one in below] for name in REGISTERS}
    others = {"Llama-3-8B, published": _published(), "demo model": _demo(sweep)}
    everything = [place for line in (*lines.values(), *others.values()) for place in line]
    x = plane.across([bits for bits, _, _ in everything])
    y = plane.up([kl for _, kl, _ in everything])
    ticks = [t for t in (1.5, 2, 3, 4, 6, 8) if x.inside(t)]
    marks = frame(plane, x, y, ticks, y.decades(), ("bits per weight", "mean KL divergence, nats"), theme)
    colours = {name: palette.ROLES[HUES[name]].colour(theme) for name in REGISTERS}
    ends = []
    for name, line in {**lines, **others}.items():
        if not line:
            continue
        colour, dashed = colours.get(name, palette.MUTED[theme]), name not in lines
        marks.append(_line([(x(bits), y(kl)) for bits, kl, _ in line], colour, dashed))
        marks += [
            _dot(x(bits), y(kl), colour, f"{name}, {one}: {kl:.3g} nats, {plain(bits)} bits") for bits, kl, one in line
        ]
        ends.append((x(line[-1][0]), y(line[-1][1]), name if dashed else f"SmolLM2, {name}"))
    marks += names(plane, ends, palette.INK[theme], palette.PANEL[theme])
    return whole(
        plane, marks, "Bits per weight against KL divergence: a real model, the demo model and Llama-3-8B", theme
    )


def _line(points: Sequence[tuple[float, float]], colour: str, dashed: bool) -> str:
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _dot(x: float, y: float, colour: str, words: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"><title>{escape(words)}</title></circle>'


def _published() -> list[tuple[float, float, str]]:
    """Llama-3-8B's recipes with an importance matrix, from many bits to few."""
    found = [(LLAMA_3_8B_BPW[q.recipe], q.kl, q.recipe) for q in LLAMA_3_8B if q.imatrix and q.recipe in LLAMA_3_8B_BPW]
    return sorted(found, reverse=True)


def _demo(sweep: Sweep | None) -> list[tuple[float, float, str]]:
    """The demo model's recipes on the frontier, from many bits to few."""
    best = sweep.frontier() if sweep else ()
    return sorted(((m.bpw, m.total.kl, m.recipe) for m in best if m.total.kl > 0 and m.bpw < LEFT_OUT), reverse=True)
