"""256 levels, then 16: an integer grid, its scale in the reader's hand, what sharing the scale costs, and a picture."""

import streamlit as st

from pages.ui import address, captions, component, menu, model, puzzle, terms, weight
from pages.ui.brought import read_picture
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.guess import answer, guess
from pages.ui.uploader import uploader
from pages.ui.zooming import zoom
from quantlib import Tensor
from quantlib.errors import FormatError
from quantlib.figures import picture, rounding, tiles
from quantlib.formats import FORMATS
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.rtn import round_to_nearest

SHOWN = 32  # weights of a row that are drawn
TARGET = 0.05  # relative error that the puzzle asks for
TILE_FORMATS = ("Q4_0", "Q2_K", "Q4_K", "Q6_K", "Q8_0")


def main() -> None:
    with chapter(menu.LEVELS) as page:
        with page.step(printed=True):
            spot = show_hand()
        with page.step("The same on a picture", printed=True):
            show_picture(spot)
        with page.step("Who shares a scale"):
            show_sharing(spot)
        with page.step("Where the error is"):
            show_tile(spot)
        with page.step("Symmetric or asymmetric?"):
            show_contest(spot)
        with page.step("Six decibels a bit"):
            show_decibels(spot)
        with page.step("Puzzle: good enough, with the fewest bits"):
            show_puzzle(spot)
        page.in_short(
            *rounding.conclusions(by_bits(*spot.about, spot.tensor)),
            question="A scale must cover the largest weight of all that share it. What if one of them is far larger "
            "than the others?",
        )


def show_hand() -> weight.Spot:
    spot = weight.beside(
        "An integer has no exponent, so its **levels** are evenly spaced, and only their distance can be chosen: "
        "the **scale**. **Press “now 16 levels”, then pull the highest level.**"
    )
    show_stairs(spot)
    return spot


