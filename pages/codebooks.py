"""Codebooks: levels that lie where the weights are, grids that eight weights share, and what importance changes."""

import streamlit as st

from pages.ui import address, captions, component, importance, menu, model
from pages.ui.chapter import chapter
from pages.ui.guess import guess, verdict
from quantlib import Tensor
from quantlib.figures import codebooks, rounding, weights
from quantlib.formats import FORMATS
from quantlib.formats.codebooks import CodebookFormat

DEFAULT = "model.layers.0.mlp.down_proj.weight"
SUPER = 256
RULERS = ("INT4", "NF4", "IQ4_NL", "MXFP4", "NVFP4")


def main() -> None:
    with chapter(menu.CODEBOOKS) as page:
        with page.step(printed=True):
            st.markdown(
                "Four bits name sixteen levels; nothing says that they must lie evenly. Weights crowd around zero, so "
                "a ruler with more marks there can lose less. Below, the weights of a real tensor, and five rulers in "
                "use. **Drag the weight.**"
            )
            tensor = model.tensor_picker("tensor", DEFAULT)
            if tensor.n % SUPER:
                st.info(f"These formats need rows of a multiple of {SUPER} weights; this has {tensor.n}.", icon="📏")
                return
            show_rulers(tensor)
        with page.step("Which ruler fits?"):
            ask_ruler(tensor)
        with page.step("Eight weights, one code", printed=True):
            show_pick(tensor)
        with page.step("What an importance matrix changes"):
            show_steering(tensor)
        page.in_short(
            "A codebook is a table of levels. A code is a place in the table, times the scale of its block.",
            "NF4 puts its levels where a normal distribution would have equal shares. IQ4_NL does it by a table of "
            "whole numbers. MXFP4 and NVFP4 use the eight magnitudes of a 4-bit float.",
            "Below three bits the i-quants give eight (or four) weights one code: a point of a grid. Signs are kept "
            "apart.",
            "An importance matrix steers how codes are chosen, in any format. Only the smallest i-quants need one.",
        )


@st.fragment
def show_rulers(tensor: Tensor) -> None:
    token = tensor.name
    start = address.whole(address.about(token, "share")["share"], -1000, 1000, 310)
    component.rulers(
        key="rulers",
        rulers=rulers_message(source(), tensor.name, start, tensor),
        on_change=lambda: address.keep("rulers", "share", token),
    )
    captions.receipt(
        "measured",
        f"blocks of {codebooks.BLOCK}; the largest weight of each is left out of the histogram. The rulers end where "
        "their formats' tables end. IQ4_NL reaches further on one side, and its scale may be negative, so it turns to "
        "where the largest weight is.",
    )
    captions.show_python(
        f"{opening(tensor)}x = rounding.sampled_rows(tensor)\n"
        "for ruler in codebooks.rulers():\n"
        "    print(ruler.name, ruler.entries.round(3), ruler.scale)\n"
        "print(codebooks.shares(x).counts)",
        codebooks.rulers,
        CodebookFormat.nearest,
    )


@st.fragment
def ask_ruler(tensor: Tensor) -> None:
    st.markdown(
        "NF4 was made for weights that are normally distributed, NVFP4 for the tensor cores of a GPU, IQ4_NL for "
        "llama.cpp. INT4 is the plain ruler. All but MXFP4 cost 4.5 bits per weight here; MXFP4 costs 4.25, for its "
        "scale is only a power of two."
    )
    said = guess("Whose error is the least on this tensor?", RULERS, key="fits")
    if said is None:
        return
    found = lost(source(), tensor.name, tensor)
    st.markdown(
        f"{verdict(said, found[0].name)} Where the marks lie is half of it. The other half is the scale: how "
        "many weights share one, how finely it is stored, and whether it was searched for."
    )
    st.html(codebooks.lost_html(found))
    captions.receipt(
        "measured", "the whole way into the format and back, on up to half a million weights of the tensor"
    )
    captions.show_python(
        f"{opening(tensor)}for found in codebooks.lost(rounding.sampled_rows(tensor)):\n"
        '    print(f"{found.name:8} {found.bpw} bits per weight, error {found.relative:.2%}")',
        codebooks.lost,
    )


