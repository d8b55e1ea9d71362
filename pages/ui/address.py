"""The state of a page lives in its address, so that a link shows what is on the screen.

Widgets keep their own value there (`bind="query-params"`). What components report is kept here: it belongs to a thing
that a token names (a weight, a block), and goes when the page turns to another thing.
"""

import math
import re

import streamlit as st


def about(token: str, *names: str) -> dict[str, str | None]:
    """What the address says under `names` of the thing that `token` names; nothing if it spoke of another thing."""
    remembered = f"about:{','.join(names)}"
    if st.session_state.setdefault(remembered, token) != token:
        st.session_state[remembered] = token
        forget(*names)
    return {name: st.query_params.get(name) for name in names}


def forget(*names: str) -> None:
    for name in names:
        st.query_params.pop(name, None)


def forget_odd() -> None:
    """Begin a visit without the parameters of its address that Streamlit's own controls stumble over.

    A name without a value clears even a control that needs a choice, and a number without end overflows. Streamlit has
    read them before any page runs, so the run begins again without them.
    """
    if not st.session_state.setdefault("address_unread", True):
        return
    st.session_state["address_unread"] = False
    odd = [name for name, value in st.query_params.items() if not value or _endless(value)]
    if odd:
        forget(*odd)
        st.rerun()


def _endless(value: str) -> bool:
    try:
        return not math.isfinite(float(value))
    except ValueError:
        return False


def whole(said: str | None, low: int, high: int, default: int) -> int:
    """A whole number from low to high that the address spells; anything else is the default."""
    if said is None or not re.fullmatch(r"-?[0-9]{1,9}", said):
        return default
    return int(said) if low <= int(said) <= high else default


def reported(key: str, name: str, token: str) -> dict | None:
    """What the component `key` last reported under `name`, if it was about the thing that `token` names."""
    said = st.session_state[key].get(name)
    return said if said and said.get("token") == token else None


def keep(key: str, name: str, token: str, *, part: str = "", under: str = "") -> None:
    """Put what the component `key` last reported under `name` into the address, if it was about that thing.

    part: the part of the report that is kept; under: what the address calls it. Both are `name` where nothing is said.
    """
    said = reported(key, name, token)
    if said:
        st.query_params[under or name] = str(said[part or name])


def flag(name: str) -> bool:
    """Whether the address says `?name=1`."""
    return st.query_params.get(name) == "1"
