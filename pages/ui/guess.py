"""Guess, then see the answer: where a result surprises, the reader says first what to expect.

    draw_the_picture()                                   # always there: a guess covers the answer, never the picture
    said = guess("Which loses less?", ("NF4", "INT4"), key="fits")
    answer(said, found.winner, "NF4 loses 7.6 %, INT4 8.2 %.")

Where the picture would give the answer away, `covering` covers that part of it until then.

Whoever does not want to guess presses "Show me". The guess is in the address.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

import streamlit as st

from pages.ui import room

SHOW = "Show me"


def guess(question: str, choices: Sequence[str], key: str = "guess") -> str | None:
    """Ask, and give what the reader said, SHOW for somebody who would rather not; None until then."""
    with st.container(border=True, key=f"guess-{key}"):
        st.markdown(f"**Guess.** {question}")
        said = st.segmented_control(
            "Your guess", [*choices, SHOW], key=key, bind="query-params", label_visibility="collapsed", required=False
        )
        room.take_part(key, said, choices)
    return said


def said_of(key: str, choices: Sequence[str]) -> str | None:
    """What the reader has said to the question of this key, for a picture that is drawn above it."""
    said = st.session_state.get(key, st.query_params.get(key))
    return said if said in (*choices, SHOW) else None


def covering(said: str | None, key: str, draw: Callable[[bool], object]) -> None:
    """Draw a picture that has the answer in it: `draw(True)` covers that part, on the screen until there is a guess."""
    if said is not None:
        draw(False)
        return
    with st.container(key=f"noprint-{key}"):
        draw(True)
    with spoiler(key):
        draw(False)


def answer(said: str | None, right: str, sentence: str) -> None:
    """The answer, once there is a guess; until then a line that says what is covered."""
    if said is None:
        name = f"{crc32(f'{right} {sentence}'.encode()):08x}"  # the same in every process, unlike hash()
        with st.container(key=f"noprint-{name}"):
            st.markdown(":gray[The answer is covered until you choose.]")
        with spoiler(name):
            st.markdown(f"**{right[:1].upper()}{right[1:]}.** {sentence}")
    else:
        st.markdown(f"{verdict(said, right)} {sentence}")


@contextmanager
def spoiler(key: str) -> Iterator[None]:
    """What the screen covers for now: it is printed, and it is in the presenter's own window."""
    with st.container(key=f"spoiler-{key}"):
        yield


def verdict(said: str, right: str) -> str:
    """How the answer begins."""
    shown = f"**{right[:1].upper()}{right[1:]}**"
    if said == SHOW:
        return f"{shown}."
    return f"✅ {shown}, as you guessed." if said == right else f"{shown}, not {said}."
