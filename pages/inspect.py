"""Inspect: what a checkpoint holds, byte by byte, tensor by tensor, and how it differs from another."""

import shlex
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server.opened import Opened
from pages.ui import captions, drawing, hashes, model, tensorview, unusual
from quantlib import inspection, tables
from quantlib.checkpoints import gguf_view
from quantlib.checkpoints.image_models import image_family
from quantlib.figures import anatomy, strip

UNUSUAL, TENSORS, LAYERS = "Unusual", "Tensors", "Layers"
VIEWS = (UNUSUAL, TENSORS, LAYERS, "Statistics", "Metadata", "Tokenizer", "Compare")
COLOURS = {"what it does": "component", "bits per weight": "bits"}
MOST_TOKENS = 1000


def main() -> None:
    opened = model.current()
    st.title("Inspect", anchor=False)
    st.text(model.plain(opened.name))
    drawing.draw(facts_of(opened.identity, opened.checkpoint), key="inspect-facts")
    for warning in opened.checkpoint.warnings:
        st.text(f"Note: {model.plain(warning)}")
    view = st.segmented_control("View", VIEWS, default=UNUSUAL, key="view", bind="query-params", required=True)
    {
        UNUSUAL: partial(unusual.show_unusual, on_pick=look_into),
        TENSORS: show_tensors,
        LAYERS: partial(unusual.show_layers, on_pick=look_into),
        "Statistics": show_statistics,
        "Metadata": show_metadata,
        "Tokenizer": show_tokenizer,
        "Compare": show_comparison,
    }[view](opened)
    if view in (UNUSUAL, TENSORS, LAYERS):
        show_tensor(opened)
    show_strip(opened)
    hashes.show(opened)
    command = f"python -m quantlib inspect {shlex.quote(opened.source)}"
    captions.show_python(
        "import quantlib as ql\nfrom quantlib import inspection, tables\n\n"
        f"checkpoint = ql.open_checkpoint({opened.source!r})\n"
        "print(inspection.describe(checkpoint))\n"
        "print(tables.as_text(tables.tensors(checkpoint)))\n"
        "print(tables.as_text(tables.unusual(list(inspection.all_statistics(checkpoint, sampled=True)))))",
        shell=command,
    )


def show_statistics(opened: Opened) -> None:
    """Statistics of every tensor. What reads whole models is loaded here: the first screen does without it."""
    from pages.ui import comparing

    comparing.show_statistics(opened)


def show_comparison(opened: Opened) -> None:
    """This checkpoint beside another one."""
    from pages.ui import comparing

    comparing.show_comparison(opened)


@st.cache_data(max_entries=32, show_spinner=False)
def facts_of(identity: str, _checkpoint: ql.Checkpoint) -> str:
    """What it is, and its size by role."""
    return anatomy.facts_html(inspection.describe(_checkpoint)) + anatomy.roles_html(_checkpoint)


def look_into(name: str) -> None:
    """Open a tensor below, and name it in the address."""
    st.query_params["tensor"] = name


def show_tensor(opened: Opened) -> None:
    """The tensor that the address names."""
    name = st.query_params.get("tensor")
    tensor = opened.checkpoint.tensors.get(name) if name else None
    if tensor is not None:
        tensorview.show(opened, tensor)


@st.fragment
def show_strip(opened: Opened) -> None:
    """The whole file in byte order."""
    by = st.segmented_control(
        "The file in byte order, coloured by", list(COLOURS), default="what it does", key="colour", required=True
    )
    drawing.draw(strip_of(opened.identity, COLOURS[by], opened.checkpoint), key="bytes")
    captions.receipt("exact", "every byte of the file from left to right, row after row; point at one to read its name")


@st.cache_data(max_entries=32, show_spinner=False)
def strip_of(identity: str, by: str, _checkpoint: ql.Checkpoint) -> str:
    return strip.strip_svg(_checkpoint, by)


def show_tensors(opened: Opened) -> None:
    """The table; a click on a row opens that tensor."""
    rows = rows_of(opened.identity, opened.checkpoint)
    left, middle, right = st.columns([2, 1.2, 1.2])
    wanted = left.text_input("Name contains", key="contains", max_chars=100).strip().lower()
    formats = middle.multiselect("Format", sorted({r["format"] for r in rows}), key="formats")
    kinds = right.multiselect("What it does", sorted({r["does"] for r in rows}), key="kinds")
    shown = [row for row in rows if matches(row, wanted, formats, kinds)]
    chosen = st.dataframe(
        shown,
        height=min(420, 80 + 35 * len(shown)),
        hide_index=True,
        key="table",
        on_select="rerun",
        selection_mode="single-row",
        column_order=["name", "format", "shape", "bpw", "nbytes", "does"],
        column_config={
            "name": st.column_config.TextColumn(width=230),  # a phone has room for the format beside it
            "format": st.column_config.TextColumn(width=70),
            "nbytes": st.column_config.NumberColumn("bytes", format="localized"),
            "bpw": st.column_config.NumberColumn("bits per weight"),
            "does": "what it does",
        },
    )
    st.caption(f"{len(shown):,} of {len(rows):,} tensors. Click a column to sort, a row to look inside.")
    picked = [shown[i]["key"] for i in chosen.selection.rows if i < len(shown)]
    if picked:
        look_into(picked[0])
    captions.data(lambda: tables.as_csv(rows), "tensors.csv")