@st.fragment
def show_pick(tensor: Tensor) -> None:
    st.markdown(
        "Two bits for each weight leave four levels: too few. But eight weights together have sixteen bits, and not "
        "every pattern of eight is worth a code. An i-quant keeps a **grid** of some hundred patterns of magnitudes, "
        "chosen once for all models, and stores the number of the pattern that comes nearest. Signs are stored beside "
        "it. Point at a pattern and compare."
    )
    left, right = st.columns([2, 1])
    with left:
        name = st.segmented_control(
            "Format", list(codebooks.GRIDS), default="IQ2_XXS", key="grid", bind="query-params", required=True
        )
    count = SUPER // codebooks.GRIDS[name]
    with right:
        at = st.number_input("Code", 0, count - 1, 0, key="code", bind="query-params")
    fmt = FORMATS[name]
    steering = importance.of_block(tensor, SUPER, 0)
    if fmt.requires_importance and steering is None:
        st.info(f"{name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    found = the_pick(source(), tensor.name, name, at, tensor)
    token = f"{tensor.name}/{name}/{at}"
    start = address.whole(address.about(token, "candidate")["candidate"], 0, len(found.points) - 1, 0)
    component.pick(
        key="pick",
        pick=codebooks.pick_message(found, token, start),
        on_change=lambda: address.keep("pick", "candidate", token),
    )
    with st.container(key="signs"):
        st.markdown(sign_story(found))
    captions.receipt(
        "measured",
        f"weights {at * codebooks.GRIDS[name]} and following of super-block 0, the scale as stored, errors counted as "
        f"the search counts them. {importance.RECEIPT.capitalize()}.",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures.inputs import column_importance\n\n"
        f"{importance.PYTHON}"
        f"block = weights.block_at(tensor, {SUPER}, 0)\n"
        f"found = codebooks.pick(FORMATS[{name!r}], block, importance[:{SUPER}], {at})\n"
        "for number, point, error in zip(found.numbers, found.points, found.errors):\n"
        '    print(number, point, f"{error:.3g}", "stored" if number == found.chosen else "")',
        codebooks.pick,
        fmt.reference[0],
    )


def sign_story(found: codebooks.Pick) -> str:
    """What happens to the signs in this format, and what happened to these."""
    if found.format not in ("IQ2_XXS", "IQ2_XS", "IQ3_XXS"):
        return "**Signs.** This format has the room to keep one sign bit for every weight."
    story = (
        "**The sign trick.** Eight signs get seven bits: the number of minus signs among eight weights is kept even, "
        "so the last sign follows from the others. Where it is odd, the weight that matters least gets the wrong sign. "
    )
    return story + (
        "Here that happened: the underlined sign." if found.flipped else "Here the signs could all be kept."
    )


@st.fragment
def show_steering(tensor: Tensor) -> None:
    st.markdown(
        "An **importance matrix** holds the mean square of every input channel, measured on a text. A weight that "
        "meets large inputs does more harm when it is wrong, so the search counts its error more. The bytes keep their "
        "format and their size."
    )
    said = guess(
        "With an importance matrix, what happens to the plain error of the weights?",
        ("it shrinks", "it grows"),
        key="steered",
    )
    if said is None:
        return
    found = steered(source(), tensor.name, tensor)
    if found is None:
        st.info("This model cannot be run here, so there is no importance matrix for it.", icon="🧭")
        return
    st.markdown(
        f"{verdict(said, codebooks.went(found))} The matrix spends error where it hurts least: what counts is the "
        f"error as the model meets it, every square times its channel's importance. {codebooks.but(found)}"
    )
    st.html(codebooks.steered_html(found))
    captions.receipt("measured", f"on evenly spaced rows. {importance.RECEIPT.capitalize()}.")
    captions.data(codebooks.steered_csv(found), "importance.csv")
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures.inputs import column_importance\n\n"
        f"{importance.PYTHON}"
        "for found in codebooks.steered(tensor, importance):\n    print(found)",
        codebooks.steered,
    )


def source() -> str:
    return model.current().identity


@st.cache_data(max_entries=256, show_spinner="Laying five rulers on the tensor …")
def lost(source: str, name: str, _tensor: Tensor) -> list[codebooks.Measured]:
    return codebooks.lost(rounding.sampled_rows(_tensor))


@st.cache_data(max_entries=256, show_spinner=False)
def shares(source: str, name: str, _tensor: Tensor) -> codebooks.Shares:
    return codebooks.shares(rounding.sampled_rows(_tensor))


def rulers_message(source: str, name: str, start: int, tensor: Tensor) -> dict:
    return codebooks.rulers_message(codebooks.rulers(), shares(source, name, tensor), name, start)


@st.cache_resource(max_entries=512, show_spinner=False)
def the_pick(source: str, name: str, format_name: str, at: int, _tensor: Tensor) -> codebooks.Pick:
    block, steering = weights.block_at(_tensor, SUPER, 0), importance.of_block(_tensor, SUPER, 0)
    return codebooks.pick(FORMATS[format_name], block, steering, at)


@st.cache_data(max_entries=256, show_spinner="Storing the tensor twice in five formats …")
def steered(source: str, name: str, _tensor: Tensor) -> list[codebooks.Steered] | None:
    columns = importance.of_columns(_tensor)
    return None if columns is None else codebooks.steered(_tensor, columns)


def opening(tensor: Tensor) -> str:
    """The first lines of every snippet of this page."""
    return (
        "import quantlib as ql\n"
        "from quantlib.figures import codebooks, rounding, weights\n"
        "from quantlib.formats import FORMATS\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(model.current_checkpoint())!r})\n"
        f"tensor = checkpoint.tensors[{tensor.name!r}]\n"
    )


main()
