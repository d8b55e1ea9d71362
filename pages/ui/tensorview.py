"""One tensor, looked into: facts, distribution, channels, four zooms, and the way to its blocks in the chapter."""

import streamlit as st

import quantlib as ql
from pages.server.opened import Opened
from pages.ui import captions, charts, looking, menu, model
from pages.ui.zooming import zoom
from quantlib import tables
from quantlib.figures import rounding, tensor, weights
from quantlib.figures.block import drawable
from quantlib.formats import FORMATS

STORED = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_XS", "Q3_K", "Q2_K", "MXFP4")


def show(opened: Opened, chosen: ql.Tensor) -> None:
    """All there is to see of a tensor; of one whose format is not known, its facts."""
    with st.container(border=True):
        st.text(model.plain(chosen.name))
        columns = st.columns(4)
        columns[0].metric("Shape", " × ".join(map(str, chosen.shape)) or "one number")
        columns[1].metric("Format", chosen.format)
        columns[2].metric("Bits per weight", f"{8 * chosen.nbytes / max(1, chosen.size):.4g}")
        columns[3].metric("Bytes", tables.size(chosen.nbytes))
        if chosen.offset is not None:
            st.text(f"From byte {chosen.offset:,} of {model.plain(chosen.file)}")
        if not chosen.decodable or not chosen.size:
            st.info("The values of this tensor cannot be decoded here, so there is no picture of them.", icon="📏")
            return
        show_distribution(opened, chosen)
        if chosen.nrows > 1 and chosen.n > 1:
            show_channels(opened, chosen)
            show_zooms(opened, chosen)
        link_to_block(chosen)


@st.cache_data(max_entries=256, show_spinner="Reading weights …")
def distribution_of(identity: str, name: str, _tensor: ql.Tensor) -> tensor.Distribution:
    return tensor.distribution(weights.sample(_tensor))


@st.cache_data(max_entries=256, show_spinner="Reading weights …")
def channels_of(identity: str, name: str, along: str, _tensor: ql.Tensor) -> tensor.Channels:
    return tensor.channels(rounding.sampled_rows(_tensor, 1 << 22), along)


def show_distribution(opened: Opened, chosen: ql.Tensor) -> None:
    found = distribution_of(opened.identity, chosen.name, chosen)
    charts.chart("distribution", tensor.distribution_figure, found, about=(opened.identity, chosen.name))
    scope = (
        "all weights" if found.seen == found.total else f"{found.seen:,} of {found.total:,} weights, evenly spaced rows"
    )
    bad = f"; {found.not_finite:,} values are not finite" if found.not_finite else ""
    captions.receipt(
        "measured",
        f"{scope}; root mean square {found.rms:.4g}; {found.outliers.size:,} weights are beyond "
        f"{tensor.OUTLIER:g} times that (triangles){bad}",
    )


@st.fragment
def show_channels(opened: Opened, chosen: ql.Tensor) -> None:
    along = st.segmented_control(
        "The range of each", ["row", "column"], default="row", key="along", required=True,
        help="A row is one output channel, a column one input channel.",
    )  # fmt: skip
    found = channels_of(opened.identity, chosen.name, along, chosen)
    charts.chart("channels", tensor.channels_figure, found, about=(opened.identity, chosen.name, along))
    joined = f"; a point joins {found.every} neighbours and keeps their extremes" if found.every > 1 else ""
    captions.receipt("measured", f"smallest and largest weight of each {along}{joined}")


@st.fragment
def show_zooms(opened: Opened, chosen: ql.Tensor) -> None:
    """The four zooms of the second chapter, over this tensor."""
    offered = [name for name in STORED if chosen.n % FORMATS[name].values == 0]
    if not offered:
        return
    own = chosen.format if chosen.format in offered else offered[0]
    name = st.selectbox("As it would be stored in", offered, index=offered.index(own), key="stored-as")
    zoom(opened.identity, chosen, name)
    captions.receipt(
        "measured", "each dot from afar is the weight of largest magnitude under it, so outliers stay visible"
    )


def link_to_block(chosen: ql.Tensor) -> None:
    """The chapter on super-blocks, with this tensor and its format in the address."""
    if len(chosen.shape) != 2:
        return
    own = FORMATS.get(chosen.format)
    fmt = own if own is not None and hasattr(own, "nbytes") and drawable_block(own) else FORMATS["Q4_K"]
    said = {"tensor": chosen.name, "format": fmt.name}
    token = st.query_params.get(looking.ADDRESS)
    st.page_link(
        menu.SUPER_BLOCK.path,
        label=f"A block of it in {fmt.name}, bit by bit",
        icon=menu.SUPER_BLOCK.icon,
        query_params=said | ({looking.ADDRESS: token} if token else {}),
    )


def drawable_block(fmt) -> bool:
    return fmt.kind == "block" and drawable(fmt)
