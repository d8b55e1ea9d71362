"""The pictures of channels: messages to the component `skyline`, bars of errors, and what they show in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.channels import BITS, PLAIN, THRESHOLDS, Reaches, Study, root_mean_square
from quantlib.figures.quiz import Question
from quantlib.methods.smoothquant import ALPHAS, smoothing_scales

ACTIVATION, WEIGHT = "Largest activation of each channel", "Largest weight of each channel"
NAMES, BAR = 230, 560  # widths in the drawing of errors
MASSIVE = 10.0  # a first token's largest value, in those of all others


@dataclass(frozen=True, eq=False)
class Panel:
    """One row of bars. heights: float (stops, channels), or (1, channels) where no stop changes it, in typical values.

    kept: at each stop the channels that are drawn apart. line: at each stop a height to draw a line at, or 0.
    """

    title: str
    role: str
    heights: np.ndarray
    kept: Sequence[Sequence[int]] = ()
    line: Sequence[float] = ()


@dataclass(frozen=True)
class Readout:
    """A number that follows the slider, by stop, as people read it."""

    title: str
    values: Sequence[str]


def skyline(
    token: str,
    slider: str,
    stops: Sequence[str],
    panels: Sequence[Panel],
    start: int = 0,
    readouts: Sequence[Readout] = (),
    says: Sequence[str] = (),
    words: Sequence[str] = (),
) -> dict:
    """The message: heights in hundredths, as unsigned 32-bit integers, one panel after the other."""
    heights = [np.rint(100 * np.asarray(p.heights, np.float64)).astype("<u4") for p in panels]
    return {
        "token": token,
        "slider": slider,
        "stops": list(stops),
        "start": start,
        "heights": b"".join(h.tobytes() for h in heights),
        "panels": [
            {
                "title": p.title,
                "role": p.role,
                "channels": h.shape[1],
                "moves": len(h) > 1,
                "top": int(h.max()),
                "kept": [[int(c) for c in channels] for channels in p.kept],
                "line": [round(100 * y) for y in p.line],
            }
            for p, h in zip(panels, heights, strict=True)
        ],
        "readouts": [{"title": r.title, "values": list(r.values)} for r in readouts],
        "says": list(says),
        "words": list(words),
    }


def reading(spiky: Study, even: Study) -> dict:
    """One token after the other: what `spiky` reads, its weights, and what `even` reads, in units of their own."""
    panels = [
        Panel(
            f"What the matrix {kind(spiky)} reads (1× is the typical value)",
            "exponent",
            _sizes(spiky),
            [[spiky.largest_channel]] * len(spiky.words),
        ),
        Panel(f"The weights of {kind(spiky)}", "code", (spiky.weight_reach / spiky.typical_weight)[None]),
        Panel(f"What the matrix {kind(even)} reads", "exponent", _sizes(even)),
    ]
    return skyline(
        f"{spiky.model}/{spiky.name}/{even.name}", "Token", spiky.words, panels, start=8, words=spiky.words,
        says=[_said(spiky, even, i) for i in range(len(spiky.words))],
    )  # fmt: skip


def _sizes(one: Study) -> np.ndarray:
    """|x| of the shown tokens in typical values, (shown, inputs)."""
    return np.abs(one.x.astype(np.float32)) / one.typical


def _said(spiky: Study, even: Study, token: int) -> str:
    sizes, others = _sizes(spiky)[token], _sizes(even)[token]
    at = int(sizes.argmax())
    return (
        f"The largest value that {kind(spiky)} reads here is {sizes[at]:.0f} times a typical one, in channel {at}. "
        f"For {kind(even)} it is {others.max():.0f} times, in channel {int(others.argmax())}."
    )


def kind(one: Study) -> str:
    """attn_q, as the chapters call a matrix."""
    return one.name.split(".")[-2]


def keeping(one: Study) -> dict:
    """LLM.int8(): channels that reach the threshold are drawn apart."""
    tried = [t for t in THRESHOLDS if not t or t <= 1.3 * one.reach.max()]
    at = [THRESHOLDS.index(t) for t in tried]
    kept = [one.kept(t) for t in tried]
    rest = [np.where(np.isin(np.arange(one.inputs), k), 0, one.reach).max() for k in kept]
    return skyline(
        f"{one.model}/{one.name}/keep",
        "Threshold",
        [f"{t:g}" if t else "none" for t in tried],
        [Panel(ACTIVATION, "exponent", (one.reach / one.typical)[None], kept,
               [t / one.typical for t in tried])],
        start=tried.index(6.0) if 6.0 in tried else 0,
        readouts=[
            Readout("channels kept in 16 bits", [f"{len(k)} of {one.inputs:,}" for k in kept]),
            Readout("largest value left to 8 bits", [f"{r / one.typical:.1f} × typical" for r in rest]),
            Readout("error of the output", [percent(one.int8[i]) for i in at]),
        ],
    )  # fmt: skip


def moving(one: Study) -> dict:
    """SmoothQuant: activations and weights at every alpha, the first stop being as they are."""
    scales = np.stack([np.ones(one.inputs, np.float32), *(_scales(one, alpha) for alpha in ALPHAS)])
    x = one.reach / scales / np.array([root_mean_square(one.rms / s) for s in scales])[:, None]
    w = one.weight_reach * scales / np.array([root_mean_square(one.weight_rms * s) for s in scales])[:, None]
    errors = [[one.plain[i], *one.smooth[i]] for i in range(len(BITS))]
    return skyline(
        f"{one.model}/{one.name}/move",
        "α",
        ["as they are", *(f"{alpha:.2f}" for alpha in ALPHAS)],
        [Panel(ACTIVATION, "exponent", x), Panel(WEIGHT, "code", w)],
        start=1 + ALPHAS.index(0.5),
        readouts=[
            Readout("largest activation", [f"{row.max():.1f} × typical" for row in x]),
            Readout("largest weight", [f"{row.max():.1f} × typical" for row in w]),
            *(Readout(f"error of the output, {b} bits", [percent(e) for e in errors[i]]) for i, b in enumerate(BITS)),
        ],
    )  # fmt: skip


def _scales(one: Study, alpha: float) -> np.ndarray:
    return smoothing_scales(one.reach, [one.weight_reach[None]], alpha)


def turning(one: Study) -> dict:
    """A rotation over more and more channels, up to all."""
    x, w = one.rotated / one.typical, one.rotated_weight / one.typical_weight
    return skyline(
        f"{one.model}/{one.name}/turn",
        "Channels mixed together",
        [f"{b:,}" for b in one.blocks],
        [
            Panel(ACTIVATION, "exponent", x),
            Panel("Largest weight of each channel", "code", w),
        ],
        start=len(one.blocks) - 1,
        readouts=[
            Readout("largest activation", [f"{row.max():.1f} × typical" for row in x]),
            Readout("largest weight", [f"{row.max():.1f} × typical" for row in w]),
            *(
                Readout(f"error of the output, {b} bits", [percent(e) for e in one.rotation[i]])
                for i, b in enumerate(BITS)
            ),
        ],
    )


def percent(share: float) -> str:
    """A share of the output with two digits, or three from ten percent on."""
    return f"{share:.1%}" if share >= 0.0995 else f"{share:.2%}"


def in_short(spiky: Study, even: Study) -> tuple[str, ...]:
    """What to remember of the two matrices."""
    plain, best = spiky.best(8), min(way for name, way in spiky.best(8).items() if name != PLAIN)
    return (
        f"Of the {spiky.inputs:,} channels that {kind(spiky)} reads, one is {spiky.times:.0f} times the typical value. "
        f"It is the largest at {spiky.steady} of {len(spiky.words)} tokens. "
        + (
            f"{kind(even)}'s largest stays in one channel at only {even.steady} of them."
            if even.steady < spiky.steady
            else f"In {kind(even)} one channel is the largest as often."
        ),
        f"A scale that must reach the spike leaves {percent(plain[PLAIN])} error in the output at 8 bits. The best of "
        f"three ways leaves {percent(best)}.",
        "Keep the spike in 16 bits, move it into the weights, or rotate it away: each leaves the product as it was "
        "before rounding.",
    )


AGREE = ("yes", "no")


def agrees(one: Study) -> str:
    """Whether the same way leaves the least error at 8 and at 4 bits: "yes" or "no"."""
    eight, four = one.best(8), one.best(4)
    return AGREE[min(eight, key=eight.__getitem__) != min(four, key=four.__getitem__)]


def ways_in_words(one: Study) -> str:
    """Which way wins at 8 bits and which at 4."""
    eight, four = one.best(8), one.best(4)
    first, other = min(eight, key=eight.get), min(four, key=four.get)
    gain = eight[PLAIN] / eight[first]
    same = "The same way wins at 4 bits" if first == other else f"At 4 bits it is **{other}**"
    return (
        f"On this layer, at 8 bits, **{first}** leaves the least error: {percent(eight[first])} of the output instead "
        f"of {percent(eight[PLAIN])}, {gain:.1f} times less. {same}, where {percent(four[PLAIN])} become "
        f"{percent(four[other])}."
    )


def questions(studies: Sequence[Study]) -> list[Question]:
    """Which way is best, for matrices whose results no picture has shown, at 8 and at 4 bits."""
    return [_which(one, bits) for one in studies for bits in BITS]


def _which(one: Study, bits: int) -> Question:
    ways = one.best(bits)
    best, plain = min(ways, key=ways.__getitem__), ways[PLAIN]
    reach = float(one.reach.max()) / one.typical
    because = f"It leaves {percent(ways[best])} error in the output. Rounded as they are, it is {percent(plain)}."
    return Question(
        f"{one.name} at {bits} bits; its largest activation is {reach:.0f} times the typical one",
        tuple(ways),
        best,
        because if best != PLAIN else f"No way does better than {percent(plain)}.",
    )


def ways_svg(one: Study, widths: Sequence[int] = BITS) -> str:
    """The output's error by each way, as bars. widths: the bits of activations and weights."""
    parts, y = [], 0
    for bits in widths:
        ways = one.best(bits)
        most, y = max(ways.values()), y + 26
        parts.append(f'<text class="head" x="0" y="{y}">{bits} bits for activations and weights</text>')
        for name, error in ways.items():
            y += 28
            width = max(2.0, BAR * error / most)
            shown = "role-error" if name == PLAIN else "role-code"
            parts.append(
                f'<text x="{NAMES - 12}" y="{y + 5}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{NAMES}" y="{y - 10}" width="{width:.1f}" height="20" rx="3" fill="var(--{shown})"/>'
                f'<text x="{NAMES + width + 10:.1f}" y="{y + 5}">{percent(error)}</text>'
            )
        y += 18
    title = f"The error of the output of {one.name} in {' and '.join(map(str, widths))} bits, by each way"
    return (
        f'<svg class="ways" viewBox="0 0 {NAMES + BAR + 90} {y}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def layers_in_words(layers: Sequence[Reaches]) -> str:
    """How large the largest channel is in every layer, of the first kind and of the second."""
    first, second = layers[:2]
    high, low = first.times.max(axis=1), second.times.max(axis=1)
    wins = int(np.sum(high > low))
    return (
        f"In {wins} of {len(high)} layers the largest channel of {first.kind}'s input is further above its layer's "
        f"typical value than that of {second.kind}'s. The median over the layers is {np.median(high):.0f} times, "
        f"against {np.median(low):.0f}."
    )


def first_in_words(layers: Sequence[Reaches]) -> str:
    """The massive activation of a first token, if one kind of matrix reads one."""
    kind_of, at = max(((one, int(np.argmax(one.first / one.later))) for one in layers), key=lambda p: _massive(*p))
    ratio = _massive(kind_of, at)
    if ratio < MASSIVE:
        return "No layer reads a first token that is far larger than all others."
    return (
        f"One more kind of outlier: **massive activations** of a text's first token. In layer {at}, {kind_of.kind} "
        f"reads a value of {kind_of.first[at]:,.0f} at a first token. At all others the largest is "
        f"{kind_of.later[at]:,.1f}, {ratio:,.0f} times less."
    )


def _massive(one: Reaches, layer: int) -> float:
    return float(one.first[layer] / one.later[layer])


def layers_figure(layers: Sequence[Reaches], theme: str = "light") -> go.Figure:
    """Each layer's largest channel in typical values, for each kind of matrix."""
    figure = go.Figure()
    for one, role in zip(layers, ("error", "exponent"), strict=False):
        figure.add_scatter(
            y=one.times.max(axis=1), mode="lines+markers", name=f"read by {one.kind}",
            customdata=one.times.argmax(axis=1), line={"color": palette.ROLES[role].colour(theme), "width": 2.5},
            hovertemplate="layer %{x}, channel %{customdata}: %{y:.1f} × typical<extra></extra>",
        )  # fmt: skip
    style.apply(figure, theme, height=300)
    figure.update_xaxes(title="layer")
    figure.update_yaxes(title="largest channel, × typical", rangemode="tozero")
    return figure
