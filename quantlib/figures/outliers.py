"""Outliers of real weights and activations, and what clipping them costs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.runs import kind_of, row_names
from quantlib.formats.granularity import PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.lm import Model
from quantlib.lm.activations import Activations
from quantlib.methods.rtn import AbsMax, LeastSquares, Percentile, round_to_nearest
from quantlib.metrics import compare
from quantlib.recipes import layer_of


def clipping(x: np.ndarray, bits: int) -> list[dict]:
    """Rows (rows, n) with one scale each, chosen in four ways: what each clips, and the error that it leaves."""
    form, rows = IntegerFormat(bits), PerGroup(x.shape[-1])
    choices = (
        ("cover all (absmax)", AbsMax()),
        ("99.9th percentile", Percentile(99.9)),
        ("99th percentile", Percentile(99.0)),
        ("least squared error", LeastSquares(steps=40, smallest=0.3)),
    )
    found = []
    for name, choice in choices:
        result = round_to_nearest(x, form, rows, choice)
        reach = result.scales.reshape(-1, 1) * form.highest
        clipped = float(np.mean(np.abs(x) > reach * (1 + 0.5 / form.highest)))
        loss = compare(x, result.decoded)
        found.append({"scale": name, "clipped": clipped, "relative error": loss.relative, "SQNR, dB": loss.sqnr})
    return found


def weight_map(model: Model) -> list[dict]:
    """Of each matrix inside the layers: its largest weight in units of its own root mean square."""
    rows = []
    for name, w in model.weights.items():
        if (layer := layer_of(name)) is None or len(w.shape) != 2:
            continue
        x = model.weight(name)
        rms = float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
        rows.append({"name": name, "kind": kind_of(name), "layer": layer, "largest": float(np.abs(x).max()) / rms})
    return rows


def weight_map_figure(rows: Sequence[dict], theme: str = "light") -> go.Figure:
    """Kinds of matrix from top to bottom, layers from left to right; the deeper, the larger its largest weight."""

    @dataclass(frozen=True)
    class Named:
        name: str

    kinds = row_names([Named(row["name"]) for row in rows])
    layers = max(row["layer"] for row in rows) + 1
    grid = np.full((len(kinds), layers), np.nan)
    for row in rows:
        grid[kinds.index(row["kind"]), row["layer"]] = row["largest"]
    return _heatmap(grid, kinds, "layer", "times the typical weight", "%{y}, layer %{x}: %{z:.1f} ×", theme, text=True)


def channel_figure(seen: Activations, matrix: str, theme: str = "light") -> go.Figure:
    """The largest |x| of every input channel of one kind of matrix, a row for each layer."""
    names = sorted((n for n in seen.inputs if kind_of(n) == matrix and layer_of(n) is not None), key=layer_of)
    grid = np.stack([seen.inputs[name].reach for name in names])
    labels = [f"layer {layer_of(name)}" for name in names]
    return _heatmap(grid, labels, "input channel", "largest |x|", "%{y}, channel %{x}: %{z:.2f}", theme)


def _heatmap(grid, labels, across: str, bar: str, hover: str, theme: str, text: bool = False) -> go.Figure:
    high = float(np.nanpercentile(grid, 99.7))
    figure = go.Figure(
        go.Heatmap(
            z=grid, y=labels, zmin=0, zmax=high, hovertemplate=hover + "<extra></extra>",
            colorscale=[[0, palette.PAPER[theme]], [1, palette.ROLES["error"].colour(theme)]],
            xgap=2 * text, ygap=2 if text else 1,
            colorbar={"title": {"text": bar, "side": "right"}, "thickness": 10, "outlinewidth": 0},
        )
    )  # fmt: skip
    for (row, column), value in np.ndenumerate(grid) if text else ():
        share = min(1.0, value / high) if np.isfinite(value) else 0.0
        ground = palette.mixed(palette.PAPER[theme], palette.ROLES["error"].colour(theme), share)
        figure.add_annotation(
            x=column, y=labels[row], text=f"{value:.0f}", showarrow=False,
            font={"color": palette.written_on(ground, theme), "size": 12},
        )  # fmt: skip
    style.apply(figure, theme, height=64 + 30 * len(labels))
    figure.update_xaxes(title=across)
    figure.update_yaxes(autorange="reversed", tickfont={"color": palette.INK[theme]})
    return figure


def outlier_csv(seen: Activations) -> str:
    """The largest |x| of every channel of every matrix, as CSV."""
    lines = ["matrix,channel,largest"]
    lines += [f"{name},{i},{x:.6g}" for name, ranges in seen.inputs.items() for i, x in enumerate(ranges.reach)]
    return "\n".join(lines) + "\n"
