"""Pictures that quantlib draws as SVG, put on the page as they are so that they follow the theme's colours.

(`st.html` strips SVG, and `st.image` would make it a picture apart, blind to the theme.)
"""

from collections.abc import Callable

import streamlit as st

from pages.ui import component

_drawing = component.make("drawing", "dom.js", "drawing.js")


def draw(svg: str, *, key: str, on_pick: Callable[[str], None] | None = None) -> None:
    """Show SVG made by `quantlib.figures`, which escapes every name that comes from a file.

    on_pick: called with what a mark says that was clicked, where its marks can be.
    """
    if on_pick is None:
        _drawing(key=key, data=svg)
    else:
        _drawing(key=key, data=svg, on_picked_change=lambda: _picked(key, on_pick))


def _picked(key: str, on_pick: Callable[[str], None]) -> None:
    name = (st.session_state.get(key) or {}).get("picked")
    if isinstance(name, str):
        on_pick(name)
