"""What a float format keeps of a tensor: where its exponents lie, and what rounding to it changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from quantlib.figures import palette, style

LOWEST, HIGHEST = -30, 19  # the powers of two the picture shows; wider ranges run off its edges


@dataclass(frozen=True, eq=False)
class Exponents:
    """How many weights lie in [2^k, 2^(k+1)) for each power k. `zeros` have none; `strange` are NaN or infinite."""

    powers: np.ndarray  # int (k,)
    counts: np.ndarray  # int (k,)
    zeros: int
    strange: int


def exponents(x: np.ndarray) -> Exponents:
    """Count x (float32, any shape) by floor(log2 |x|)."""
    x = np.asarray(x, np.float32).reshape(-1)
    finite = x[np.isfinite(x)]
    power = np.frexp(finite[finite != 0])[1] - 1
    low, high = (int(power.min()), int(power.max())) if power.size else (0, 0)
    counts = np.bincount(power - low, minlength=high - low + 1)
    return Exponents(np.arange(low, high + 1), counts, int((finite == 0).sum()), x.size - finite.size)


def declaration(fmt) -> dict:
    """What the bit strip needs of a format: its name, exponent bits and fraction bits."""
    return {"name": fmt.name, "e": fmt.exponent_bits, "m": fmt.fraction_bits}


@dataclass(frozen=True)
class Kept:
    """What rounding weights to one format did to them.

    changed: weights that became another number. vanished: nonzero weights that became zero. overflowed: finite weights
    that became infinite. finer: weights around which this format's next value is nearer than in every other compared.
    relative: root of the mean squared relative error over the weights that stayed finite and nonzero.
    """

    name: str
    count: int
    changed: int
    vanished: int
    overflowed: int
    finer: int
    relative: float


def kept(x: np.ndarray, formats: Sequence) -> list[Kept]:
    """Round x (float32, any shape) to each format and count what happened."""
    x = np.asarray(x, np.float32).reshape(-1)
    x = x[np.isfinite(x)]
    gaps = np.stack([_gap(f, x) for f in formats])  # (formats, weights)
    nearest = gaps.min(0)
    alone = (gaps == nearest).sum(0) == 1
    results = []
    for fmt, gap in zip(formats, gaps, strict=True):
        back = fmt.dequantize(fmt.quantize(x))
        stayed = (x != 0) & (back != 0) & np.isfinite(back)
        relative = back[stayed].astype(np.float64) / x[stayed] - 1
        results.append(
            Kept(
                name=fmt.name,
                count=x.size,
                changed=int((back != x).sum()),
                vanished=int(((x != 0) & (back == 0)).sum()),
                overflowed=int(np.isinf(back).sum()),
                finer=int((alone & (gap == nearest)).sum()),
                relative=float(np.sqrt(np.mean(relative**2))) if relative.size else 0.0,
            )
        )
    return results


def _gap(fmt, x: np.ndarray) -> np.ndarray:
    """The distance between storable values around each x: 2^(max(floor(log2|x|), lowest) - fraction bits)."""
    lowest, highest = 1 - fmt.bias, fmt.bias
    power = np.where(x == 0, lowest, np.frexp(x)[1] - 1)
    gap = np.ldexp(np.float32(1), np.maximum(power, lowest) - fmt.fraction_bits)
    return np.where(power > highest, np.float32(np.inf), gap)


def exponent_figure(counted: Exponents, formats: Sequence, theme: str = "light") -> go.Figure:
    """Where a tensor's exponents lie, over the range of each format on the same axis.

    Solid: normal numbers, full precision. Hatched: subnormal numbers, fewer and fewer bits. Beyond: zero or infinity.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.66, 0.34], vertical_spacing=0.04)
    blue = palette.ROLES["exponent"].colour(theme)
    figure.add_bar(
        x=counted.powers,
        y=counted.counts,
        marker={"color": blue, "line": {"width": 0}},
        width=0.86,
        hovertemplate="2<sup>%{x}</sup> ≤ |w| &lt; twice that<br>%{y:,} weights<extra></extra>",
        showlegend=False,
        row=1,
        col=1,
    )
    for fmt in reversed(formats):
        _add_range(figure, fmt, theme)
    style.apply(figure, theme, height=330)
    figure.update_layout(bargap=0.1, barmode="overlay")
    figure.update_yaxes(type="log", title="weights", dtick=1, exponentformat="power", row=1, col=1)
    figure.update_yaxes(showgrid=False, tickfont={"color": palette.INK[theme]}, row=2, col=1)
    figure.update_xaxes(range=[LOWEST - 0.5, HIGHEST + 0.5], zeroline=False)
    ticks = list(range(-30, HIGHEST + 1, 5))
    figure.update_xaxes(
        tickvals=ticks,
        ticktext=[f"2<sup>{power}</sup>" for power in ticks],
        title="size of the weight, |w|",
        row=2,
        col=1,
    )
    return figure


def _add_range(figure: go.Figure, fmt, theme: str) -> None:
    """One row of the lower panel: the powers of two that `fmt` holds with full and with falling precision."""
    lowest, highest = 1 - fmt.bias, fmt.bias
    bands = (("normal", lowest, highest, "", 0.75), ("subnormal", lowest - fmt.fraction_bits, lowest - 1, "/", 0.35))
    for kind, low, high, pattern, opacity in bands:
        shown_low, shown_high = max(low, LOWEST - 1), min(high, HIGHEST + 1)
        if shown_low > shown_high:
            continue
        figure.add_bar(
            y=[fmt.name],
            x=[shown_high - shown_low + 1],
            base=[shown_low - 0.5],
            orientation="h",
            width=0.5,
            opacity=opacity,
            marker={
                "color": palette.ROLES["fraction"].colour(theme),
                "line": {"width": 0},
                "pattern": {
                    "shape": pattern,
                    "fgcolor": palette.ROLES["fraction"].colour(theme),
                    "fillmode": "replace",
                },
            },
            hovertemplate=f"{fmt.name} {kind}: 2<sup>{low}</sup> to 2<sup>{high}</sup><extra></extra>",
            showlegend=False,
            row=2,
            col=1,
        )


def exponents_csv(counted: Exponents) -> str:
    """The counts as CSV: power, weights with 2^power ≤ |w| < 2^(power + 1)."""
    lines = (f"{power},{count}" for power, count in zip(counted.powers, counted.counts, strict=True))
    return "power,weights\n" + "\n".join(lines) + f"\nzero,{counted.zeros}\n"
