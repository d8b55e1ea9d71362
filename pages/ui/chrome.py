"""What frames every page: the layout and the theme. The style sheets are there before it: first_paint.py."""

from pathlib import Path

import streamlit as st

from pages.ui import address, component, terms

ASSETS = Path(__file__).parents[2] / "assets"


def page_frame() -> None:
    """Set what all pages share; called by the router before the page runs, and seen in the browser as its beginning."""
    terms.begin()
    presenting = address.flag("present")
    st.set_page_config(layout="centered", initial_sidebar_state="collapsed" if presenting else "auto")
    if presenting:
        st.html(f"<style media='screen'>{(ASSETS / 'present.css').read_text(encoding='utf-8')}</style>")
    component.mending(theme())


def slide() -> int:
    """How many lines the screen has on which this page is presented; 0 where it is not presented."""
    return address.whole(st.query_params.get("slide"), 300, 4320, 1080) if address.flag("present") else 0


def theme() -> str:
    """ "light" or "dark", as the reader's browser shows the page."""
    return st.context.theme.type or "light"
