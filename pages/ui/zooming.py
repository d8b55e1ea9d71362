"""Four zooms into a tensor as it is and as a format stores it; the address keeps where the tile lies."""

import streamlit as st

from pages.ui import address, component
from quantlib import Tensor
from quantlib.figures import tiles
from quantlib.formats import FORMATS


def zoom(identity: str, tensor: Tensor, format: str) -> tuple[int, int]:
    """Show the zooms; returns the row and the column where the tile begins. `identity` tells checkpoints apart."""
    said = address.about(f"{tensor.name}/{format}", "top", "left")
    row = address.whole(said["top"], 0, tensor.nrows, 0)
    column = address.whole(said["left"], 0, tensor.n, 0)
    component.zooms(
        key="zooms",
        tile=_piece(identity, tensor.name, format, row, column, tensor),
        on_change=lambda: _to_address(f"{tensor.name}|{format}"),
    )
    return row, column


def _to_address(about: str) -> None:
    said = st.session_state["zooms"].get("tile")
    if said and said["token"].startswith(about):
        st.query_params.update(top=str(said["row"]), left=str(said["column"]))


@st.cache_resource(max_entries=128, show_spinner=False)
def _piece(identity: str, name: str, format: str, row: int, column: int, _tensor: Tensor) -> dict:
    found = tiles.tile(_tensor, FORMATS[format], row, column)
    shape, token = (_tensor.nrows, _tensor.n), f"{name}|{format}|{row}|{column}"
    return tiles.message(_overview(identity, name, _tensor), found, shape, token, format)


@st.cache_resource(max_entries=128, show_spinner=False)
def _overview(identity: str, name: str, _tensor: Tensor) -> tiles.Overview:
    return tiles.overview(_tensor)
