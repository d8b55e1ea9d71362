"""Pictures of plans and finished runs: where the bytes go, and where the error sits."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from quantlib.jobs import Plan, TensorResult
from quantlib.tables import size


def size_bars(plans: Sequence[Plan], chosen: str) -> str:
    """Files of one model under several recipes as bars to scale, as HTML; classes bar and chosen carry the colour."""
    largest = max(plan.nbytes for plan in plans)
    rows = [
        f'<div class="size-row{" chosen" if plan.recipe.name == chosen else ""}"><span class="name">{escape(plan.recipe.name)}'
        f'</span><span class="track"><span class="bar" style="width:{100 * plan.nbytes / largest:.2f}%"></span></span>'
        f'<span class="size">{size(plan.nbytes)}</span><span class="bpw">{plan.bpw:.2f} bpw</span></div>'
        for plan in plans
    ]
    return f'<div class="sizes" role="img" aria-label="File sizes by recipe">{"".join(rows)}</div>'


def error_bars(results: Sequence[TensorResult], most: int = 40) -> go.Figure:
    """The relative error (rmse over rms) of the tensors that lost most, the largest on top, coloured by format."""
    lossy = sorted((r for r in results if r.loss.squared_error), key=lambda r: -r.loss.relative)[:most]
    figure = go.Figure()
    for name in dict.fromkeys(r.target for r in lossy):
        group = [r for r in lossy if r.target == name]
        figure.add_bar(
            x=[100 * r.loss.relative for r in group],
            y=[_plain(r.name) for r in group],
            name=name,
            orientation="h",
            hovertemplate="%{y}<br>error %{x:.3g} % of a typical weight<extra>" + name + "</extra>",
        )
    figure.update_layout(
        xaxis_title="relative error, % (rmse / rms)",
        yaxis={"categoryorder": "array", "categoryarray": [_plain(r.name) for r in reversed(lossy)], "automargin": True},
        height=120 + 17 * len(lossy),
        margin={"l": 8, "r": 8, "t": 30, "b": 40},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        barmode="overlay",
    )
    return figure


def _plain(name: str) -> str:
    """Plotly reads tags in labels; a tensor's name is data."""
    return name.replace("<", "‹").replace(">", "›")
