"""What frames every page: the width, the style sheet, the sidebar's foot."""

from pathlib import Path

import streamlit as st

from quantlib.figures import palette

STYLE = Path(__file__).parents[2] / "assets" / "style.css"


def page_frame() -> None:
    """Set what all pages share; called by the router before the page runs."""
    st.set_page_config(layout="centered", initial_sidebar_state="auto")
    st.html(f"<style>{palette.css()}{STYLE.read_text(encoding='utf-8')}</style>")
