"""An opened checkpoint in five facts, and what its reader warned of."""

import streamlit as st

from pages.server.opened import Opened
from pages.ui import model
from quantlib import tables


def show_facts(opened: Opened) -> None:
    """Weights, size, bits per weight, tensors, kind. Names come from files, so they are shown as plain text."""
    facts = tables.checkpoint(opened.checkpoint)
    columns = st.columns(4)
    columns[0].metric("Weights", tables.count(facts["weights"]))
    columns[1].metric("Size of the tensors", tables.size(facts["nbytes"]))
    columns[2].metric("Bits per weight", "–" if facts["bpw"] is None else f"{facts['bpw']:.2f}")
    columns[3].metric("Tensors", f"{facts['tensor count']:,}")
    st.text(model.kind_in_words(facts))
    for warning in opened.checkpoint.warnings:
        st.text(f"Note: {model.plain(warning)}")
