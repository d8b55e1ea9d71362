"""Points in a plane as SVG that stands alone: axes, their ticks, and names beside points."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from quantlib.figures import palette


@dataclass(frozen=True)
class Plane:
    """How large a picture is, and the margins around its points, in pixels."""

    width: int
    height: int
    left: int
    right: int
    top: int = 34
    bottom: int = 56

    def across(self, values: Sequence[float], even: bool = False) -> "Axis":
        """The axis from left to right."""
        return Axis(values, self.left, self.width - self.right, even)

    def up(self, values: Sequence[float], spare: float = 0) -> "Axis":
        """The axis from the bottom up, which leaves `spare` pixels below its lowest value."""
        return Axis(values, self.height - self.bottom - spare, self.top)


WIDE = Plane(860, 480, 76, 24)
NARROW = Plane(400, 540, 76, 12)  # what a phone shows whole, in letters as large as the page's


def for_screens(draw: Callable[[Plane], str]) -> str:
    """A picture for wide windows and one for narrow ones; a style sheet shows one of the two."""
    return f'<div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>'


class Axis:
    """Values to places, by their logarithm or with `even` as they are, with a margin on both sides."""

    def __init__(self, values: Sequence[float], start: float, stop: float, even: bool = False):
        self.even = even
        low, high = (self._at(f(values)) if values else e for f, e in ((min, 0.0), (max, 1.0)))
        margin = 0.06 * (high - low) or 0.1
        self.low, self.high, self.start, self.stop = low - margin, high + margin, start, stop

    def _at(self, value: float) -> float:
        return value if self.even else log10(value)

    def __call__(self, value: float) -> float:
        return self.start + (self._at(value) - self.low) / (self.high - self.low) * (self.stop - self.start)

    def inside(self, value: float) -> bool:
        return self.low <= self._at(value) <= self.high

    def decades(self) -> list[float]:
        """Powers of ten within, and 3 times those where there are few."""
        powers = [float(f"1e{n}") for n in range(floor(self.low), ceil(self.high) + 1)]
        ticks = [t for p in powers for t in ((p, 3 * p) if self.high - self.low < 4 else (p,))]
        return [t for t in ticks if self.inside(t)]

    def sizes(self) -> list[float]:
        """1, 2, 3, 5 and 7 times the powers of ten within, and equal steps where there are few of these."""
        ticks = (n * 10.0**power for power in range(floor(self.low), ceil(self.high) + 1) for n in (1, 2, 3, 5, 7))
        found = [t for t in ticks if self.inside(t)]
        within = Axis([10**self.low, 10**self.high], self.start, self.stop, even=True)
        return found if len(found) > 2 else [t for t in within.steps() if t > 0 and self.inside(t)]

    def steps(self) -> list[float]:
        """Four to ten equal steps of 1, 2 or 5 times a power of ten, on an even axis."""
        rough = (self.high - self.low) / 9
        power = 10.0 ** floor(log10(rough))
        step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
        return [n * step for n in range(ceil(self.low / step), floor(self.high / step) + 1)]


def frame(
    plane: Plane, x: Axis, y: Axis, across: Iterable[float], up: Iterable[float], labels: tuple[str, str], theme: str
) -> list[str]:
    """The ground with a line at every tick, and what the axes are called."""
    rule, panel = palette.RULE[theme], palette.PANEL[theme]
    right, foot = plane.width - plane.right, plane.height - plane.bottom
    marks = [f'<rect width="{plane.width}" height="{plane.height}" fill="{panel}"/>']
    marks += [
        f'<path d="M{x(t):.1f} {plane.top}V{foot}" stroke="{rule}"/>'
        f'<text x="{x(t):.1f}" y="{foot + 20}" text-anchor="middle">{t:g}</text>'
        for t in across
    ]
    marks += [
        f'<path d="M{plane.left} {y(t):.1f}H{right}" stroke="{rule}"/>'
        f'<text x="{plane.left - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{plain(t)}</text>'
        for t in up
    ]
    return [
        *marks,
        f'<text x="{(plane.left + right) / 2}" y="{plane.height - 12}" text-anchor="middle">{escape(labels[0])}</text>',
        f'<text transform="translate(18 {(plane.top + foot) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(labels[1])}</text>",
    ]


Place = tuple[float, float, str]
LETTER = 7.4  # width of a letter, on average
CLOSE = 18  # a name further from its point than this has a line to it
TURNS = ((1, -0.5), (-1, 0.9), (-1, -0.5), (1, 0.9), (0.2, -1), (0.2, 1.2), (-0.2, -1), (-0.2, 1.2))


def names(plane: Plane, places: Sequence[Place], ink: str, halo: str, points: Sequence[tuple] = ()) -> list[str]:
    """A name beside each point: nearest first, and where that is taken further away, with a line to its point.

    No name covers another, nor one of `points`, as long as the plane has room; then it stands where it covers least.
    """
    written: list[tuple[float, float, float]] = []
    marks = []
    for x, y, name in places:
        width = LETTER * len(name)
        start, line = _room(plane, x, y, width, written, points)
        written.append((start, start + width, line))
        near = max(start, min(x, start + width))
        if abs(near - x) > CLOSE or abs(line - 4 - y) > CLOSE:
            marks.append(f'<path d="M{x:.1f} {y:.1f}L{near:.1f} {line - 4:.1f}" stroke="{ink}" stroke-opacity="0.5"/>')
        marks.append(
            f'<text x="{start:.1f}" y="{line:.1f}" fill="{ink}" stroke="{halo}" stroke-width="4" '
            f'paint-order="stroke">{escape(name)}</text>'
        )
    return marks


def _room(
    plane: Plane, x: float, y: float, width: float, written: Sequence[tuple], points: Sequence[tuple]
) -> tuple[float, float]:
    """Where a name of this width begins, and its line: the first place that is free, else the one that covers least."""
    found = []
    right, foot = plane.width - plane.right, plane.height - plane.bottom
    for away in (10, 24, 40, 58, 78, 100):
        for across, up in TURNS:
            start = x + away * across if across > 0 else x + away * across - width
            line = y + 4 + away * up
            if start < plane.left or start + width > right or not plane.top + 10 < line < foot - 4:
                continue
            covered = sum(abs(line - other) < 15 and start < b + 4 and a < start + width + 4 for a, b, other in written)
            covered += sum(start - 6 < a < start + width + 6 and line - 16 < b < line + 6 for a, b in points)
            if not covered:
                return start, line
            found.append((covered, away, start, line))
    return min(found)[2:] if found else (min(max(x + 10, plane.left), right - width), y - 6)


def whole(plane: Plane, marks: Sequence[str], title: str, theme: str) -> str:
    """The picture, which is called `title`."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plane.width} {plane.height}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13" '
        f'fill="{palette.MUTED[theme]}">{"".join(marks)}</svg>'
    )


def plain(value: float) -> str:
    """A tick as people write it: 0.01, and 10⁻⁵ where zeros would fill the margin."""
    if value >= 1e-4:
        return f"{value:g}"
    return readable(value, 1).removeprefix("1·")


def readable(value: float, digits: int = 2) -> str:
    """A number with so many digits as people write it: 0.0037, 65,504, and 1.5·10⁻⁵ for 1.5e-05."""
    mantissa, _, power = f"{value:,.{digits}g}".partition("e")
    if not power:
        return mantissa
    return f"{mantissa}·10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
