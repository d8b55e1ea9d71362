"""What this visit looks at: kept in the address, said in the sidebar of every page, with a way back."""

import streamlit as st

from pages.server import visits
from pages.server.opened import Opened, shelf
from pages.server.viewing import VIEWING
from pages.ui import model
from quantlib import tables
from quantlib.errors import QuantlibError

ADDRESS, KEY, BEFORE = "opened", "key", "opened_before"
COMPARED = "compared"  # the control of Inspect that chooses what to compare with
COMPARE_AT_ONCE = "compare-at-once"  # whether Inspect compares without being asked


def arrive() -> None:
    """Open what `quantlib view` was given, where a browser comes with its secret, which then leaves the address."""
    said = st.query_params.get(KEY)
    if VIEWING is None or said is None:
        return
    visit = visits.current()
    del st.query_params[KEY]
    if not VIEWING.admit(said, visit):
        return
    try:
        found = [shelf().own(visit, source) for source in VIEWING.sources]
    except QuantlibError as error:
        st.error(model.told(error), icon="⚠️")
        return
    look_at(found[0])
    if len(found) > 1:
        st.session_state[COMPARED] = found[1].token
        st.session_state[COMPARE_AT_ONCE] = True


def attach() -> None:
    """Take over the checkpoint that the address names, and keep naming it: a reload or a link finds it again."""
    visit = visits.current()
    said = st.query_params.get(ADDRESS)
    if said and said != st.session_state.get("opened"):
        found = shelf().attach(visit, said)
        st.session_state["opened"] = found.token if found else None
        st.session_state["opened_gone"] = found is None
    token = st.session_state.get("opened")
    if token and shelf().get(token) is None:
        token = st.session_state["opened"] = None
        st.session_state["opened_gone"] = True
    if token and said != token:
        st.query_params[ADDRESS] = token
    elif not token and said:
        del st.query_params[ADDRESS]


def look_at(opened: Opened) -> None:
    """From now on every page of this visit looks at this checkpoint; the pages' own choices start anew."""
    st.session_state["opened"] = opened.token or None
    st.session_state["opened_gone"] = False
    if opened.token:
        st.query_params[ADDRESS] = opened.token
    else:
        st.query_params.pop(ADDRESS, None)


def words(opened: Opened) -> str:
    """What is said before the name of what this visit looks at."""
    return "Every page looks at" if opened.token else "Chapters follow the calculator; other pages look at"


def look_at_result(made: Opened) -> None:
    """The same for what was made from what is looked at now, to which the sidebar then leads back."""
    st.session_state[BEFORE] = model.current().token
    look_at(made)


def note() -> None:
    """The line in the sidebar. Names come from files, so they are shown as plain text."""
    found = model.current()
    with st.sidebar, st.container(key="looking"):
        st.caption(words(found))
        st.text(model.plain(found.name))
        if st.session_state.get("opened_gone"):
            st.caption("What you had opened is no longer on the server.")
        before = made_from(found)
        if before is not None:
            sizes = (tables.size(one.checkpoint.nbytes) for one in (before, found))
            st.caption(f"Made from {model.plain(before.name)}: {' became '.join(sizes)}.")
            st.button("Back to the original", on_click=look_at, args=(before,), width="stretch")
        if found.token:
            st.button("Back to the demo model", on_click=look_at, args=(model.demo(),), width="stretch")


def made_from(found: Opened) -> Opened | None:
    """What a result was made from in this visit, where that is still open; to the demo model another way leads."""
    return shelf().get(st.session_state.get(BEFORE)) if found.origin == "result" else None
