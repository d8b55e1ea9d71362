"""Pictures that quantlib draws as SVG, put on the page as they are so that they follow the theme's colours.

(`st.html` strips SVG, and `st.image` would make it a picture apart, blind to the theme.)
"""

from pages.ui import component

_drawing = component.make("drawing", "dom.js", "drawing.js")


def draw(svg: str, *, key: str) -> None:
    """Show SVG made by `quantlib.figures`, which escapes every name that comes from a file."""
    _drawing(key=key, data=svg)
