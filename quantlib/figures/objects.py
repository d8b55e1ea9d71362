"""The picture of a value: how a tensor's weights are distributed, what each matrix of a plan or a result gets."""

from collections.abc import Iterable
from functools import singledispatch
from math import prod
from typing import Any

import plotly.graph_objects as go

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.figures import palette, style, tensor, weights
from quantlib.figures.inputs import gguf_of
from quantlib.figures.runs import kind_of, number_of, row_names
from quantlib.inspection import Comparison
from quantlib.jobs import Plan, RunResult
from quantlib.recipes import quantizable


class Named:
    """A value at the place that a tensor's GGUF name tells."""

    def __init__(self, name: str, value: float, words: str):
        self.name, self.value, self.words = name, value, words


@singledispatch
def figure(thing: Any, theme: str = "light") -> go.Figure:
    """The picture of a tensor, a checkpoint, a plan, a result or a comparison. Raises TypeError for anything else."""
    raise TypeError(f"{type(thing).__name__} has no figure")


@figure.register
def _(thing: Tensor, theme: str = "light") -> go.Figure:
    drawn = tensor.distribution_figure(tensor.distribution(weights.sample(thing)), theme)
    return drawn.update_layout(title_text=thing.name, margin_t=60)


@figure.register
def _(thing: Checkpoint, theme: str = "light") -> go.Figure:
    named = (
        Named(gguf_of(thing, t.name) or t.name, 8 * t.nbytes / max(1, t.size), f"{t.name}: {t.format}")
        for t in thing
        if len(t.shape) > 1
    )
    return _map(named, "bits per weight", theme)


@figure.register
def _(thing: Plan, theme: str = "light") -> go.Figure:
    matrices = (t for t in thing.tensors if quantizable(t.name, t.shape))
    named = (Named(t.name, t.bpw, f"{t.name}: {t.source} → {t.target}, {t.reason}") for t in matrices)
    return _map(named, "bits per weight", theme)


@figure.register
def _(thing: RunResult, theme: str = "light") -> go.Figure:
    matrices = (t for t in thing.tensors if quantizable(t.name, t.shape))
    named = (Named(t.name, 100 * t.loss.relative, f"{t.name}: {t.source} → {t.target}") for t in matrices)
    return _map(named, "relative error, %", theme)


@figure.register
def _(thing: Comparison, theme: str = "light") -> go.Figure:
    rows = (row for row in thing.rows if row.loss and len(row.shape or ()) > 1 and prod(row.shape or ()) > 0)
    named = (
        Named(row.name, 100 * row.loss.relative, f"{row.name}: {row.format} and {row.other_format}")
        for row in rows
        if row.loss
    )
    return _map(named, "relative error, %", theme)


def _map(named: Iterable[Named], title: str, theme: str) -> go.Figure:
    """A heat map: layers from left to right, kinds of matrix from top to bottom, what is outside layers at the left."""
    found = list(named)
    kinds = row_names(found)
    layers = sorted({n for one in found if (n := number_of(one.name)) is not None})
    columns = [None, *layers] if any(number_of(one.name) is None for one in found) else list(layers)
    at = {(kind_of(one.name), number_of(one.name)): one for one in found}
    cells = [[at.get((kind, layer)) for layer in columns] for kind in kinds]
    heat = go.Heatmap(
        x=["outside" if layer is None else str(layer) for layer in columns],
        y=kinds,
        z=[[one.value if one else None for one in line] for line in cells],
        text=[[one.words if one else "" for one in line] for line in cells],
        hovertemplate="%{text}<br>%{z:.3g} " + title + "<extra></extra>",
        colorscale=[[0.0, palette.PANEL[theme]], [1.0, palette.ROLES["code"].colour(theme)]],
        colorbar={"title": {"text": title, "side": "right"}, "outlinewidth": 0, "tickfont": {"size": 12}},
        xgap=1,
        ygap=1,
    )
    drawn = style.apply(go.Figure(heat), theme, 120 + 26 * len(kinds))
    drawn.update_yaxes(autorange="reversed", type="category")
    return drawn.update_xaxes(title_text="layer", type="category")
