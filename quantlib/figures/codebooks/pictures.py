"""What the components of the chapter on codebooks are sent, its drawings and its tables."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from quantlib.figures.bars import bar_cell
from quantlib.figures.codebooks.effects import LEVELS, Stored
from quantlib.figures.codebooks.grids import Pairs, Pick
from quantlib.figures.codebooks.marks import BLOCK, Crowd
from quantlib.figures.codebooks.rulers import Lost, Ruler
from quantlib.figures.weights import fp32_bits

POWER = 1_000_000_000  # what the powers of a crowd add up to in the message


def marks_message(
    found: Crowd, rivals: Mapping[str, np.ndarray], token: str, start: np.ndarray, beatable: bool
) -> dict:
    """For the marks: whole numbers. `start` and rivals (count,) are shares; the first rival scores 0, the second 100.

    beatable: whether the second is known not to be the best.
    """
    whole = float(found.power.sum()) or 1.0
    return {
        "token": token,
        "counts": found.counts.tolist(),
        "power": np.rint(found.power / whole * POWER).astype(np.int64).tolist(),
        "total": found.total,
        "start": np.rint(start * 1e6).astype(int).tolist(),
        "beatable": beatable,
        "rivals": [
            {"name": name, "marks": np.rint(marks * 1e6).astype(int).tolist()} for name, marks in rivals.items()
        ],
    }


TILE, TALL, HEAD, SIDE, GAP = 264, 128, 30, 96, 14


def effects_svg(x: np.ndarray, found: Mapping[tuple[str, bool], Stored], at: int) -> str:
    """Block `at` of x (rows, n) on every set of levels, with a plain scale above and a searched one below."""
    block = x.reshape(-1, BLOCK)[at]
    top = float(np.abs(block).max()) * 1.2 or 1.0
    names = {"even": "even levels", "NF4": "levels of NF4", "IQ4_NL": "levels of IQ4_NL"}
    width, height = SIDE + len(LEVELS) * (TILE + GAP), HEAD + 2 * (TALL + 40)
    marks = [
        f'<text class="head" x="{SIDE + i * (TILE + GAP) + TILE / 2}" y="18">{escape(names[name])}</text>'
        for i, name in enumerate(LEVELS)
    ]
    for (name, searched), stored in found.items():
        left, above = SIDE + list(LEVELS).index(name) * (TILE + GAP), HEAD + searched * (TALL + 40)
        marks.append(_tile(block, stored, at, top, left, above))
        if name == "even":
            words = ("searched", "scale") if searched else ("plain", "scale")
            marks += [
                f'<text class="head" x="{SIDE / 2 - 6}" y="{above + TALL / 2 + 20 * i - 4}">{word}</text>'
                for i, word in enumerate(words)
            ]
    title = "; ".join(
        f"{names[n]}, {'searched' if s else 'plain'} scale: {v.relative:.2%}" for (n, s), v in found.items()
    )
    return (
        f'<svg class="levels effects" viewBox="0 0 {width} {height}" role="img" aria-label="Relative error: '
        f'{escape(title, quote=True)}">{"".join(marks)}</svg>'
    )


def _tile(block: np.ndarray, stored: Stored, at: int, top: float, left: float, above: float) -> str:
    def y(value: float) -> str:
        return f"{above + TALL * (1 - float(np.clip(value, -top, top)) / top) / 2:.1f}"

    step = TILE / BLOCK
    levels = LEVELS[stored.levels] * float(stored.scales[at])
    lines = "".join(f"M{left} {y(level)}h{TILE}" for level in levels if abs(level) <= top)
    dots = []
    for i, (was, now) in enumerate(zip(block, stored.decoded.reshape(-1, BLOCK)[at], strict=True)):
        x = f"{left + (i + 0.5) * step:.1f}"
        dots.append(
            f'<path class="way" d="M{x} {y(was)}V{y(now)}"/><circle class="now" cx="{x}" cy="{y(was)}" r="1.9"/>'
        )
    return (
        f'<rect class="tile" x="{left}" y="{above}" width="{TILE}" height="{TALL}" rx="4"/>'
        f'<path class="level" d="{lines}"/>{"".join(dots)}'
        f'<text class="big" x="{left + TILE / 2}" y="{above + TALL + 24}">{stored.relative:.2%}</text>'
    )


PLOT, MARGIN = 380, 46


def pairs_svg(found: Pairs) -> str:
    """Pairs of real weights as dots; a circle at each pair of magnitudes, as large as the points that begin with it."""
    reach = float(found.magnitudes[-1]) * 1.35

    def at(value: float) -> float:
        return MARGIN + min(float(value), reach) / reach * (PLOT - MARGIN - 8)

    def x(value: float) -> str:
        return f"{at(value):.1f}"

    def y(value: float) -> str:
        return f"{PLOT - at(value):.1f}"

    dots = "".join(f'<circle class="pair" cx="{x(a)}" cy="{y(b)}" r="1.6"/>' for a, b in found.shown)
    room = (at(found.magnitudes[1]) - at(found.magnitudes[0])) * 0.62
    most = float(found.points.max())
    circles, numbers = [], []
    for i, across in enumerate(found.magnitudes):
        for j, up in enumerate(found.magnitudes):
            count = int(found.points[i, j])
            radius = room * (count / most) ** 0.5
            title = f"{count} of {found.size} patterns begin with {across}, {up}"
            place = f'cx="{x(across)}" cy="{y(up)}" r="{radius:.1f}"'
            circles.append(f'<circle class="point" {place}><title>{title}</title></circle>')
            if len(found.magnitudes) < 4:
                numbers.append(f'<text class="count" x="{x(across)}" y="{float(y(up)) + 4:.1f}">{count}</text>')
    ticks = "".join(
        f'<text class="tick" x="{x(m)}" y="{PLOT - MARGIN + 18}">{m}</text>'
        f'<text class="tick" x="{MARGIN - 14}" y="{float(y(m)) + 4:.1f}">{m}</text>'
        for m in found.magnitudes
    )
    label = f"Pairs of weights, and the first two magnitudes of the {found.size} patterns of {found.format}"
    return (
        f'<svg class="pairs" viewBox="0 0 {PLOT + 10} {PLOT}" role="img" aria-label="{label}">'
        f'<rect class="ground" x="{MARGIN}" y="4" width="{PLOT - MARGIN}" height="{PLOT - MARGIN - 4}" rx="5"/>'
        f"{dots}{''.join(circles)}{''.join(numbers)}{ticks}"
        f'<text class="axis" x="{PLOT}" y="{PLOT - 8}">first weight, without its sign, in steps of its scale</text>'
        f'<text class="axis" transform="translate(14 6) rotate(-90)">second weight</text></svg>'
    )


def pick_message(found: Pick, token: str, start: int) -> dict:
    """For the picture of one code: numbers as bit patterns and integers; `start`: the candidate shown first."""
    return {
        "token": token,
        "weights": fp32_bits(found.weights).tolist(),
        "counts": fp32_bits(found.counts).tolist(),
        "signs": found.signs.tolist(),
        "flipped": found.flipped,
        "scale": int(fp32_bits(found.scale)),
        "points": found.points.tolist(),
        "numbers": found.numbers.tolist(),
        "chosen": found.chosen,
        "size": found.size,
        "start": start,
    }


def rulers_message(found: Sequence[Ruler], counted: Crowd, token: str, start: int) -> dict:
    """For the rulers: entries as bit patterns, the histogram as counts, `start` in thousandths of the largest."""
    return {
        "token": token,
        "counts": counted.counts.tolist(),
        "total": counted.total,
        "start": start,
        "rulers": [
            {"name": r.name, "entries": fp32_bits(r.entries).tolist(), "scale": r.scale, "bpw": f"{r.format.bpw:g}"}
            for r in found
        ],
    }


def lost_html(found: Sequence[Lost]) -> str:
    """What each format loses on the tensor: a table with bars."""
    most = max(r.relative for r in found) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{r.name}</th><td>{r.scale}</td><td>{r.bpw:g}</td>"
        f"{bar_cell(r.relative / most)}<td>{r.relative:.2%}</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>format</th><th>its scale</th><th>bits per weight</th>'
        f"<th class='bar'>relative error</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
    )
