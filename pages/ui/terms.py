"""Words of the glossary in running text: underlined where a page uses one first, explained on hover, focus or touch.

    terms.say("One **scale** for every row.")     # instead of st.markdown, for text that people read

`say` finds the terms itself; a chapter names none. A text is the page's own: names from files go to `st.text`.
"""

import re
from html import escape

import streamlit as st

from quantlib import glossary

SEEN = "terms of the page"  # in the session: where this run of the page used each term first


def begin() -> None:
    """A page begins: no term has been explained on it."""
    st.session_state[SEEN] = {}


def say(text: str) -> None:
    """Show a Markdown text with the terms that it is the first to use."""
    if "<" in text:  # markup would become real
        st.markdown(text)
        return
    st.markdown(marked(text, st.session_state.setdefault(SEEN, {})), unsafe_allow_html=True)


def marked(text: str, seen: dict[str, str]) -> str:
    """The text with a focusable element around each term that no other text used before; `seen` learns of it.

    A fragment says its text again with other numbers in it: a text is the same as long as its words are.
    """
    here, parts, at, own = re.sub(r"[^a-zA-Z]+", " ", text)[:80], [], 0, set()
    for start, end, term in glossary.found_in(text):
        if term.name in own or seen.setdefault(term.name, here) != here:
            continue
        own.add(term.name)
        parts += [text[at:start], _element(text[start:end], term)]
        at = end
    return "".join([*parts, text[at:]])


def _element(word: str, term: glossary.Term) -> str:
    said = escape(term.meaning, quote=True)
    speaks = f'tabindex="0" role="button" aria-description="{said}" data-meaning="{said}"'
    return f'<span class="term" {speaks}>{word}</span>'
