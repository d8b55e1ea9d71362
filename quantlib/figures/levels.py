"""The levels that a format leaves to weights, and where each weight came to rest: the picture of rounding."""

from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

import numpy as np

from quantlib import formats
from quantlib.formats import Format
from quantlib.metrics import Loss, compare


@dataclass(frozen=True)
class Rest:
    """weights (n,), stored (n,), and levels (count, n): all values that each weight could have become.

    levels has no rows for float formats, whose values lie too close together to be drawn.
    """

    format: Format
    weights: np.ndarray
    stored: np.ndarray
    levels: np.ndarray
    nbytes: int

    @property
    def loss(self) -> Loss:
        return compare(self.weights, self.stored)

    def first(self, n: int) -> "Rest":
        """The same picture of the first n weights only."""
        return replace(self, weights=self.weights[:n], stored=self.stored[:n], levels=self.levels[:, :n])


def rest(x: np.ndarray, format_name: str) -> Rest:
    """Quantize a row x (n,) and find its reachable levels: the decode formula at every code, the scales held fixed."""
    format = formats.get(format_name)
    if format.kind == "float":
        data = format.quantize(x)
        return Rest(format, x, format.dequantize(data), np.empty((0, x.size), np.float32), data.size)
    data = format.quantize_reference(x)  # for one row the reference is quicker than loading the kernels
    codes = format.unpack(data.reshape(-1, format.nbytes))  # {field: (blocks, count)}
    stored = format.decode(codes).reshape(-1)
    field = next(field for field in format.layout.fields if field.role == "code")
    lowest = -(1 << field.width - 1) if field.stored.kind == "i" else 0
    levels = [
        format.decode({**codes, field.name: np.full_like(codes[field.name], lowest + step)}).reshape(-1)
        for step in range(1 << field.width)
    ]
    return Rest(format, x, stored, np.stack(levels), data.size)


WIDTH, HEIGHT, MARGIN, FOOT = 960, 340, 8, 26
MOST_LINES = 40  # beyond that the levels of a block are drawn as a band

LEGEND = (
    '<p class="legend"><span><b class="was">○</b> where a weight was</span> '
    '<span><b class="now">●</b> where it is stored</span> <span><b class="way">┃</b> the error</span> '
    '<span><b class="level">━</b> the levels it could choose from</span></p>'
)


def levels_svg(picture: Rest, title: str) -> str:
    """One column a weight: a ring where it was, a dot where it is stored, the way between, and the levels as lines.

    Colours come from the page's style sheet by class: level, was, way, now.
    """
    n = picture.weights.size
    top = float(np.abs(picture.weights).max()) * 1.08 or 1.0
    step = WIDTH / n

    def y(value: float) -> float:
        return round(MARGIN + (HEIGHT - FOOT - 2 * MARGIN) * (1 - float(value) / top) / 2, 1)

    marks = []
    for i in range(n):
        at, was, now = round((i + 0.5) * step, 1), y(picture.weights[i]), y(picture.stored[i])
        marks.append(f'<path class="way" d="M{at} {was}V{now}"/>')
        marks.append(
            f'<circle class="was" cx="{at}" cy="{was}" r="3.4"/><circle class="now" cx="{at}" cy="{now}" r="2.4"/>'
        )
    zero = f'<path class="zero" d="M0 {y(0)}H{WIDTH}"/>'
    return (
        f'<svg class="levels" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{zero}{''.join(_level_lines(picture.levels, step, top, y))}{''.join(marks)}</svg>"
    )


def _level_lines(levels: np.ndarray, step: float, top: float, y) -> list[str]:
    """A path for each run of weights that share their levels."""
    paths = []
    for key, group in groupby(range(levels.shape[1]), key=lambda i: levels[:, i].tobytes()):
        if not key:
            continue
        run = list(group)
        left, right = run[0] * step + 1.5, (run[-1] + 1) * step - 1.5
        values = np.unique(levels[:, run[0]])
        if values.size > MOST_LINES:
            low, high = max(values[0], -top), min(values[-1], top)
            paths.append(f'<path class="band" d="M{left:.1f} {y(low)}H{right:.1f}V{y(high)}H{left:.1f}Z"/>')
        else:
            lines = "".join(f"M{left:.1f} {y(v)}H{right:.1f}" for v in values if abs(v) <= top)
            paths.append(f'<path class="level" d="{lines}"/>')
        words = f"{len(run)} weights, one scale" if len(run) > 16 else f"{len(run)}"
        paths.append(f'<path class="brace" d="M{left:.1f} {HEIGHT - FOOT}v5H{right:.1f}v-5"/>')
        paths.append(f'<text class="run" x="{(left + right) / 2:.1f}" y="{HEIGHT - 6}">{words}</text>')
    return paths
