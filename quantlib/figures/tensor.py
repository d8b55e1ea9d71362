"""One tensor's weights as pictures: how they are distributed, and how far each channel reaches."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.weights import Sample

BINS = 121
OUTLIER = 6.0  # in units of the root mean square
MOST_MARKED = 200
MOST_CHANNELS = 960


@dataclass(frozen=True, eq=False)
class Distribution:
    """Counts (BINS,) between edges (BINS + 1,); outliers: the values beyond OUTLIER times the root mean square."""

    counts: np.ndarray
    edges: np.ndarray
    outliers: np.ndarray
    rms: float
    seen: int
    total: int
    not_finite: int


def distribution(sample: Sample) -> Distribution:
    """How the weights of a sample are distributed."""
    x = sample.values[np.isfinite(sample.values)].astype(np.float64)
    rms = float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0
    top = float(np.abs(x).max()) if x.size else 0.0
    counts, edges = np.histogram(x, BINS, (-top, top) if top else (-1.0, 1.0))
    far = x[np.abs(x) > OUTLIER * rms]
    marked = far[np.argsort(-np.abs(far))]
    return Distribution(counts, edges, marked, rms, sample.seen, sample.total, sample.seen - x.size)


def distribution_figure(found: Distribution, theme: str) -> go.Figure:
    """The histogram on a logarithmic axis, on which rare large weights can be seen, with a mark for each of those."""
    middle = (found.edges[:-1] + found.edges[1:]) / 2
    bars = go.Bar(
        x=middle, y=found.counts, width=np.diff(found.edges), name="weights",
        marker={"color": palette.ROLES["code"].colour(theme), "line": {"width": 0}},
        hovertemplate="%{y:,} weights near %{x:.4g}<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    if found.outliers.size:
        shown = found.outliers[:MOST_MARKED]
        figure.add_scatter(
            x=shown, y=np.full(shown.size, 0.7), mode="markers", name=f"beyond {OUTLIER:g} × rms",
            marker={"symbol": "triangle-up", "size": 9, "color": palette.ROLES["error"].colour(theme)},
            hovertemplate="outlier %{x:.4g}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(type="log", title_text="weights", dtick=1)
    figure.update_xaxes(title_text="value", rangemode="normal")
    return style.apply(figure, theme, 300)


@dataclass(frozen=True, eq=False)
class Channels:
    """Smallest and largest weight of each channel, a "row" or a "column"; `every`: how many channels a point joins."""

    low: np.ndarray
    high: np.ndarray
    along: str
    every: int


def channels(x: np.ndarray, along: str) -> Channels:
    """The range of each channel of x (rows, columns); of many, neighbours are joined and the extremes kept."""
    axis = 1 if along == "row" else 0
    low, high = x.min(axis), x.max(axis)
    every = max(1, -(-low.size // MOST_CHANNELS))
    starts = np.arange(0, low.size, every)
    return Channels(np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts), along, every)


def channels_figure(found: Channels, theme: str) -> go.Figure:
    """A band from the smallest to the largest weight of each channel: outlier channels stick out."""
    at = np.arange(found.low.size) * found.every
    colour = palette.ROLES["scale"].colour(theme)
    figure = go.Figure()
    figure.add_scatter(x=at, y=found.high, mode="lines", line={"width": 1, "color": colour}, name="largest")
    figure.add_scatter(
        x=at, y=found.low, mode="lines", line={"width": 1, "color": colour}, name="smallest",
        fill="tonexty", fillcolor=f"rgba({','.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))},0.25)",
    )  # fmt: skip
    figure.update_xaxes(title_text=f"{found.along}")
    figure.update_yaxes(title_text="range of weights")
    figure.update_layout(showlegend=False)
    return style.apply(figure, theme, 240)
