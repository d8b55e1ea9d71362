"""Our weight: the one that a visit follows through the chapters, the strip that shows its stations, and its choice.

    spot = weight.another()          # the small button "Another weight"; what the reader follows
    x = spot.tensor.rows(spot.row, spot.row + 1)

`chapter` draws the strip in every chapter's head. A chapter whose picture is of the weight that is followed takes it
from `another`; choosing another one there changes the strip, the picture and the address, and goes along to the next
chapter. Without a choice it is a weight of the calculator, or of what this visit opened the one that an outlier presses
on most. Snippets open `spot.opened.source`.
"""

from dataclasses import dataclass

import streamlit as st

from pages.server.opened import Opened
from pages.ui import address, captions, component, menu, model, terms
from quantlib import Tensor
from quantlib.errors import QuantlibError
from quantlib.figures import answer, journey

OURS = ("model.layers.2.mlp.down_proj.weight", 252, 239)
WANTED = "model.layers.0.mlp.down_proj.weight"  # of a model of the reader's own, what does this tensor's work
CHOSEN = "weight followed"  # in the session: identity of the checkpoint, tensor, row, column
_journey = component.make("journey", "float_math.js", "dom.js", "journey.js")


@dataclass(frozen=True)
class Spot:
    """A weight that is followed: row and column of a tensor of an opened checkpoint."""

    opened: Opened
    tensor: Tensor
    row: int
    column: int

    @property
    def place(self) -> journey.Place:
        return journey.Place(self.opened.checkpoint, self.tensor.name, self.row, self.column)

    @property
    def token(self) -> str:
        return f"{self.opened.identity}/{self.tensor.name}/{self.row}/{self.column}"

    @property
    def about(self) -> tuple[str, str]:
        """What measurements of its tensor are known by: checkpoint and tensor."""
        return self.opened.identity, self.tensor.name

    @property
    def opening(self) -> str:
        """The first lines of a snippet: the tensor, under the name `tensor`."""
        path = model.shown_path(self.opened.checkpoint)
        return f"import quantlib as ql\n\ntensor = ql.open_checkpoint({path!r}).tensors[{self.tensor.name!r}]\n"


def followed() -> Spot:
    """The weight that the address names, or that was chosen before on this visit, or the one to begin with."""
    opened = model.lesson()
    names = model.readable(opened.checkpoint)
    kept = st.session_state.get(CHOSEN)
    kept = kept[1:] if kept and kept[0] == opened.identity and kept[1] in names else None
    said = st.query_params.get("tensor")
    if said not in names:
        said = None
    name = said or (kept[0] if kept else _first(opened, names))
    tensor = opened.checkpoint.tensors[name]
    row, column = kept[1:] if kept and kept[0] == name else _start(opened, tensor)
    row = address.whole(st.query_params.get("row"), 0, tensor.nrows - 1, row)
    column = address.whole(st.query_params.get("column"), 0, tensor.n - 1, column)
    if said and st.query_params.get("row"):
        st.session_state[CHOSEN] = (opened.identity, name, row, column)
    return Spot(opened, tensor, row, column)


def beside(words: str) -> Spot:
    """What a chapter opens with: its words, and beside them the button for another weight; returns the one followed."""
    left, right = st.columns([5, 1.25], vertical_alignment="center")
    with left:
        terms.say(words)
    with right:
        return another()


def another() -> Spot:
    """The button that folds choosing tensor, row and column; returns the weight that is followed."""
    spot = followed()
    names = model.readable(spot.opened.checkpoint)
    with st.popover("Another weight", icon="🎯"):
        for key, value in (("tensor", spot.tensor.name), ("row", spot.row), ("column", spot.column)):
            st.session_state[f"follow-{key}"] = value
        st.selectbox("Tensor", names, key="follow-tensor", format_func=model.plain, on_change=_take_tensor)
        captions.glossed(spot.tensor.name)
        left, right = st.columns(2)
        left.number_input("Row", 0, spot.tensor.nrows - 1, key="follow-row", on_change=_take)
        right.number_input("Column", 0, spot.tensor.n - 1, key="follow-column", on_change=_take)
        st.button("Back to our weight", on_click=_back, width="stretch")
    return spot


def strip(entry: menu.Entry) -> None:
    """What became of the weight up to this chapter; nothing where it cannot be read."""
    try:
        spot = followed()
        told = _told(entry)
        message = _message(spot.token, told, entry.file, spot)
    except (QuantlibError, OSError):
        return
    with st.container(key="journey-strip"):
        _journey(key="journey", data=message | {"brief": address.flag("present")})


def _told(entry: menu.Entry) -> int:
    """How many stations the chapters up to this one have told."""
    order = [chapter.file.removesuffix(".py") for chapter in menu.CHAPTERS]
    at = order.index(entry.file.removesuffix(".py"))
    return sum(name in order[: at + 1] for name in journey.CHAPTERS)


@st.cache_resource(max_entries=512, show_spinner=False)
def _message(token: str, told: int, file: str, _spot: Spot) -> dict:
    at_hand = _spot.opened is model.calculator()
    working = (lambda: _working(_spot.opened.identity, _spot.tensor.name, _spot)) if at_hand else None
    found = journey.stations(_spot.place, told, working)
    return journey.message(_spot.place, found, file.removesuffix(".py"), f"{token}/{told}")


@st.cache_resource(max_entries=32, show_spinner="Letting the calculator work …")
def _working(identity: str, tensor: str, _spot: Spot) -> answer.Working:
    return answer.at_work(_spot.opened.checkpoint, tensor)


def _first(opened: Opened, names: list[str]) -> str:
    return OURS[0] if opened is model.calculator() else names[model.alike(names, WANTED, opened.checkpoint.tensors)]


def _start(opened: Opened, tensor: Tensor) -> tuple[int, int]:
    """Row and column to begin with."""
    if opened is model.calculator() and tensor.name == OURS[0]:
        return OURS[1:]
    return _strongest(opened.identity, tensor.name, tensor)


@st.cache_data(max_entries=512, show_spinner=False)
def _strongest(identity: str, name: str, _tensor: Tensor) -> tuple[int, int]:
    return journey.strongest(_tensor)


def _take_tensor() -> None:
    opened, name = model.lesson(), st.session_state["follow-tensor"]
    _keep(opened, name, *_start(opened, opened.checkpoint.tensors[name]))


def _take() -> None:
    said = (st.session_state[f"follow-{key}"] for key in ("tensor", "row", "column"))
    _keep(model.lesson(), *said)


def _keep(opened: Opened, name: str, row: int, column: int) -> None:
    st.session_state[CHOSEN] = (opened.identity, name, row, column)
    st.query_params.update(tensor=name, row=str(row), column=str(column))


def _back() -> None:
    st.session_state.pop(CHOSEN, None)
    address.forget("tensor", "row", "column")
