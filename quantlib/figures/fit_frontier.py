"""Size against quality for one machine: the memory that every recipe needs, and what it costs."""

from collections.abc import Mapping
from html import escape

from quantlib.figures import palette
from quantlib.figures.fitting import GB
from quantlib.figures.frontier import BEYOND, MANY_BITS
from quantlib.figures.plane import LETTER, WIDE, Axis, Plane, frame, names, plain, whole
from quantlib.fit import Answer
from quantlib.fit.advice import Option
from quantlib.fit.amounts import gb

Point = tuple[Option, float]
LABELS = "memory needed, GB", "KL divergence from the original, nats"
NAMED = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS", "IQ3_XXS", "IQ2_XXS", "IQ1_S")  # before others
MADE = {True: ("circle", "made with an importance matrix"), False: ("square", "made without")}
HERE = "the demo model, measured"


def frontier_svg(answer: Answer, measured: Mapping[str, float], theme: str = "light", plane: Plane = WIDE) -> str:
    """Memory that each recipe needs against its KL divergence: published, estimated with its range, and measured here.

    measured: KL by recipe of the demo model; may be empty. What fits is filled, the advice has a ring, and a dashed
    line stands where the memory ends. Lower and further left is better.
    """
    memory = answer.machine.usable
    points = [(option, option.cost.kl) for option in answer.options if option.cost.kl > 0]
    lossy = [(o, measured[o.recipe]) for o, _ in points if not o.imatrix and measured.get(o.recipe, 0) > 0]
    here = [point for point in lossy if point[0].weighed.bpw < MANY_BITS]
    x = plane.across([option.total / GB for option, _ in points])
    y = plane.up([kl for option, _ in points for kl in (option.cost.low, option.cost.high)], BEYOND)
    beyond = [(o, kl) for o, kl in lossy if o.weighed.bpw >= MANY_BITS and x.inside(o.total / GB)]
    ink, muted, panel = palette.INK[theme], palette.MUTED[theme], palette.PANEL[theme]
    foot = plane.height - plane.bottom
    marks = frame(plane, x, y, x.sizes(), y.decades(), LABELS, theme)
    if x.inside(memory / GB):
        at = x(memory / GB)
        marks.append(
            f'<path d="M{at:.1f} {plane.top}V{foot}" stroke="{ink}" stroke-width="1.5" stroke-dasharray="5 4"/>'
            f'<text x="{at:.1f}" y="{plane.top - 6}" text-anchor="middle" fill="{ink}">{gb(memory)}</text>'
        )
    in_turn = sorted(points, key=lambda point: (point[0] is not answer.option, point[0].recipe not in NAMED))
    named: dict[str, Point] = {}
    for option, kl in in_turn:
        named.setdefault(option.recipe, (option, kl))
    places = [(x(option.total / GB), y(kl), recipe) for recipe, (option, kl) in named.items()]
    marks += names(plane, places, ink, panel, [(x(option.total / GB), y(kl)) for option, kl in [*points, *here]])
    blue, brown = (palette.ROLES[role].colour(theme) for role in ("super-scale", "code"))
    marks += [_range(option, x, y, brown) for option, _ in points if option.cost.low < option.cost.high]
    marks += [_mark(point, x, y, "diamond", blue, panel, HERE) for point in here if y.inside(point[1])]
    marks += [_mark(point, x, y, *_of(point[0], brown), panel, _whose(point[0])) for point in points]
    marks += [
        f'<circle cx="{x(option.total / GB):.1f}" cy="{y(kl):.1f}" r="11" fill="none" stroke="{ink}" stroke-width="2"/>'
        for option, kl in points
        if option is answer.option
    ]
    for option, kl in beyond:
        words = f"{option.recipe}, the demo model: {plain(kl)} ↓"
        half = LETTER * len(words) / 2
        at = min(max(x(option.total / GB), plane.left + half), plane.width - plane.right - half)
        marks.append(f'<text x="{at:.1f}" y="{foot - 8}" text-anchor="middle" fill="{muted}">{escape(words)}</text>')
    # where no point is: below on a wide picture, above on a narrow one, in which points reach the lower left
    start, line = (plane.left + 24, foot - 88) if plane is WIDE else (plane.width - plane.right - 215, plane.top + 16)
    for row, made in enumerate(MADE.values()):
        marks += _legend(start, line + 22 * row, _shape(made[0], brown, brown), made[1])
    if here:
        marks += _legend(start, line + 44, _shape("diamond", blue, blue), HERE)
    return whole(plane, marks, f"{len(points)} recipes: {LABELS[0]}, and {LABELS[1]}", theme)


def _of(option: Option, colour: str) -> tuple[str, str]:
    return MADE[option.imatrix][0], colour


def _whose(option: Option) -> str:
    made = MADE[option.imatrix][1]
    return f"{made}, {'published' if option.cost.published else 'estimated'}"


def _range(option: Option, x: Axis, y: Axis, colour: str) -> str:
    at = x(option.total / GB)
    return (
        f'<path class="range" d="M{at:.1f} {y(option.cost.low):.1f}V{y(option.cost.high):.1f}" stroke="{colour}" '
        'stroke-width="3" opacity="0.22"/>'
    )


def _shape(symbol: str, colour: str, fill: str) -> str:
    """A circle, a square or a diamond around the origin."""
    drawn = {
        "circle": '<circle r="5"',
        "square": '<rect x="-4.5" y="-4.5" width="9" height="9"',
        "diamond": '<path d="M0 -6L6 0L0 6L-6 0Z"',
    }[symbol]
    return f'{drawn} fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'


def _mark(point: Point, x: Axis, y: Axis, symbol: str, colour: str, panel: str, whose: str) -> str:
    option, kl = point
    said = f"{option.recipe}: {gb(option.total)}, {'fits' if option.fits else 'does not fit'}; KL {kl:.4g}, {whose}"
    return (
        f'<g transform="translate({x(option.total / GB):.1f} {y(kl):.1f})"><title>{escape(said)}</title>'
        f"{_shape(symbol, colour, colour if option.fits else panel)}</g>"
    )


def _legend(x: float, y: float, shape: str, words: str) -> tuple[str, str]:
    return (
        f'<g transform="translate({x} {y})">{shape}</g>',
        f'<text x="{x + 14}" y="{y + 4}">{escape(words)}</text>',
    )
