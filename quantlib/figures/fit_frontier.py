"""Size against quality for one machine: the memory that every recipe needs, and what it costs."""

from collections.abc import Mapping, Sequence
from html import escape

from quantlib.figures import palette
from quantlib.figures.fitting import GB
from quantlib.figures.frontier import BEYOND, MANY_BITS
from quantlib.figures.plane import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, frame, names, plain, whole
from quantlib.fit import Need
from quantlib.fit.published import quality_of
from quantlib.tables import size

Point = tuple[Need, float]
LABELS = "memory needed, GB", "KL divergence from the original, nats"
NAMED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS", "IQ3_XXS", "IQ2_XXS", "IQ1_S")  # before others
PUBLISHED, HERE = "Llama-3-8B, published", "the demo model, measured"


def frontier_svg(
    needs: Sequence[Need], memory: int, chosen: str | None, measured: Mapping[str, float], theme: str = "light"
) -> str:
    """Memory that each recipe needs against its KL divergence, published of Llama-3-8B and measured here.

    measured: KL by recipe of the demo model; may be empty. What fits is filled, `chosen` has a ring, and a dashed line
    stands where the memory ends. Lower and further left is better.
    """
    published = [(need, row.kl) for need in needs if (row := quality_of(need.recipe))]
    lossy = [(need, measured[need.recipe]) for need in needs if measured.get(need.recipe, 0) > 0]
    here = [point for point in lossy if point[0].weighed.bpw < MANY_BITS]
    x = Axis([need.total / GB for need, _ in published], LEFT, WIDTH - RIGHT, even=True)
    y = Axis([kl for _, kl in [*published, *here]], HEIGHT - BOTTOM - BEYOND, TOP)
    beyond = [(need, kl) for need, kl in lossy if need.weighed.bpw >= MANY_BITS and x.inside(need.total / GB)]
    ink, muted, panel = palette.INK[theme], palette.MUTED[theme], palette.PANEL[theme]
    marks = frame(x, y, x.steps(), y.decades(), LABELS, theme)
    if x.inside(memory / GB):
        at = x(memory / GB)
        marks.append(
            f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{ink}" stroke-width="1.5" stroke-dasharray="5 4"/>'
            f'<text x="{at:.1f}" y="{TOP - 6}" text-anchor="middle" fill="{ink}">{size(memory)}</text>'
        )
    in_turn = sorted(published, key=lambda point: (point[0].recipe != chosen, point[0].recipe not in NAMED))
    places = [(x(need.total / GB), y(kl), need.recipe) for need, kl in in_turn]
    marks += names(places, ink, panel, [(x(need.total / GB), y(kl)) for need, kl in [*published, *here]])
    blue, brown = (palette.ROLES[role].colour(theme) for role in ("super-scale", "code"))
    marks += [_mark(point, x, y, "diamond", blue, panel, memory, HERE) for point in here]
    marks += [_mark(point, x, y, "circle", brown, panel, memory, PUBLISHED) for point in published]
    marks += [
        f'<circle cx="{x(need.total / GB):.1f}" cy="{y(kl):.1f}" r="11" fill="none" stroke="{ink}" stroke-width="2"/>'
        for need, kl in published
        if need.recipe == chosen
    ]
    marks += [
        f'<text x="{x(need.total / GB):.1f}" y="{HEIGHT - BOTTOM - 8}" text-anchor="middle" fill="{muted}">'
        f"{escape(need.recipe)}, the demo model: {plain(kl)} ↓</text>"
        for need, kl in beyond
    ]
    marks += [
        *_legend(LEFT + 24, HEIGHT - BOTTOM - 66, _shape("circle", brown, brown), PUBLISHED),
        *(_legend(LEFT + 24, HEIGHT - BOTTOM - 44, _shape("diamond", blue, blue), HERE) if here else ()),
    ]
    return whole(marks, f"{len(published)} recipes: {LABELS[0]}, and {LABELS[1]}", theme)


def _shape(symbol: str, colour: str, fill: str) -> str:
    """A circle or a diamond around the origin."""
    drawn = '<circle r="5"' if symbol == "circle" else '<path d="M0 -6L6 0L0 6L-6 0Z"'
    return f'{drawn} fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'


def _mark(point: Point, x: Axis, y: Axis, symbol: str, colour: str, panel: str, memory: int, whose: str) -> str:
    need, kl = point
    fits = need.fits(memory)
    words = f"{need.recipe}: {size(need.total)}, {'fits' if fits else 'does not fit'}; KL {kl:.4g}, {whose}"
    return (
        f'<g transform="translate({x(need.total / GB):.1f} {y(kl):.1f})"><title>{escape(words)}</title>'
        f"{_shape(symbol, colour, colour if fits else panel)}</g>"
    )


def _legend(x: float, y: float, shape: str, words: str) -> tuple[str, str]:
    return (
        f'<g transform="translate({x} {y})">{shape}</g>',
        f'<text x="{x + 14}" y="{y + 4}">{escape(words)}</text>',
    )
