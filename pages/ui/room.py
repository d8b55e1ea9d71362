"""The room's guesses on a page: phones send theirs, the wall shows how many chose what."""

import html
import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

import streamlit as st

from pages.server.room import NAME, ROOMS_HERE
from pages.ui import address

EVERY = 2  # seconds between two looks at the counts


def name() -> str:
    """The room that this visit belongs to, from the link that it came by; empty for none."""
    said = st.query_params.get("room", "")
    if re.fullmatch(NAME, said):
        st.session_state["room"] = said
    elif address.flag("present"):
        st.session_state.pop("room", None)  # the presenter stopped counting
    return st.session_state.get("room", "")


def take_part(question: str, said: str | None, choices: Sequence[str]) -> None:
    """On the wall: the counts. On a phone: this guess is counted, unless somebody only wanted to see the answer."""
    room = name()
    if not room:
        return
    question = f"{urlsplit(st.context.url or '').path.rstrip('/').rpartition('/')[2]}:{question}"
    if address.flag("present"):
        _wall(room, question, tuple(choices))
    elif said in choices:
        ROOMS_HERE.guess(room, question, _person(), said)
        st.caption("Counted, without your name.")


def _person() -> str:
    """This visit, by a number that says nothing else of it."""
    return st.session_state.setdefault("room-person", secrets.token_hex(8))


@st.fragment(run_every=EVERY)
def _wall(room: str, question: str, choices: tuple[str, ...]) -> None:
    counts = ROOMS_HERE.counts(room, question, choices)
    st.html(bars(choices, counts))


def bars(choices: Sequence[str], counts: Sequence[int]) -> str:
    """The counts as bars; the longest is the most chosen."""
    most = max([*counts, 1])
    rows = "".join(
        f"<li><span>{html.escape(choice)}</span><i style='width:{60 * count / most:.1f}%'></i><b>{count}</b></li>"
        for choice, count in zip(choices, counts, strict=True)
    )
    return f"<ul class='room' aria-label='Guesses of the room: {sum(counts)}'>{rows}</ul>"
