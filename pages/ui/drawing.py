"""Pictures that quantlib draws as SVG, put on the page as they are so that they follow the theme's colours.

(`st.html` strips SVG, and `st.image` would make it a picture apart, blind to the theme.)
"""

from pathlib import Path

import streamlit as st

from quantlib.figures import palette

STYLE = Path(__file__).parents[2] / "assets" / "drawing.css"

_drawing = st.components.v2.component(
    "quantlib.drawing",
    html='<div class="drawing"></div>',
    css=palette.css() + STYLE.read_text(encoding="utf-8"),
    js="export default ({ data, parentElement }) => { parentElement.querySelector('.drawing').innerHTML = data; };",
)


def draw(svg: str, *, key: str) -> None:
    """Show SVG made by `quantlib.figures`, which escapes every name that comes from a file."""
    _drawing(key=key, data=svg)
