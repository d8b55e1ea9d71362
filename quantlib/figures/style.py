"""The look that every Plotly figure shares: quiet axes, no box, type and tones of the page."""

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
