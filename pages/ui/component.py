"""What moves with the pointer: components that run wholly in the browser.

Python sends integers and bit patterns (never floats: a NaN would break the message) and bytes as base64. It hears where
the reader stands once the pointer has rested for 80 ms.
"""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import streamlit as st

from quantlib.figures import palette

ASSETS = Path(__file__).parents[2] / "assets" / "component"
IMPORTED = re.compile(r'^(?:import|\}) [^"]*from "\./([^"]+)";', re.MULTILINE)


def bundle(*names: str) -> str:
    """The modules and those that they import in one: each once, what it imports before it."""
    return "\n".join(_without_imports(_source(name)) for name in _with_imported(names, ()))


def _with_imported(names: Iterable[str], before: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in before:
            before = (*_with_imported(IMPORTED.findall(_source(name)), before), name)
    return before


def _source(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _without_imports(source: str) -> str:
    """The module's text without its import statements, each of which ends at the first semicolon."""
    kept, importing = [], False
    for line in source.splitlines():
        importing = importing or line.startswith("import ")
        if not importing:
            kept.append(line)
        elif line.rstrip().endswith(";"):
            importing = False
    return "\n".join(kept)


def make(name: str, *scripts: str) -> Callable:
    """Register the component `name`: its style sheet is `name`.css, its modules `scripts`, the last with the export.

    What these import comes with them.

    Call it once, when a module is imported. The root element has the classes "ql" and `name`. State may have any name
    but "value", which Streamlit keeps to itself without a word.
    """
    sheets = ("base.css", "image.css", "plot.css", "dial.css", f"{name}.css")
    component = st.components.v2.component(
        f"quantlib.{name}",
        html=f'<div class="ql {name}"></div>',
        css=palette.css() + "".join((ASSETS / sheet).read_text(encoding="utf-8") for sheet in sheets),
        js=bundle(*scripts),
    )

    def shown(*, key: str, data: dict | str, **reports: Callable[[], None]) -> None:
        # In a list: of a dictionary Streamlit asks whether its values are data frames, for which it loads pandas.
        component(key=key, data=[data], **reports)

    return shown


_bits = make("bits", "bits.js")
_block = make("block", "block.js")
_scrubber = make("scrubber", "scrubber.js")
_columns = make("columns", "columns.js")
_stairs = make("stairs", "stairs.js")
_zooms = make("zooms", "zooms.js")
_ladder = make("ladder", "ladder.js")
_race = make("race", "race.js")
_marks = make("marks", "marks.js")
_rulers = make("rulers", "rulers.js")
_pick = make("pick", "pick.js")
_line = make("line", "line.js")
_few_bits = make("few_bits", "few_bits.js")
_asked = make("asked", "asked.js")
_skyline = make("skyline", "skyline.js")
_mending = make("mending", "mending.js")
_presenter = make("presenter", "presenter.js")


def packed(data: dict) -> dict:
    """The message with its bytes as base64: JSON has none (`unpacked` of dom.js undoes it)."""
    return {
        name: base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        for name, value in data.items()
    }


def bit_strip(
    *,
    key: str,
    token: str,
    label: str,
    formats: Sequence[dict],
    weight: int,
    start: int,
    set_by: str,
    presets: Sequence[dict],
    on_change: Callable[[], None],
) -> None:
    """One value in several float formats; flipping a bit calls `on_change`.

    `formats`: {"name", "e", "m"} each. `weight`, `start` and a preset's "bits" are FP32 bit patterns: the real weight,
    what the strip shows first (`set_by` names the row that sets it), and values worth trying. A new `token` puts the
    strip back to `start`. `st.session_state[key]["bits"]` is then {"token", "bits", "set"}.
    """
    data = {
        "token": token,
        "label": label,
        "formats": list(formats),
        "weight": weight,
        "start": start,
        "set": set_by,
        "presets": list(presets),
    }
    _bits(key=key, data=data, on_bits_change=on_change)


def block_brush(*, key: str, block: dict, start: int, on_change: Callable[[], None]) -> None:
    """One stored block: its weights, its bytes, and how they depend on each other.

    `block` comes from `quantlib.figures.block.message`; `start` is the weight pointed at first.
    `st.session_state[key]["weight"]` is then {"token", "weight"}.
    """
    _block(key=key, data={**block, "start": start}, on_weight_change=on_change)


def scrubber(
    *,
    key: str,
    token: str,
    name: str,
    labels: Sequence[str],
    curve: Sequence[int] = (),
    rival: Sequence[int] = (),
    rivals: str = "",
    measure: str = "",
    unit: str = "",
    zoomed: bool = False,
    steps: str = "step",
    last: float | None = None,
    frames: bytes | None = None,
    shape: tuple[int, int] = (0, 0),
    picture: str = "",
    colours: str = "diverging",
    start: int = 0,
    on_change: Callable[[], None] = lambda: None,
) -> None:
    """A trace, step by step, moved by hand: what is said at each step, what was lost so far, a picture of each.

    `labels`: a sentence for each step. `curve`: FP32 bit patterns, the `measure` in `unit` after each step, over an
    axis named `steps` that ends at `last`; `zoomed` shows only the part where it lies. `rival`: a second curve, called
    `rivals`. `frames`: bytes (steps, rows, columns) with `shape` = (rows, columns), captioned `picture`. `colours` is
    "diverging" (byte 127 is zero, 0 and 254 the ends) or the name of a role (0 is nothing, 255 the full colour).
    A new `token` starts at `start`. `st.session_state[key]["step"]` is then {"token", "step"}.
    """
    rows, columns = shape
    data = {
        "token": token,
        "name": name,
        "labels": list(labels),
        "curve": list(curve),
        "rival": list(rival),
        "rivals": rivals,
        "measure": measure,
        "unit": unit,
        "zoomed": zoomed,
        "steps": steps,
        "last": len(labels) - 1 if last is None else last,
        "frames": frames,
        "rows": rows,
        "columns": columns,
        "picture": picture,
        "colours": colours,
        "start": start,
    }
    _scrubber(key=key, data=packed(data), on_step_change=on_change)


def columns(*, key: str, columns: dict, on_change: Callable[[], None]) -> None:
    """A few weights on their levels, rounded step by step or by the reader; from `smarter_rounding.pictures`.

    `st.session_state[key]["at"]` is then {"token", "at"}: the step, or a 0 or a 1 for each weight.
    """
    _columns(key=key, data=columns, on_at_change=on_change)


def stairs(*, key: str, row: dict, on_change: Callable[[], None]) -> None:
    """A row of weights on an integer grid whose scale the reader holds.

    `row` comes from `quantlib.figures.rounding.row_message`. `st.session_state[key]["grid"]` is then {"token", "bits",
    "symmetric", "share"}: the share of the covering scale in thousandths.
    """
    _stairs(key=key, data=row, on_grid_change=on_change)


def zooms(*, key: str, tile: dict, on_change: Callable[[], None]) -> None:
    """Four zooms into a tensor. `tile` comes from `quantlib.figures.tiles.message`.

    `st.session_state[key]["tile"]` is then {"token", "row", "column"}: where the reader moved the tile.
    """
    _zooms(key=key, data=packed(tile), on_tile_change=on_change)


def ladder(*, key: str, ladder: dict, on_change: Callable[[], None]) -> None:
    """256 weights from one scale for all to Q4_K, a rung at a time; from `super_block.pictures.ladder_message`.

    `st.session_state[key]["rung"]` is then {"token", "rung"}: the number of the rung, from 0.
    """
    _ladder(key=key, data=ladder, on_rung_change=on_change)


def race(*, key: str, race: dict, on_change: Callable[[], None]) -> None:
    """A map of scales and minima with those who searched it; the reader looks for a better place.

    `race` comes from `super_block.race.message`. `st.session_state[key]["place"]` is then {"token", "measure",
    "place"}: the measure's number, and the reader's scale and minimum in thousandths of min/max's.
    """
    _race(key=key, data=race, on_place_change=on_change)


def marks(*, key: str, marks: dict, on_change: Callable[[], None]) -> None:
    """Marks under a histogram that the reader places against two rivals; from `codebooks.pictures.marks_message`.

    `st.session_state[key]["marks"]` is then {"token", "marks"}: thousandths of the largest of a block, "-1000_-350_…".
    """
    _marks(key=key, data=marks, on_marks_change=on_change)


def rulers(*, key: str, rulers: dict, on_change: Callable[[], None]) -> None:
    """Uneven rulers over a histogram, with a weight to drag; from `codebooks.pictures.rulers_message`.

    `st.session_state[key]["share"]` is then {"token", "share"}, in thousandths of the largest of a block.
    """
    _rulers(key=key, data=rulers, on_share_change=on_change)


def pick(*, key: str, pick: dict, on_change: Callable[[], None]) -> None:
    """Weights that share a code and the grid points near them; from `codebooks.pictures.pick_message`.

    `st.session_state[key]["candidate"]` is then {"token", "candidate"}: the place in the list of points.
    """
    _pick(key=key, data=pick, on_candidate_change=on_change)


def line(*, key: str, line: dict, on_change: Callable[[], None]) -> None:
    """One number on every format's number line, over a tensor's exponents; from `quantlib.figures.floats.line_message`.

    `st.session_state[key]["number"]` is then {"token", "bits", "window"}: the number as an FP32 pattern, and the power
    of two where the upper line ends.
    """
    _line(key=key, data=line, on_number_change=on_change)


def few_bits(*, key: str, ladder: dict, on_change: Callable[[], None]) -> None:
    """One model from 32 bits down, and what becomes of it; from `quantlib.figures.few_bits.message`.

    `st.session_state[key]["stop"]` is then {"token", "stop"}: where the slider is, as a place in the list of recipes.
    """
    _few_bits(key=key, data=ladder, on_stop_change=on_change)


def asked(*, key: str, ladder: dict, on_change: Callable[[], None]) -> None:
    """Plain questions to a real model from many bits to few; from `quantlib.figures.asked.asked_message`.

    `st.session_state[key]["stop"]` is then {"token", "stop"}: where the slider is, as a place in the ladder.
    """
    _asked(key=key, data=ladder, on_stop_change=on_change)


def skyline(*, key: str, channels: dict, on_change: Callable[[], None]) -> None:
    """Channels as bars and a slider that moves them; from `quantlib.figures.channels`.

    `st.session_state[key]["stop"]` is then {"token", "stop"}: where the slider is, as a place in its list of stops.
    """
    _skyline(key=key, data=packed(channels), on_stop_change=on_change)


def presenter(*, key: str, title: str, address: str, steps: int, presenting: bool, room: str, step: int) -> None:
    """The bar at a chapter's foot; while `presenting`, it shows one slide at a time and listens to keys.

    `room`: the name under which guesses are counted, or nothing.
    """
    data = {"title": title, "address": address, "steps": steps, "presenting": presenting, "room": room, "step": step}
    _presenter(key=key, data=data)


def mending(theme: str) -> None:
    """What Streamlit's own page needs to be read aloud well, and to be redrawn when its theme is no longer `theme`."""
    with st.container(key="mending"):
        st.markdown('<i class="raw-is-there"></i>', unsafe_allow_html=True)  # for first.js
        _mending(key="mending-component", data={"theme": theme}, on_theme_change=lambda: None)
