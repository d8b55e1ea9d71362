"""The look that every Plotly figure shares: quiet axes, no box, type and tones of the page."""

from typing import Any

import plotly.graph_objects as go

from quantlib.figures import palette

FONT = '"Source Sans", "Source Sans Pro", system-ui, sans-serif'


def apply(figure: go.Figure, theme: str = "light", height: int = 320) -> go.Figure:
    """Set the shared look on a finished figure; returns it."""
    ink, muted, rule = palette.INK[theme], palette.MUTED[theme], palette.RULE[theme]
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 52, "r": 12, "t": 28, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 13, "color": muted, "family": FONT},
        hoverlabel={"bgcolor": palette.PANEL[theme], "bordercolor": rule, "font": {"color": ink}},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": ink}},
        dragmode=False,
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": ink},
    )
    axis = {
        "title": {"font": {"size": 13}},
        "gridcolor": rule,
        "linecolor": rule,
        "zerolinecolor": rule,
        "zeroline": False,
        "automargin": True,
    }
    figure.update_xaxes(**axis, showgrid=False)
    figure.update_yaxes(**axis, exponentformat="power")
    return figure


SLIDE_TEXT, SLIDE_SHARE = 24 / 1080, 0.6  # of a slide's height: the size of its text, the height of its chart


def for_slide(figure: go.Figure, lines: int) -> go.Figure:
    """The figure laid out for a screen of so many lines: type for the last row, lines and marks to match."""
    scale = SLIDE_TEXT * lines / (figure.layout.font.size or 13)
    enlarged = go.Figure(_enlarged(figure.to_dict(), scale))
    return enlarged.update_layout(height=round(SLIDE_SHARE * lines))


def _enlarged(part: Any, scale: float, inside: str = "") -> Any:
    """The same part of a figure with its fonts, lines, marks and margins so many times as large."""
    if isinstance(part, dict):
        return {name: _enlarged_value(name, value, scale, inside) for name, value in part.items()}
    return part


def _enlarged_value(name: str, value: Any, scale: float, inside: str) -> Any:
    if isinstance(value, dict):
        return _enlarged(value, scale, name)
    if isinstance(value, (list, tuple)) and any(isinstance(one, dict) for one in value):
        return [_enlarged(one, scale, name) for one in value]
    sized = (name == "size" and ("font" in inside or inside == "marker")) or (name == "width" and inside == "line")
    if isinstance(value, (int, float)) and (sized or inside == "margin"):
        return scale * value
    return value
