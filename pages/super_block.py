"""Inside a super-block: 256 weights, 144 bytes, and which bit belongs to which weight."""

import streamlit as st

from pages.ui import address, captions, component, menu, model
from pages.ui.chapter import Chapter, chapter
from pages.ui.chrome import theme
from quantlib import Tensor
from quantlib.figures import block as blocks
from quantlib.figures import weights
from quantlib.formats import FORMATS, BlockFormat
from quantlib.metrics import compare

FIRST = ("Q4_K", "Q6_K", "Q8_0")
NAMES = [*FIRST, *(f.name for f in FORMATS.values() if blocks.drawable(f) and f.name not in FIRST)]
DEFAULT = "model.layers.0.mlp.down_proj.weight"
STORY = {
    "Q4_K": "Sixteen levels are few, so each block of 32 weights gets a scale and a minimum of its own. Two "
    "half-precision floats for every 32 weights would cost a whole bit per weight: so those, too, are quantized. What "
    "a block keeps are two 6-bit integers, the **sub-scale** sc and the **sub-minimum** mn; the **super-block** keeps "
    "two floats, d and dmin, that turn all of them back into numbers.",
    "Q6_K": "With 64 levels the minimum is not worth its bits: each block of 16 weights has only a **sub-scale** sc, a "
    "signed byte, and the **super-block** one float d for all of them. A code of 32 stands for zero.",
    "Q8_0": "The plain case: 32 weights, one float d, a signed byte each. Nothing is split and nothing is searched: "
    "the largest magnitude becomes 127 or −127.",
}


def main() -> None:
    with chapter(menu.SUPER_BLOCK) as page:
        show(page)


def show(page: Chapter) -> None:
    with page.step(printed=True):
        st.markdown(
            "Real weights as a quantized file holds them. Point at a weight: the bits that it is made of light up. "
            "Point at a bit: the weights that depend on it do."
        )
        tensor, fmt, index = choose_block()
        st.markdown(STORY.get(fmt.name, fmt.summary))
        if tensor.n % fmt.values:
            st.info(
                f"{fmt.name} needs rows of a multiple of {fmt.values} weights; this tensor's have {tensor.n}.",
                icon="📏",
            )
            return
        block = blocks.store(fmt, weights.block_at(tensor, fmt.values, index))
        show_block(tensor, block, index)
    with page.step(f"Where {fmt.bpw:g} bits per weight come from"):
        show_size(fmt)


def choose_block() -> tuple[Tensor, BlockFormat, int]:
    """A block of a tensor in a format; the address names it."""
    left, middle, right = st.columns([2.4, 1.9, 1.1])
    with left:
        tensor = model.tensor_picker("tensor", DEFAULT)
    with middle:
        name = st.selectbox("Format", NAMES, key="format", bind="query-params")
    fmt = FORMATS[name]
    count = max(1, tensor.nrows * (tensor.n // fmt.values))
    with right:
        what = "Super-block" if fmt.values > 32 else "Block"
        index = st.number_input(what, 0, count - 1, 0, key="block", bind="query-params")
    return tensor, fmt, index


@st.fragment
def show_block(tensor: Tensor, block: blocks.StoredBlock, index: int) -> None:
    """The brush, then the block of the weight that the reader chose."""
    token = f"{tensor.name}/{block.format.name}/{index}"
    weight = weight_from_address(token, block.format.values)
    component.block_brush(
        key="brush", block=blocks.message(block, token), start=weight, on_change=lambda: weight_to_address(token)
    )
    loss = compare(block.weights, block.decoded)
    captions.receipt(
        "measured",
        f"{loss.count} weights stored in {block.format.nbytes} bytes. Root mean square error {loss.rmse:.3g}, "
        f"{loss.relative:.2%} of the weights' own root mean square {loss.rms:.3g}; "
        f"largest error {loss.largest_error:.3g}.",
    )
    group = weight // block.group
    before_after, search = pictures(str(model.current_checkpoint().source), token, group, theme(), block)
    show_group(block, group, before_after)
    if block.trace.scales.shape[1] > 1:
        show_search(block, search)
    captions.data(blocks.to_csv(block), f"{block.format.name}-block.csv", key="block-csv")
    captions.show_python(snippet(tensor, block.format, index), *block.format.reference, block.format.decode)


def weight_from_address(token: str, values: int) -> int:
    """The weight that `?weight=` names, unless it was about another block; else the first."""
    return address.whole(address.about(token, "weight")["weight"], 0, values - 1, 0)


def weight_to_address(token: str) -> None:
    said = address.reported("brush", "weight", token)
    if said:
        st.query_params["weight"] = str(said["weight"])


@st.cache_resource(max_entries=256, show_spinner=False)
def pictures(source: str, token: str, group: int, theme: str, _block: blocks.StoredBlock) -> tuple:
    """The two figures of one group: moving from weight to weight within it builds them once, for everyone who looks."""
    return blocks.before_after(_block, group, theme), blocks.search_figure(_block, group, theme)


def show_group(block: blocks.StoredBlock, group: int, figure) -> None:
    """Before and after, for the weights that share a scale."""
    part = f"Block {group}" if block.trace.groups > 1 else "The block"
    st.subheader(f"{part}, before and after", anchor=False)
    st.plotly_chart(figure, theme=None, config=component.PLOT, key="before_after")
    captions.receipt(
        "measured",
        "Rings are the weights, squares what is stored; the red line between them is the error, drawn again below.",
    )


def show_search(block: blocks.StoredBlock, figure) -> None:
    """How the scale of that group was found."""
    st.subheader("How its scale was found", anchor=False)
    st.markdown(
        f"No formula gives the best scale, so the quantizer tries {block.trace.scales.shape[1]}: for each it rounds "
        f"the weights, fits the scale anew to the codes it got, and adds up the {block.trace.measure} errors, large "
        "weights counting more. The least sum wins. Then the winner is itself rounded, to what d times a whole number "
        "can say: the dashed line."
    )
    st.plotly_chart(figure, theme=None, config=component.PLOT, key="search")
    captions.receipt(
        "measured", "Every candidate that ggml's search tries for this block, in the same float32 arithmetic."
    )


def show_size(fmt: BlockFormat) -> None:
    st.html(blocks.size_html(fmt))
    captions.receipt("exact", "Counted from the declaration that also packs and unpacks the bytes above.")


def snippet(tensor: Tensor, fmt: BlockFormat, index: int) -> str:
    """Runs as it stands, and prints what the page shows."""
    path = model.shown_path(model.current_checkpoint())
    row, at = divmod(index, tensor.n // fmt.values)
    return (
        "import quantlib as ql\n"
        "from quantlib.formats import FORMATS\n"
        "from quantlib.metrics import compare\n\n"
        f"tensor = ql.open_checkpoint({path!r}).tensors[{tensor.name!r}]\n"
        f"x = tensor.rows({row}, {row + 1})[0, {at * fmt.values}:{(at + 1) * fmt.values}]\n"
        f"form = FORMATS[{fmt.name!r}]\n"
        "trace = form.trace(x)                # every candidate tried, the codes, the bytes\n"
        "assert (trace.data == ql.quantize(x, form.name)).all()\n"
        'print("bytes", trace.data.tobytes().hex(" "))\n'
        'print("weight 0:", *form.spell(trace.codes, 0), sep="\\n  ")\n'
        'print(compare(x, trace.decoded), form.bpw, "bits per weight")'
    )


main()
