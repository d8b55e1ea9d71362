"""What is unusual about a checkpoint's tensors, and how layers compare: from a sample, or from a job that read all."""

from collections.abc import Callable

import streamlit as st

import quantlib as ql
from pages.server import jobs
from pages.server.opened import Opened
from pages.ui import captions, comparing, drawing, model
from quantlib import inspection, tables
from quantlib.figures import anatomy
from quantlib.inspection import MEASURES, Statistics

NOTABLE = "what is notable"
LISTED = 25


def rows_of(opened: Opened) -> list[Statistics] | None:
    """Statistics of every tensor: of all weights once a job has read them, else of a sample; None where it is far."""
    if (found := comparing.all_read(opened)) is not None:
        return found
    return None if opened.checkpoint.origin else sampled(opened.identity, opened.checkpoint)


@st.cache_data(max_entries=32, show_spinner="Reading a sample of every tensor …")
def sampled(identity: str, _checkpoint: ql.Checkpoint) -> list[Statistics]:
    return list(inspection.all_statistics(_checkpoint, jobs.pool(), sampled=True))


def show_unusual(opened: Opened, on_pick: Callable[[str], None]) -> None:
    """Tensors ranked by what is unusual about them; a click on one calls `on_pick` with its name."""
    rows = rows_of(opened)
    if rows is None:
        say_far()
        return
    by = st.selectbox("Rank tensors by", [NOTABLE, *MEASURES], key="inspect-rank")
    shown = tables.unusual(rows, None if by == NOTABLE else MEASURES[by], LISTED)
    for row in shown:
        row["tensor"] = model.plain(row["name"])
    if by == NOTABLE and not shown:
        st.text("Nothing stands out: no dead channel, no value that is not finite, no weight far beyond the others.")
    elif shown:
        chosen = st.dataframe(
            shown, hide_index=True, key="inspect-unusual", on_select="rerun", selection_mode="single-row",
            column_order=["finding", "tensor"], height=min(420, 40 + 35 * len(shown)),
            column_config={"finding": st.column_config.TextColumn(width="medium")},
        )  # fmt: skip
        picked = [shown[i]["name"] for i in chosen.selection.rows if i < len(shown)]
        if picked and st.session_state.get("inspect-picked") != (by, picked[0]):
            st.session_state["inspect-picked"] = (by, picked[0])
            on_pick(picked[0])
        st.caption("Click a row to look inside that tensor.")
    for sentence in unused(opened.identity, opened.checkpoint):
        st.text(sentence)
    say_how_much(rows)


@st.cache_data(max_entries=32, show_spinner=False)
def unused(identity: str, _checkpoint: ql.Checkpoint) -> tuple[str, ...]:
    """What there is to say of a vocabulary that is not all in use."""
    found = inspection.vocabulary(_checkpoint)
    return found.sentences() if found else ()


def say_how_much(rows: list[Statistics]) -> None:
    """On which weights the numbers rest."""
    seen, total = inspection.seen_of(rows)
    words = "on every weight" if seen == total else f"on {seen:,} of {total:,} weights, evenly spaced rows"
    more = ". The largest weight of all may be elsewhere: the view Statistics reads every weight"
    captions.receipt("measured", words + (more if seen < total else ""))


def say_far() -> None:
    st.info("This checkpoint is on the hub, and only its header was read. The view Statistics reads its weights.")


def show_layers(opened: Opened, on_pick: Callable[[str], None]) -> None:
    """A map of layers and matrices by any measure, and the shape of one kind of matrix in all layers."""
    rows = rows_of(opened)
    if rows is None:
        say_far()
        return
    by = st.segmented_control(
        "Coloured by", list(MEASURES), default="largest / RMS", key="inspect-measure", required=True
    )
    picture = map_of(opened.identity, by, len(rows), inspection.seen_of(rows)[0], opened.checkpoint, rows)
    if not picture:
        st.text("The names of these tensors tell no layers, so there is no map.")
        return
    drawing.draw(picture, key="inspect-map", on_pick=on_pick)
    say_how_much(rows)
    kinds = list(kinds_of(opened.identity, opened.checkpoint))
    st.markdown(
        "**The weights of every layer**, in units of their root mean square. The height is logarithmic, so rare large "
        "weights show."
    )
    kind = st.selectbox("Matrix", kinds, key="inspect-kind", format_func=model.plain)
    if kind:
        drawing.draw(ridges_of(opened.identity, kind, opened.checkpoint), key="inspect-ridges", on_pick=on_pick)
        captions.receipt("measured", f"on at most {anatomy.RIDGE_WEIGHTS:,} weights of each tensor, evenly spaced rows")


@st.cache_data(max_entries=64, show_spinner=False)
def map_of(
    identity: str, by: str, count: int, seen: int, _checkpoint: ql.Checkpoint, _rows: list[Statistics]
) -> str | None:
    tensors = anatomy.placed(_checkpoint, _rows)
    return anatomy.measure_map(tensors, MEASURES[by]) if tensors else None


@st.cache_data(max_entries=32, show_spinner=False)
def kinds_of(identity: str, _checkpoint: ql.Checkpoint) -> tuple[str, ...]:
    return tuple(anatomy.kinds_with_layers(_checkpoint))


@st.cache_data(max_entries=64, show_spinner="Reading a sample of every layer …")
def ridges_of(identity: str, kind: str, _checkpoint: ql.Checkpoint) -> str:
    return anatomy.ridges_svg(anatomy.ridges(anatomy.kinds_with_layers(_checkpoint)[kind]))
