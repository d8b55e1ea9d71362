"""Guess, then reveal: where a result surprises, the reader says first what to expect. The guess is in the address."""

from collections.abc import Sequence

import streamlit as st


def guess(question: str, choices: Sequence[str], key: str = "guess") -> str | None:
    """Ask, and give what the reader said; None until then. Show the answer only where this is not None."""
    with st.container(border=True, key=f"guess-{key}"):
        st.markdown(f"**Guess first.** {question}")
        said = st.segmented_control(
            "Your guess", choices, key=key, bind="query-params", label_visibility="collapsed", required=False
        )
        if said is None:
            st.caption("Choose one; the answer appears then.")
    return said


def verdict(said: str, answer: str) -> str:
    """How the reveal begins."""
    shown = f"**{answer[:1].upper()}{answer[1:]}**"
    return f"{shown}, as you guessed." if said == answer else f"{shown}, not {said}."
