"""What frames every page: the width, the style sheets, the theme."""

from pathlib import Path

import streamlit as st

from pages.ui import address, component
from quantlib.figures import palette

ASSETS = Path(__file__).parents[2] / "assets"


def page_frame() -> None:
    """Set what all pages share; called by the router before the page runs."""
    presenting = address.flag("present")
    st.set_page_config(layout="centered", initial_sidebar_state="collapsed" if presenting else "auto")
    names = ("style.css", "print.css", *(["present.css"] if presenting else []))
    sheets = "".join((ASSETS / name).read_text(encoding="utf-8") for name in names)
    st.html(f"<style>{palette.css()}{sheets}</style>")
    component.mending()


def theme() -> str:
    """ "light" or "dark", as the reader's browser shows the page."""
    return st.context.theme.type or "light"
