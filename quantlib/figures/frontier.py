"""What a bit costs: recipes of one model as points, size against loss, and the frontier that no other beats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from quantlib.figures import palette
from quantlib.lm import Measured, Sweep

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 34, 56
BEYOND = 26  # room for each of what lies beyond the scale
MANY_BITS = 12  # what has more loses so little that its place would squeeze all others into a corner


@dataclass(frozen=True)
class Loss:
    """A measure of loss: its name for the axis, and where a measurement has it."""

    label: str
    of: Callable[[Measured], float]
    stderr: Callable[[Measured], float]


LOSSES = {
    "kl": Loss("mean KL divergence, nats", lambda m: m.total.kl, lambda m: m.total.kl_stderr),
    "ppl": Loss("perplexity - original's", lambda m: m.total.difference, lambda m: m.total.difference_stderr),
    "top": Loss("share of changed top tokens", lambda m: m.total.changed_top, lambda m: m.total.changed_top_stderr),
}


def frontier_svg(sweep: Sweep, loss: str = "kl", chosen: str = "", theme: str = "light") -> str:
    """Recipes as points, bits per weight to the right and loss upward, both by doubling, as SVG that stands alone.

    Points on the frontier are filled and joined. chosen: a recipe whose point is ringed. What lost nothing has no
    place on a scale by doubling and is left out; 16-bit formats stand as marks at the edge, where the scale ends.
    Raises KeyError for an unknown loss.
    """
    measure = LOSSES[loss]
    lossy = [m for m in sweep.measured if measure.of(m) > 0]
    shown = [m for m in lossy if m.bpw < MANY_BITS] or lossy
    beyond = [m for m in lossy if m not in shown]
    ink, muted, rule, panel = (t[theme] for t in (palette.INK, palette.MUTED, palette.RULE, palette.PANEL))
    x = _Axis([m.bpw for m in shown], LEFT, WIDTH - RIGHT)
    y = _Axis([measure.of(m) for m in shown], HEIGHT - BOTTOM - BEYOND * len(beyond), TOP)
    best = [m for m in sweep.frontier() if m in shown]
    marks = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{panel}"/>']
    marks += [
        f'<path d="M{x(t):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{rule}"/>'
        f'<text x="{x(t):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{t:g}</text>'
        for t in (1.5, 2, 3, 4, 6, 8, 16)
        if x.inside(t)
    ]
    marks += [
        f'<path d="M{LEFT} {y(t):.1f}H{WIDTH - RIGHT}" stroke="{rule}"/>'
        f'<text x="{LEFT - 8}" y="{y(t) + 4:.1f}" text-anchor="end">{_plain(t)}</text>'
        for t in y.decades()
    ]
    points = " ".join(f"{x(m.bpw):.1f},{y(measure.of(m)):.1f}" for m in best)
    marks.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5" stroke-dasharray="5 4"/>')
    for m in sorted(shown, key=lambda m: m in best):  # what is best lies on top
        marks.append(_point(m, x(m.bpw), y(measure.of(m)), measure, m in best, m.recipe == chosen, ink, panel))
    marks += [_beyond(i, m, measure, ink) for i, m in enumerate(beyond)]
    marks += _labels([(x(m.bpw), y(measure.of(m)), m.name) for m in best], ink, panel)
    marks.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">bits per weight</text>'
    )
    marks.append(
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(measure.label)}</text>"
    )
    title = f"{len(shown)} recipes of {sweep.source}: bits per weight and {measure.label}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="13" fill="{muted}">'
        f"{''.join(marks)}</svg>"
    )


def _point(m: Measured, x: float, y: float, measure: Loss, best: bool, chosen: bool, ink: str, panel: str) -> str:
    words = f"{m.name}: {m.bpw:.2f} bits per weight, {measure.label} {measure.of(m):.4g} ± {measure.stderr(m):.2g}" + (
        "" if best else "; another recipe is both smaller and better"
    )
    fill = ink if best else panel
    shape = (
        f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{fill}" stroke="{ink}"/>'
        if m.weighted
        else f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{ink}"/>'
    )
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" stroke="{ink}" stroke-width="2"/>' if chosen else ""
    return f"<g><title>{escape(words)}</title>{ring}{shape}</g>"


def _beyond(place: int, m: Measured, measure: Loss, ink: str) -> str:
    """A recipe beyond the corner of the scale: an arrow into it, its name and its numbers."""
    x, y = WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 8 - BEYOND * place
    return (
        f'<path d="M{x - 8} {y - 8}L{x} {y}M{x - 7} {y}H{x}V{y - 7}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
        f'<text x="{x - 14}" y="{y}" text-anchor="end" fill="{ink}">{escape(m.name)}, {m.bpw:.0f} bits: '
        f"{_plain(measure.of(m))}</text>"
    )


def _plain(value: float) -> str:
    """A tick as people write it: 0.01, and 10⁻⁵ where zeros would fill the margin."""
    if value >= 1e-4:
        return f"{value:g}"
    digits, power = f"{value:.0e}".split("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digits == "1" else f"{digits}·10{raised}"


def _labels(places: Sequence[tuple[float, float, str]], ink: str, halo: str) -> list[str]:
    """Names beside their points, those that would cover one already written left out."""
    written: list[tuple[float, float, float]] = []
    marks = []
    for x, y, name in places:
        right = x + 10 + 7 * len(name)
        left = right > WIDTH - RIGHT
        start, stop = (x - 10 - 7 * len(name), x - 10) if left else (x + 10, right)
        if any(abs(y - 6 - other) < 15 and start < b and a < stop for a, b, other in written):
            continue
        written.append((start, stop, y - 6))
        anchor = ' text-anchor="end"' if left else ""
        marks.append(
            f'<text x="{stop if left else start:.1f}" y="{y - 6:.1f}" fill="{ink}"{anchor} '
            f'stroke="{halo}" stroke-width="4" paint-order="stroke">{escape(name)}</text>'
        )
    return marks


class _Axis:
    """Values to places by their logarithm, with a margin on both sides."""

    def __init__(self, values: Sequence[float], start: float, stop: float):
        low, high = (log10(f(values)) if values else e for f, e in ((min, 0.0), (max, 1.0)))
        margin = 0.06 * (high - low) or 0.1
        self.low, self.high, self.start, self.stop = low - margin, high + margin, start, stop

    def __call__(self, value: float) -> float:
        return self.start + (log10(value) - self.low) / (self.high - self.low) * (self.stop - self.start)

    def inside(self, value: float) -> bool:
        return self.low <= log10(value) <= self.high

    def decades(self) -> list[float]:
        """Powers of ten within, and 3 times those where there are few."""
        powers = [float(f"1e{n}") for n in range(floor(self.low), ceil(self.high) + 1)]
        ticks = [t for p in powers for t in ((p, 3 * p) if self.high - self.low < 4 else (p,))]
        return [t for t in ticks if self.inside(t)]