def matches(row: dict, wanted: str, formats: list[str], kinds: list[str]) -> bool:
    """Whether a row has the text in its name, and one of the formats and kinds where some are chosen."""
    chosen = (not formats or row["format"] in formats) and (not kinds or row["does"] in kinds)
    return chosen and wanted in row["name"].lower()


@st.cache_data(max_entries=32, show_spinner=False)
def rows_of(identity: str, _checkpoint: ql.Checkpoint) -> list[dict]:
    """A row for each tensor, names and shapes as text."""
    of_images = image_family(_checkpoint) is not None
    return [
        {**row, "key": row["name"], "name": model.plain(row["name"]), "shape": " × ".join(map(str, row["shape"])),
         "does": strip.component_of(row["name"], of_images)}
        for row in tables.tensors(_checkpoint)
    ]  # fmt: skip


def show_metadata(opened: Opened) -> None:
    """All keys, as plain text."""
    rows = tables.metadata(opened.checkpoint)
    wanted = st.text_input("Key or value contains", key="key-contains", max_chars=100).strip().lower()
    shown = [r for r in rows if wanted in r["key"].lower() or wanted in r["value"].lower()]
    st.dataframe(shown, hide_index=True, height=min(600, 80 + 35 * len(shown)))
    if shown:
        key = st.selectbox("In full", [r["key"] for r in shown], index=None, format_func=model.plain, key="in-full")
        full = {r["key"]: r["value"] for r in tables.metadata(opened.checkpoint, 20_000)} if key else {}
        if key in full:
            st.code(full[key], language=None, wrap_lines=True, height=240)
    captions.data(lambda: tables.as_csv(rows), "metadata.csv")


def show_tokenizer(opened: Opened) -> None:
    """An example of a chat as the model reads it, tokens with a part to play, the vocabulary a thousand at a time."""
    show_chat(opened)
    from quantlib.lm import chat

    try:
        view = gguf_view(opened.checkpoint)
    except ql.QuantlibError as error:
        st.info(model.told(error), icon="🔤")
        return
    tokens = view.value("tokenizer.ggml.tokens")
    if tokens is None:
        st.info("This checkpoint carries no tokenizer.", icon="🔤")
        return
    left, right = st.columns([2, 1])
    contains = left.text_input("Token contains", key="token-contains", max_chars=60)
    start = right.number_input("From number", 0, max(0, len(tokens) - 1), 0, step=MOST_TOKENS, key="token-start")
    st.dataframe(tables.vocabulary(view, start, MOST_TOKENS, contains), hide_index=True, height=480)
    st.caption(
        f"{len(tokens):,} tokens, at most {MOST_TOKENS:,} shown. In byte-level vocabularies Ġ is a space and Ċ a new "
        "line."
    )
    own = chat.special_tokens(opened.checkpoint)
    special = [{"for": what, "token": number, "text": text} for what, (number, text) in own.items()]
    if special:
        st.markdown("**Tokens with a part to play**, as the header names them")
        st.dataframe(special, hide_index=True)
    rows = [row for row in tables.metadata(view) if row["key"].startswith("tokenizer.")]
    st.dataframe(rows, hide_index=True)


def show_chat(opened: Opened) -> None:
    """What the chat template makes of an example."""
    text, why = chat_of(opened.identity, opened.checkpoint)
    if text:
        st.markdown("**A chat as this model reads it**: four messages in its template, up to where its answer begins")
        st.code(text, language=None, wrap_lines=True)
        captions.receipt("exact", "its own template, rendered in a sandbox")
    elif why:
        st.info(model.plain(why), icon="💬")


@st.cache_data(max_entries=32, show_spinner="Rendering the chat template …")
def chat_of(identity: str, _checkpoint: ql.Checkpoint) -> tuple[str, str]:
    """The text, or why there is none."""
    from quantlib.lm import chat

    try:
        if chat.template_of(_checkpoint) is None:
            return "", ""
        return chat.rendered_chat(_checkpoint), ""
    except ql.QuantlibError as error:
        return "", model.told(error)


main()
