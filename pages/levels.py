"""256 levels, then 16: an integer grid, its scale in the reader's hand, and what sharing the scale costs."""

import streamlit as st

from pages.ui import address, captions, component, menu, model
from pages.ui.chapter import Chapter, chapter
from pages.ui.charts import chart
from pages.ui.guess import guess, verdict
from pages.ui.zooming import zoom
from quantlib import Tensor
from quantlib.figures import rounding, tiles
from quantlib.formats import FORMATS
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.rtn import round_to_nearest

DEFAULT = "model.layers.0.mlp.down_proj.weight"
SHOWN = 32  # weights of a row that are drawn
TILE_FORMATS = ("Q4_0", "Q2_K", "Q4_K", "Q6_K", "Q8_0")


def main() -> None:
    with chapter(menu.LEVELS) as page:
        tensor = show_hand(page)
        with page.step("Symmetric or asymmetric?"):
            show_contest(tensor)
        with page.step("Who shares a scale", printed=True):
            show_sharing(tensor)
        with page.step("Where the error lies"):
            show_tile(tensor)
        with page.step("Six decibels a bit"):
            show_decibels(tensor)
        page.in_short(
            "A grid of evenly spaced levels needs a scale: the distance between two levels. A code is a whole number.",
            "Every bit less doubles the distance and costs about 6 dB. 256 levels hide the error; 16 do not.",
            "A scale that covers the largest weight wastes levels on it. A smaller one clips it and may win.",
            "Weights lie almost evenly around zero, so a zero point buys little on a whole row of them.",
            "Small groups with a scale of their own are what makes 4 bits usable. A 16-bit scale for every 32 weights "
            "costs half a bit each.",
        )


def show_hand(page: Chapter) -> Tensor:
    """The staircase, and the tensor that the reader chose for the whole page."""
    with page.step(printed=True):
        st.markdown(
            "An integer has no exponent, so its levels lie evenly. All there is to choose is how far apart: the "
            "**scale** s. Here are weights of one row of a trained model. **Take the highest level and pull.** Too "
            "wide, and every weight is rounded coarsely. Too narrow, and the largest weights are cut off."
        )
        left, right = st.columns([3, 1])
        with left:
            tensor = model.tensor_picker("tensor", DEFAULT)
        with right:
            row = st.number_input("Row", 0, tensor.nrows - 1, 0, key="row", bind="query-params")
        show_stairs(tensor, row)
    return tensor


@st.fragment
def show_stairs(tensor: Tensor, row: int) -> None:
    token = f"{tensor.name}/{row}"
    said = address.about(token, "bits", "grid", "share")
    bits = address.whole(said["bits"], 2, 8, 4)
    symmetric = said["grid"] != "asymmetric"
    share = address.whole(said["share"], 400, 1400, 1000)
    x = tensor.rows(row, row + 1).reshape(-1)[:SHOWN]
    component.stairs(
        key="stairs",
        row=rounding.row_message(x, token, bits, symmetric, share),
        on_change=lambda: stairs_to_address(token),
    )
    captions.receipt(
        "measured",
        f"weights 0 to {x.size - 1} of row {row}. Rings are the weights, dots what is stored, red the error; "
        "the codes stand below. The staircase on the left is the same grid, from weight to stored value.",
    )
    captions.show_python(
        f"{opening(tensor)}"
        f"x = tensor.rows({row}, {row + 1})[0, :{SHOWN}]\n"
        f"form = IntegerFormat({bits}, symmetric={symmetric}, scale_format=FP32)\n"
        f"scale, zero = form.scale_and_zero(x.min() * {share / 1000}, x.max() * {share / 1000})\n"
        "q = form.encode(x, scale, zero)\n"
        "xhat = form.value(q, scale, zero)\n"
        'print("scale", scale, "zero point", zero)\n'
        "print(q)\n"
        "print(compare(x, xhat))",
        IntegerFormat.scale_and_zero,
        IntegerFormat.encode,
        IntegerFormat.value,
    )


def stairs_to_address(token: str) -> None:
    said = address.reported("stairs", "grid", token)
    if said:
        st.query_params.update(
            bits=str(said["bits"]),
            grid="symmetric" if said["symmetric"] else "asymmetric",
            share=str(said["share"]),
        )


@st.fragment
def show_contest(tensor: Tensor) -> None:
    """A guess, then both grids on every row."""
    st.markdown(
        "A symmetric grid has its middle at zero: x̂ = s · q. An asymmetric one spans from the smallest weight to the "
        "largest and stores a **zero point** z, the code that means zero: x̂ = s · (q − z). It fits lopsided rows "
        "better. Now give every row of the tensor one grid of 16 levels that just covers it."
    )
    said = guess("Which loses less on this tensor, row by row?", ("symmetric", "asymmetric"))
    if said is None:
        return
    found = contest(source(), tensor.name, 4, tensor)
    st.markdown(
        f"{verdict(said, found.winner)} Of {found.rows:,} rows, the symmetric grid has the smaller error in "
        f"**{found.symmetric:,}** and the asymmetric one in **{found.asymmetric:,}**. Over all rows the typical error "
        f"is {found.symmetric_relative:.2%} against {found.asymmetric_relative:.2%}. "
        "A symmetric grid of 4 bits has 15 levels, for it leaves one code out to keep zero in the middle; the other "
        "has all 16, and fits whichever side of the row is longer. The shorter the group, the more lopsided "
        "it is by chance, and the more a zero point buys: that is why k-quants store a minimum for every 32 weights."
    )
    captions.receipt("measured", f"on {found.rows:,} rows, scales covering each row, 4 bits, no search")
    captions.show_python(
        f"{opening(tensor)}x = rounding.sampled_rows(tensor)\nprint(rounding.contest(x, 4))", rounding.contest
    )


