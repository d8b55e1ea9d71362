"""What frames every chapter: number, title, promise and minutes; our weight; steps; what to remember; where next.

    with chapter(menu.FLOAT) as page:
        with page.step("Bits", printed=True):
            ...
        page.in_short("A float is a sign, an exponent and a fraction.")

Steps are sections. With `?present=1` one of them is on the screen at a time, and keys turn them. Paper has the steps
that are `printed`, and what to remember, on a sheet or two. Containers whose key begins with "noprint-" are left out
there. Those whose key begins with "paper-" or "spoiler-" are printed, and the screen does not show them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from pages.ui import address, component, menu, room, weight


class Chapter:
    """A chapter while its page runs; counts its steps."""

    def __init__(self, entry: menu.Entry):
        self.entry = entry
        self.steps = 0

    @contextmanager
    def step(self, title: str | None = None, *, printed: bool = False) -> Iterator[None]:
        """A section. A chapter on paper holds those that are `printed`."""
        self.steps += 1
        with st.container(key=f"step-{self.steps}" + ("-printed" if printed else "")):
            if title:
                st.header(title, anchor=False)
            yield

    def in_short(self, *sentences: str, question: str = "") -> None:
        """What to remember, each sentence computed or tested, and the question that the next chapter answers."""
        with self.step(printed=True), st.container(key="in-short"):
            st.header("In short", anchor=False)
            st.markdown("\n".join(f"- {sentence}" for sentence in sentences))
            if self.entry.able:
                st.markdown(f"**You can now** {self.entry.able}")
            after = menu.around(self.entry)[1]
            if question and after:
                st.markdown(f"**Next.** {question}")


@contextmanager
def chapter(entry: menu.Entry, title: str | None = None) -> Iterator[Chapter]:
    """Draw the head, then whatever the page draws, then the foot. `title` where it is more than the menu says."""
    page = Chapter(entry)
    with st.container(key="chapter-head"):
        st.markdown(f":small[Chapter {menu.number(entry)} of {len(menu.CHAPTERS)} · {entry.minutes} minutes]")
        st.title(title or entry.title, anchor=False)
        st.markdown(f"*{entry.promise}*")
    above = None
    if entry is not menu.HOME:
        with st.container(key="journey-slot"):
            above = st.empty()
    yield page
    foot(page)
    if above:  # last of all: how far the weight has come may have to be worked out, and the page does not wait for it
        with above.container():
            weight.strip(entry)


def foot(page: Chapter) -> None:
    """Previous and next, and the ways to show this page to others."""
    before, after = menu.around(page.entry)
    with st.container(key="chapter-foot"):
        st.divider()
        if before:
            before.link(f"Previous: **{before.title}**")
        if after:
            after.link(f"Next: **{after.title}**")
    component.presenter(
        key="presenter",
        title=page.entry.title,
        address=page.entry.address,
        steps=page.steps,
        presenting=address.flag("present"),
        room=room.name(),
        step=address.whole(st.query_params.get("step"), 1, page.steps, 1),
    )
