"""Open: a checkpoint of the reader's own, which pages then look at."""

from collections.abc import Callable

import streamlit as st

import quantlib as ql
from pages.server import viewing, visits
from pages.server.limits import LIMITS
from pages.server.offered import Offered, offered
from pages.server.opened import Opened, listed, shelf
from pages.ui import looking, menu, model
from pages.ui.facts import show_facts
from pages.ui.uploader import uploader
from quantlib import tables

UPLOAD, OWN, SERVER, HUB = "From your computer", "A path on this computer", "On this server", "From the hub"


def main() -> None:
    st.title("Open a checkpoint")
    st.markdown(
        "A file of safetensors, GGUF, PyTorch, NumPy or ONNX, or a whole model folder. The chapters then show its "
        "weights instead of the small models', and you can inspect it, quantize it and measure it."
    )
    own = viewing.at_home(visits.current())
    places = [OWN] * own + [UPLOAD] + [SERVER] * bool(LIMITS.directories) + [HUB] * LIMITS.hub
    where = st.segmented_control(
        "Where it is", places, default=places[0], key="where", bind="query-params", required=True
    )
    ways = {UPLOAD: from_upload, OWN: from_path, SERVER: from_server, HUB: from_hub}
    if not LIMITS.hub and not own:
        st.caption(
            f"This server opens nothing from the hub and takes files of at most {tables.size(LIMITS.upload_bytes)}. On "
            "a computer of your own the app has neither limit."
        )
    found = attempt(ways[where])
    chosen = attempt(from_names)
    if found or chosen:
        looking.look_at(chosen or found)
        st.rerun()
    show_current()
    show_others()


def attempt(way: Callable[[], Opened | None]) -> Opened | None:
    """What a way opens; where it cannot, why not."""
    try:
        return way()
    except ql.QuantlibError as error:
        st.error(model.told(error), icon="⚠️")
        return None


def from_names() -> Opened | None:
    """Real models by name, with one press; how large they are is said first."""
    models = offered()
    if not models:
        return None
    st.markdown("**Or a real model by name**")
    with st.container(horizontal=True, key="open-named"):
        pressed = [
            one
            for one in models
            if st.button(f"{tables.size(one.nbytes)} · {one.name}", key=f"open-named-{one.name}", help=_where(one))
        ]
    shown = [one.name for one in models if not one.runs]
    if shown:
        st.caption(
            f"Pages run models of up to {tables.size(LIMITS.run_bytes)} as 32-bit floats. Larger ones are shown and "
            "quantized."
        )
    if not pressed:
        return None
    with st.spinner("Reading headers"):
        return shelf().named(visits.current(), pressed[0])


def _where(one: Offered) -> str:
    if one.path:
        return "It is on this server."
    return f"{one.hub} on the hub. Only headers are read now; weights come when a page asks for them."


def from_upload() -> Opened | None:
    token = uploader(
        "checkpoint",
        "checkpoint",
        "Bring a checkpoint",
        ".safetensors or .gguf; with safetensors also config.json and the tokenizer files beside it. At most "
        f"{tables.size(LIMITS.upload_bytes)}. What you bring stays on this server and is deleted when you leave.",
    )
    return shelf().upload(visits.current(), token) if token else None


def from_path() -> Opened | None:
    with st.form("own", border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        path = left.text_input("Path of a file or folder", placeholder="~/models/model.gguf", max_chars=4096)
        pressed = right.form_submit_button("Open", type="primary", width="stretch")
    st.caption("The file is read where it is: nothing is uploaded or copied.")
    return shelf().own(visits.current(), path.strip()) if pressed and path.strip() else None


def from_server() -> Opened | None:
    st.caption("Directories that this server's operator allows.")
    names = offered_paths()
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    path = left.selectbox(
        "Path",
        names,
        index=None,
        placeholder="Choose, or write a path",
        accept_new_options=True,
        format_func=model.plain,
    )
    pressed = right.button("Open", type="primary", disabled=not path, width="stretch", key="open-path")
    return shelf().path(visits.current(), path) if pressed else None


@st.cache_data(ttl=30, max_entries=1, show_spinner=False)
def offered_paths() -> list[str]:
    return listed()


def from_hub() -> Opened | None:
    with st.form("hub", border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        name = left.text_input("Name on the hub", placeholder="owner/name", max_chars=200)
        pressed = right.form_submit_button("Open", type="primary", width="stretch")
    st.caption(
        "Only headers are read, a few kilobytes even of a very large model; weights come when a page asks for them."
    )
    if not (pressed and name.strip()):
        return None
    with st.spinner("Reading headers"):
        return shelf().hub(visits.current(), name)


def show_current() -> None:
    """What is looked at now."""
    opened = model.current()
    with st.container(border=True):
        st.markdown(f"**{looking.words(opened)}**")
        st.text(model.plain(opened.name))
        show_facts(opened)
        for column, entry in zip(st.columns(3), (menu.INSPECT, menu.QUANTIZE, menu.SUPER_BLOCK), strict=True):
            with column:
                entry.link()


def show_others() -> None:
    """What this visit has opened besides, and how to let go of it."""
    here = shelf().of(visits.current())
    if not here:
        return
    st.header("Opened in this visit", anchor=False)
    for opened in [model.demo(), *here]:
        left, middle, right = st.columns([4, 1.2, 1.2], vertical_alignment="center")
        left.text(model.plain(opened.name))
        current = opened is model.current()
        key = f"look-{opened.token}"
        middle.button("Look at it", key, disabled=current, on_click=looking.look_at, args=(opened,), width="stretch")
        if opened.token:
            right.button("Close", key=f"close-{opened.token}", on_click=close, args=(opened,), width="stretch")


def close(opened: Opened) -> None:
    """Let go of it; its files are deleted."""
    if model.current() is opened:
        looking.look_at(model.demo())
    shelf().close(visits.current(), opened.token)


main()
