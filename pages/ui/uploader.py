"""The uploader: sends files in slices to our own route, so that their size costs the server no memory."""

import streamlit as st

from pages.server import announced, routes, uploads, visits
from pages.ui.component import make

_uploader = make("uploader", "dom.js", "uploader.js")


def uploader(key: str, kind: str, label: str, hint: str) -> str | None:
    """An upload of a kind of `uploads.KINDS`; returns its token on the one run that follows its completion."""
    visit, held = visits.current(), f"{key}-token"
    token, complete = st.session_state.get(held), None
    done = (st.session_state.get(key) or {}).get("done")
    if done and done["token"] == token and uploads.registry().complete(token):
        token, complete = None, token  # the next upload has a token of its own, and the browser offers a choice again
    if uploads.registry().get(token) is None:
        token = st.session_state[held] = uploads.registry().expect(kind, visit)
    data = {
        "token": token,
        "address": routes.upload_address(token),
        "label": label,
        "hint": hint,
        "many": not uploads.KINDS[kind].one_file,
        "beside": announced.BESIDE,
        "weights": announced.WEIGHTS,
        "deepest": announced.DEEPEST,
    }
    _uploader(key=key, data=data, on_done_change=lambda: None)
    return complete
