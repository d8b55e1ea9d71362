"""The two components that move with the pointer: the bit strip and the block brush.

They run wholly in the browser. Python sends integers and bit patterns (never floats: a NaN would break the message)
and hears, at most every 80 ms, where the reader stands.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from quantlib.figures import palette

# How every chart behaves: no toolbar but the image download, no accidental zooming.
PLOT = {"displaylogo": False, "modeBarButtons": [["toImage"]], "scrollZoom": False}
ASSETS = Path(__file__).parents[2] / "assets" / "component"


def bundle(*names: str) -> str:
    """The modules in one: what they import from each other is already there."""
    sources = ((ASSETS / name).read_text(encoding="utf-8") for name in names)
    return "\n".join(_without_imports(source) for source in sources)


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


def _style(name: str) -> str:
    return palette.css() + "".join((ASSETS / part).read_text(encoding="utf-8") for part in ("base.css", name))


_bits = st.components.v2.component(
    "quantlib.bits",
    html='<div class="ql bits"></div>',
    css=_style("bits.css"),
    js=bundle("float_math.js", "dom.js", "bits.js"),
)
_block = st.components.v2.component(
    "quantlib.block",
    html='<div class="ql block"></div>',
    css=_style("block.css"),
    js=bundle("float_math.js", "dom.js", "block.js"),
)


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

    `block` comes from `quantlib.figures.block.block_data`; `start` is the weight pointed at first.
    `st.session_state[key]["weight"]` is then {"token", "weight"}.
    """
    _block(key=key, data={**block, "start": start}, on_weight_change=on_change)
