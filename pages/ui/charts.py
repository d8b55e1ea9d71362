"""Plotly figures on a page. Building one costs more than all else on a page, so each is built once, for everybody.

A figure is known by the function that draws it, what it is about, the theme, and the screen it is presented on.
"""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

from pages.ui import chrome
from quantlib.figures import style

# How every chart behaves: no toolbar (images are saved as those of all other figures), no accidental zooming.
CONFIG = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}


def chart(key: str, draw: Callable, *args: Any, about: tuple[Hashable, ...]) -> None:
    """Show `draw(*args, theme)`; `about` changes whenever `args` do."""
    name = f"{draw.__module__}.{draw.__qualname__}"
    figure = _built(name, about, chrome.theme(), chrome.slide(), draw, args)
    st.plotly_chart(figure, theme=None, config=CONFIG, key=key)


@st.cache_resource(show_spinner=False, max_entries=1000)
def _built(name: str, about: tuple[Hashable, ...], theme: str, slide: int, _draw: Callable, _args: tuple) -> Any:
    figure = _draw(*_args, theme)
    return style.for_slide(figure, slide) if slide else figure