@st.fragment
def show_stairs(spot: weight.Spot) -> None:
    said = address.about(spot.token, "bits", "grid", "share")
    bits = address.whole(said["bits"], 2, 8, 8)
    symmetric = said["grid"] != "asymmetric"
    share = address.whole(said["share"], 400, 1400, 1000)
    start = min(spot.column // SHOWN * SHOWN, max(0, spot.tensor.n - SHOWN))
    x = spot.tensor.rows(spot.row, spot.row + 1).reshape(-1)[start : start + SHOWN]
    component.stairs(
        key="stairs",
        row=rounding.row_message(x, spot.token, bits, symmetric, share, start, spot.column - start),
        on_change=lambda: stairs_to_address(spot.token),
    )
    captions.receipt(
        "measured",
        f"weights {start} to {start + x.size - 1} of row {spot.row}. Rings are the weights, dots what is stored, red "
        "the error; the codes are below. The staircase on the left is the same grid, from weight to stored value",
    )
    captions.show_python(
        f"{opening(spot)}"
        f"x = tensor.rows({spot.row}, {spot.row + 1}).reshape(-1)[{start}:{start + SHOWN}]\n"
        f"form = IntegerFormat({bits}, symmetric={symmetric}, scale_format=FP32)\n"
        f"scale, zero = form.scale_and_zero(x.min() * {share / 1000}, x.max() * {share / 1000})\n"
        "q = form.encode(x, scale, zero)\n"
        "stored = form.value(q, scale, zero)\n"
        'print("scale", scale, "zero point", zero)\n'
        "print(q)\n"
        "print(compare(x, stored))",
        IntegerFormat.scale_and_zero,
        IntegerFormat.encode,
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
def show_picture(spot: weight.Spot) -> None:
    terms.say(
        "A picture shows at a glance what a table of errors cannot. Its pixels are stored here by the same quantizers "
        "as weights are. Above is what is read back, below its **error**, four times as strong."
    )
    html, said = gallery(own_picture(), *spot.about, spot.tensor)
    st.html(html)
    st.markdown(said)
    captions.receipt(
        "measured",
        "16 levels in the first three; grey values are counted from the picture's mean. The picture was drawn for this "
        "page. Of one you bring this server keeps the grey values that you see, until your visit ends",
    )
    captions.show_python(
        spot.opening + "from quantlib.figures import picture\n\n"
        "pixels = picture.still_life()\n"
        "for one in picture.stored(pixels):\n"
        '    print(one.name, one.how, f"{one.bpw:.3g} bits, {one.relative:.1%}")\n'
        "print(picture.conclusion(pixels, tensor))",
        picture.stored,
    )


def own_picture() -> bytes | None:
    """The grey values of the picture that a visitor brought, or None; kept for the visit."""
    with st.popover("Your own picture", icon="🖼️"):
        token = uploader("own-picture", "picture", "Bring a picture", "PNG or JPEG, at most 20 MB")
        if token:
            try:
                st.session_state["own-picture-grey"] = read_picture(token)
            except FormatError as error:
                st.warning(model.told(error))
        held: bytes | None = st.session_state.get("own-picture-grey")
        if held is not None and st.button("Back to the drawn picture", key="own-picture-back"):
            held = st.session_state["own-picture-grey"] = None
    return held


@st.cache_data(max_entries=32, ttl=3600, show_spinner="Storing the picture in every format …")
def gallery(brought: bytes | None, identity: str, name: str, _tensor: Tensor) -> tuple[str, str]:
    pixels = picture.still_life() if brought is None else picture.of_bytes(brought)
    return picture.gallery_html(pixels, picture.stored(pixels)), picture.conclusion(pixels, _tensor)


@st.fragment
def show_contest(spot: weight.Spot) -> None:
    terms.say(
        "A symmetric grid has its middle at zero: ŵ = s · q. An asymmetric one spans from the smallest weight to the "
        "largest, and stores a **zero point** z: ŵ = s · (q − z). At 4 bits the usual symmetric grid leaves one of its "
        "16 codes unused, so that both sides are equal. Every row of the tensor gets each of the three grids."
    )
    found = contest(*spot.about, spot.tensor)
    st.html(rounding.grids_html(spot.tensor.rows(spot.row, spot.row + 1).reshape(-1)))
    said = guess("Which of the three has the least error over all rows?", list(rounding.GRIDS))
    answer(said, found.winner, found.conclusion)
    if said is None:
        return
    st.html(rounding.contest_html(found))
    captions.receipt("measured", f"on {found.rows:,} rows, scales that cover each row, 4 bits, no search")
    captions.show_python(
        f"{opening(spot)}found = rounding.contest(rounding.sampled_rows(tensor))\n"
        "for grid in found.grids:\n    print(grid)\nprint(found.conclusion)",
        rounding.contest,
    )


@st.fragment
def show_sharing(spot: weight.Spot) -> None:
    terms.say(
        "One scale for the whole tensor is cheap, but the largest weight then sets it for everyone. A scale for every "
        "row, or for every few weights in it (a **group**), fits better and must be stored too. "
        "Bits per weight = bits of a code + 16 bits of a scale ÷ weights that share it."
    )
    bits = st.segmented_control("Bits of a code", [8, 4, 3, 2], default=4, key="at", bind="query-params", required=True)
    found = by_granularity(*spot.about, bits, spot.tensor)
    st.html(rounding.sharing_html(found))
    captions.receipt("measured", "symmetric grids that cover their weights, scales in FP16, round to nearest")
    captions.data(rounding.to_csv(found), "sharing.csv")
    captions.show_python(
        f"{opening(spot)}x = rounding.sampled_rows(tensor)\n"
        f"for found in rounding.by_granularity(x, {bits}):\n    print(found)",
        rounding.by_granularity,
        round_to_nearest,
    )


@st.fragment
def show_tile(spot: weight.Spot) -> None:
    """The zooms: weights and their errors, side by side."""
    terms.say(
        "From afar a tensor looks like noise, and so does its error. But the error has streaks. Each is a **block** "
        "that shares a scale with one large weight."
    )
    tensor = spot.tensor
    offered = [name for name in TILE_FORMATS if tensor.n % FORMATS[name].values == 0]
    if not offered:
        st.info(f"None of these formats fits rows of {tensor.n} weights.", icon="📏")
        return
    name = st.segmented_control("Stored as", offered, default=offered[0], key="as", bind="query-params", required=True)
    row, column = zoom(spot.opened.identity, tensor, name)
    captions.receipt(
        "measured", "blue is negative, orange positive; colours end at the 99th percentile of magnitudes shown"
    )
    captions.show_python(
        f"{opening(spot)}piece = tiles.tile(tensor, FORMATS[{name!r}], {row}, {column})\n"
        "print(piece.weights.shape)\nprint(compare(piece.weights, piece.stored))",
        tiles.tile,
        tiles.largest_in_each,
    )


def show_decibels(spot: weight.Spot) -> None:
    terms.say(
        "**Signal to noise** says the same as the relative error, in decibels (dB): 20 dB more is a tenth of the "
        "error. Take away a bit, and the levels are twice as far apart. The error doubles, which is 6.02 dB, as long "
        "as there are many levels. A finer sharing of scales moves the whole line up."
    )
    found = by_bits(*spot.about, spot.tensor)
    chart("decibels", rounding.decibel_figure, found, about=spot.about)
    captions.receipt(
        "measured",
        "signal to noise = 10 · log₁₀(Σw² ÷ Σ(w − ŵ)²), symmetric grids that cover their weights; "
        "the dotted line falls by 6.02 dB for every bit from the best of them",
    )
    captions.data(rounding.to_csv(found), "decibels.csv")
    captions.show_python(
        f"{opening(spot)}print(rounding.to_csv(rounding.by_bits(rounding.sampled_rows(tensor))))", rounding.by_bits
    )


@st.fragment
def show_puzzle(spot: weight.Spot) -> None:
    """The fewest bits per weight that bring the tensor's error to the target; the score is against the best."""
    found = every_choice(*spot.about, spot.tensor)
    good = [r for r in found if r.relative <= TARGET]
    if not good:
        st.info(f"No choice on offer brings this tensor below {TARGET:.0%}. Try another weight.", icon="🧩")
        return
    terms.say(
        f"Bring the relative error of the tensor to **{TARGET:.0%} or less** with as few **bits per weight** as you "
        "can. Scales are counted, too."
    )
    sharing = list(dict.fromkeys(r.sharing for r in found))
    bits = st.segmented_control(
        "Bits for a code", range(2, 9), default=8, key="spend-bits", bind="query-params", required=True
    )
    shared = st.segmented_control(
        "One scale", sharing, default=sharing[0], key="spend-shared", bind="query-params", required=True
    )
    tried = next(r for r in found if (r.bits, r.sharing) == (bits, shared))
    puzzle.scored(error=tried.relative, bits=tried.bpw, target=TARGET, best=min(r.bpw for r in good), free=0)


def opening(spot: weight.Spot) -> str:
    """The first lines of every snippet of this page."""
    return spot.opening + (
        "from quantlib.figures import rounding, tiles\n"
        "from quantlib.formats import FORMATS\n"
        "from quantlib.formats.floats import FP32\n"
        "from quantlib.formats.integers import IntegerFormat\n"
        "from quantlib.metrics import compare\n\n"
    )


@st.cache_data(max_entries=512, show_spinner="Rounding every row …")
def contest(source: str, name: str, _tensor: Tensor) -> rounding.Contest:
    return rounding.contest(rounding.sampled_rows(_tensor))


@st.cache_data(max_entries=512, show_spinner="Rounding with every kind of scale …")
def by_granularity(source: str, name: str, bits: int, _tensor: Tensor) -> list[rounding.Rounding]:
    return rounding.by_granularity(rounding.sampled_rows(_tensor), bits)


@st.cache_data(max_entries=512, show_spinner="Rounding to 8, 7, … 2 bits …")
def by_bits(source: str, name: str, _tensor: Tensor) -> list[rounding.Rounding]:
    return rounding.by_bits(rounding.sampled_rows(_tensor))


@st.cache_data(max_entries=512, show_spinner="Trying every choice …")
def every_choice(source: str, name: str, _tensor: Tensor) -> list[rounding.Rounding]:
    return rounding.choices(rounding.sampled_rows(_tensor, 1 << 17))


main()