@st.fragment
def show_sharing(tensor: Tensor) -> None:
    st.markdown(
        "One scale for the whole tensor is cheap: and the largest weight anywhere sets it for everyone. A scale for "
        "every row (channel), or for every few weights in it (group), fits better and must be stored too. "
        "Bits per weight = bits of a code + 16 bits of a scale ÷ weights that share it."
    )
    bits = st.segmented_control("Bits of a code", [8, 4, 3, 2], default=4, key="at", bind="query-params", required=True)
    found = by_granularity(source(), tensor.name, bits, tensor)
    st.html(rounding.sharing_html(found))
    captions.receipt("measured", "symmetric grids that cover their weights, scales in FP16, round to nearest")
    captions.data(rounding.to_csv(found), "sharing.csv")
    captions.show_python(
        f"{opening(tensor)}x = rounding.sampled_rows(tensor)\n"
        f"for found in rounding.by_granularity(x, {bits}):\n    print(found)",
        rounding.by_granularity,
        round_to_nearest,
    )


@st.fragment
def show_tile(tensor: Tensor) -> None:
    """The four zooms."""
    st.markdown(
        "From afar a tensor looks like noise. Go nearer, and switch to *error*: it is noise again, and it has a "
        "pattern. Each block of weights has its own scale, so where one large weight sits, its whole block errs more."
    )
    offered = [name for name in TILE_FORMATS if tensor.n % FORMATS[name].values == 0]
    if not offered:
        st.info(f"None of these formats fits rows of {tensor.n} weights.", icon="📏")
        return
    name = st.segmented_control("Stored as", offered, default=offered[0], key="as", bind="query-params", required=True)
    row, column = zoom(source(), tensor, name)
    captions.receipt(
        "measured", "blue is negative, orange positive; colours end at the 99th percentile of magnitudes shown"
    )
    captions.show_python(
        f"{opening(tensor)}piece = tiles.tile(tensor, FORMATS[{name!r}], {row}, {column})\n"
        "print(piece.weights.shape)\nprint(compare(piece.weights, piece.stored))",
        tiles.tile,
        tiles.largest_in_each,
    )


def show_decibels(tensor: Tensor) -> None:
    st.markdown(
        "Take away a bit, and the levels lie twice as far apart: the error doubles, which is 6.02 decibels. A "
        "straight line, then, as long as there are many levels. Watch what the sharing of scales does: it moves the "
        "whole line."
    )
    found = by_bits(source(), tensor.name, tensor)
    chart("decibels", rounding.decibel_figure, found, about=(source(), tensor.name))
    captions.receipt(
        "measured",
        "signal to noise = 10 · log₁₀(Σx² ÷ Σ(x − x̂)²), symmetric grids that cover their weights; "
        "the dotted line falls by 6.02 dB for every bit from the best of them",
    )
    captions.data(rounding.to_csv(found), "decibels.csv")
    captions.show_python(
        f"{opening(tensor)}print(rounding.to_csv(rounding.by_bits(rounding.sampled_rows(tensor))))", rounding.by_bits
    )


def source() -> str:
    return model.current().identity


@st.cache_data(max_entries=512, show_spinner="Rounding every row …")
def contest(source: str, name: str, bits: int, _tensor: Tensor) -> rounding.Contest:
    return rounding.contest(rounding.sampled_rows(_tensor), bits)


@st.cache_data(max_entries=512, show_spinner="Rounding with every kind of scale …")
def by_granularity(source: str, name: str, bits: int, _tensor: Tensor) -> list[rounding.Rounding]:
    return rounding.by_granularity(rounding.sampled_rows(_tensor), bits)


@st.cache_data(max_entries=512, show_spinner="Rounding to 8, 7, … 2 bits …")
def by_bits(source: str, name: str, _tensor: Tensor) -> list[rounding.Rounding]:
    return rounding.by_bits(rounding.sampled_rows(_tensor))


def opening(tensor: Tensor) -> str:
    """The first lines of every snippet of this page."""
    return (
        "import quantlib as ql\n"
        "from quantlib.figures import rounding, tiles\n"
        "from quantlib.formats import FORMATS\n"
        "from quantlib.formats.floats import FP32\n"
        "from quantlib.formats.integers import IntegerFormat\n"
        "from quantlib.metrics import compare\n\n"
        f"tensor = ql.open_checkpoint({model.shown_path(model.current_checkpoint())!r}).tensors[{tensor.name!r}]\n"
    )


main()
