"""Every term of the glossary, in the order in which they can be explained."""

import streamlit as st

from pages.ui import menu
from quantlib.glossary import TERMS, slug

st.title(menu.WORDS.title, anchor=False)
st.markdown("One name for one thing, on every page, in every figure and in the code. Each uses only words above it.")
for term in TERMS:
    symbol = f" :gray-badge[{term.symbol}]" if term.symbol else ""
    others = f" :small[Others say: {', '.join(term.also)}.]" if term.also else ""
    with st.container(key=f"word-{slug(term)}"):
        st.markdown(f"**{term.name}**{symbol}  \n{term.meaning}{others}")
