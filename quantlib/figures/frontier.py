"""What a bit costs: recipes of one model as points, size against loss, and the frontier that no other beats."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from quantlib.figures import palette
from quantlib.figures.plane import WIDE, Plane, frame, names, plain, whole
from quantlib.lm import Measured, Sweep

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


def frontier_svg(sweep: Sweep, loss: str = "kl", chosen: str = "", theme: str = "light", plane: Plane = WIDE) -> str:
    """Recipes as points, bits per weight to the right and loss upward, both by doubling, as SVG that stands alone.

    Points on the frontier are filled and joined. chosen: a recipe whose point is ringed. What lost nothing has no
    place on a scale by doubling and is left out; 16-bit formats stand as marks at the edge, where the scale ends.
    Raises KeyError for an unknown loss.
    """
    measure = LOSSES[loss]
    lossy = [m for m in sweep.measured if measure.of(m) > 0]
    shown = [m for m in lossy if m.bpw < MANY_BITS] or lossy
    beyond = [m for m in lossy if m not in shown]
    ink, panel = palette.INK[theme], palette.PANEL[theme]
    x = plane.across([m.bpw for m in shown])
    y = plane.up([measure.of(m) for m in shown], BEYOND * len(beyond))
    best = [m for m in sweep.frontier() if m in shown]
    ticks = [t for t in (1.5, 2, 3, 4, 6, 8, 16) if x.inside(t)]
    marks = frame(plane, x, y, ticks, y.decades(), ("bits per weight", measure.label), theme)
    points = " ".join(f"{x(m.bpw):.1f},{y(measure.of(m)):.1f}" for m in best)
    marks.append(f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="1.5" stroke-dasharray="5 4"/>')
    places = [(x(m.bpw), y(measure.of(m)), m.name) for m in best]
    dots = [(x(m.bpw), y(measure.of(m))) for m in shown]
    marks += names(plane, places, ink, panel, dots)
    for m in sorted(shown, key=lambda m: m in best):  # what is best lies on top
        marks.append(_point(m, x(m.bpw), y(measure.of(m)), measure, m in best, m.recipe == chosen, ink, panel))
    marks += [_beyond(plane, i, m, measure, ink) for i, m in enumerate(beyond)]
    return whole(plane, marks, f"{len(shown)} recipes of {sweep.source}: bits per weight and {measure.label}", theme)


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


def _beyond(plane: Plane, place: int, m: Measured, measure: Loss, ink: str) -> str:
    """A recipe beyond the corner of the scale: an arrow into it, its name and its numbers."""
    x, y = plane.width - plane.right - 8, plane.height - plane.bottom - 8 - BEYOND * place
    return (
        f'<path d="M{x - 8} {y - 8}L{x} {y}M{x - 7} {y}H{x}V{y - 7}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
        f'<text x="{x - 14}" y="{y}" text-anchor="end" fill="{ink}">{escape(m.name)}, {m.bpw:.0f} bits: '
        f"{plain(measure.of(m))}</text>"
    )
