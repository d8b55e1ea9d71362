"""Inside a super-block: 256 weights, 144 bytes, and which bit belongs to which weight."""

import streamlit as st

from pages.ui import address, captions, component, importance, menu, model
from pages.ui.chapter import Chapter, chapter
from pages.ui.charts import chart
from pages.ui.guess import guess, verdict
from quantlib import Tensor
from quantlib.figures import block as blocks
from quantlib.figures import dot as dots
from quantlib.figures import race as races
from quantlib.figures import weights
from quantlib.formats import FORMATS, BlockFormat
from quantlib.metrics import compare

FIRST = ("Q4_K", "Q6_K", "Q8_0")
NAMES = [*FIRST, *(f.name for f in FORMATS.values() if blocks.drawable(f) and f.name not in FIRST)]
SUPER = 256  # weights of a super-block
MEASURES = ("every weight alike", "large weights more", "important inputs more")
RIVALS = ("Q4_0", "Q4_1", "Q4_K")
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
    "Q4_0": "Sixteen levels, one float d for 32 weights: half a bit each. The weight of largest magnitude becomes "
    "−8, and nothing is searched.",
    "Q4_1": "As Q4_0, but the levels start where the weights do: a second float, the minimum m, costs another half "
    "bit for each weight.",
    "IQ2_XXS": "Two bits are too few for a level each. **Eight neighbours share one code**: the number of a point on a "
    "grid of 256 points, chosen from the 6,561 that three magnitudes would allow. Signs are kept apart, seven bits "
    "for eight weights: the eighth follows, for their number of minus signs is kept even.",
    "IQ4_NL": "Sixteen levels again, but not evenly spaced: a table says where they lie, close together near zero, "
    "where the weights are.",
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
        show_stored(tensor, fmt, index)
    with page.step(f"Where {fmt.bpw:g} bits per weight come from"):
        show_size(fmt)
    at = index if fmt.values == SUPER else index * fmt.values // SUPER
    if tensor.n % SUPER == 0:
        with page.step("The scale race", printed=True):
            show_race(tensor, at)
        with page.step("Three ways to spend four bits"):
            show_rivals(tensor, at)
        with page.step("What the CPU does with it"):
            show_cpu(tensor, at)
    page.in_short(
        "Every weight of Q4_K is a 4-bit code. Blocks of 32 have a 6-bit sub-scale and a 6-bit sub-minimum; 256 "
        "weights share two half-precision floats. 144 bytes in all: 4.5 bits per weight.",
        "Decoding is one multiplication and one subtraction: d · sc · q − dmin · mn.",
        "The quantizer does not just span the smallest and the largest weight. It tries many scales and keeps the one "
        "with the least weighted error.",
        "An importance matrix changes only what an error counts. It changes no format and no file size.",
        "The weights stay packed in memory. The CPU multiplies codes as whole numbers and applies the scales last.",
    )


def show_stored(tensor: Tensor, fmt: BlockFormat, index: int) -> None:
    if tensor.n % fmt.values:
        st.info(
            f"{fmt.name} needs rows of a multiple of {fmt.values} weights; this tensor's have {tensor.n}.", icon="📏"
        )
        return
    steering = importance.of_block(tensor, fmt.values, index) if fmt.requires_importance else None
    if fmt.requires_importance and steering is None:
        st.info(f"{fmt.name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    if fmt.requires_importance:
        st.caption(f"{fmt.name} needs to know which inputs are large. {importance.RECEIPT.capitalize()}.")
    block = blocks.store(fmt, weights.block_at(tensor, fmt.values, index), steering)
    show_block(tensor, block, index)


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
        key="brush",
        block=blocks.message(block, token),
        start=weight,
        on_change=lambda: address.keep("brush", "weight", token),
    )
    loss = compare(block.weights, block.decoded)
    captions.receipt(
        "measured",
        f"{loss.count} weights stored in {block.format.nbytes} bytes. Root mean square error {loss.rmse:.3g}, "
        f"{loss.relative:.2%} of the weights' own root mean square {loss.rms:.3g}; "
        f"largest error {loss.largest_error:.3g}.",
    )
    group = weight // block.group
    about = (source(), token, group)
    with st.container(key="noprint-pictures"):
        show_group(block, group, about)
        if block.trace.scales.shape[1] > 1:
            show_search(block, group, about)
    captions.data(blocks.to_csv(block), f"{block.format.name}-block.csv", key="block-csv")
    captions.show_python(snippet(tensor, block.format, index), *block.format.reference, block.format.decode)


def weight_from_address(token: str, values: int) -> int:
    """The weight that `?weight=` names, unless it was about another block; else the first."""
    return address.whole(address.about(token, "weight")["weight"], 0, values - 1, 0)


def show_group(block: blocks.StoredBlock, group: int, about: tuple) -> None:
    """Before and after, for the weights that share a scale."""
    part = f"Block {group}" if block.trace.groups > 1 else "The block"
    st.subheader(f"{part}, before and after", anchor=False)
    chart("before_after", blocks.before_after, block, group, about=about)
    captions.receipt(
        "measured",
        "Rings are the weights, squares what is stored; the red line between them is the error, drawn again below.",
    )


def show_search(block: blocks.StoredBlock, group: int, about: tuple) -> None:
    """How the scale of that group was found."""
    st.subheader("How its scale was found", anchor=False)
    st.markdown(
        f"No formula gives the best scale, so the quantizer tries {block.trace.scales.shape[1]}: for each it rounds "
        f"the weights, fits the scale anew to the codes it got, and adds up the {block.trace.measure} errors, large "
        "weights counting more. The least sum wins. Then the winner is itself rounded, to what d times a whole number "
        "can say: the dashed line."
    )
    chart("search", blocks.search_figure, block, group, about=about)
    captions.receipt(
        "measured", "Every candidate that ggml's search tries for this block, in the same float32 arithmetic."
    )


def show_size(fmt: BlockFormat) -> None:
    st.html(blocks.size_html(fmt))
    captions.receipt("exact", "Counted from the declaration that also packs and unpacks the bytes above.")


@st.fragment
def show_race(tensor: Tensor, index: int) -> None:
    st.markdown(
        "Sixteen levels have to cover 32 weights. Where to put them? The plain answer spans from the lowest weight to "
        "the highest. ggml searches: it stretches and shifts the levels a little, again and again, and keeps the best. "
        "With an importance matrix it knows which weights meet large inputs, and counts their errors more."
    )
    said = guess(
        "How much smaller than min/max's is the search's error on this block, every weight counted alike?",
        ("less than 10 %", "10 to 30 %", "more than 30 %"),
        key="race-guess",
    )
    if said is None:
        return
    run_race(tensor, index, said)


@st.fragment
def run_race(tensor: Tensor, index: int, said: str) -> None:
    group = st.segmented_control("Block of 32", range(8), default=0, key="group", bind="query-params", required=True)
    found = the_race(source(), tensor.name, index, group, tensor)
    with st.container(key="race-story"):
        st.markdown(races.answer(found, said))
    token = f"{tensor.name}/{index}/{group}"
    state = address.about(token, "d", "m", "counts")
    place = tuple(address.whole(state[name], 0, 9999, -1) for name in ("d", "m"))
    measure = list(found.measures)[address.whole(state["counts"], 0, len(found.measures) - 1, 0)]
    component.race(
        key="race",
        race=races.message(found, token, measure, None if -1 in place else place),
        on_change=lambda: race_to_address(token),
    )
    captions.receipt(
        "measured",
        "small dots are the candidates that ggml's searches tried, in their float32 arithmetic; every error is counted "
        f"anew with each weight at its nearest level, as a share of min/max's. {importance.RECEIPT.capitalize()}. "
        "What is found is rounded to six bits afterwards.",
    )
    captions.data(lambda: races.to_csv(found), "scale-race.csv")
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import race, weights\n"
        "from quantlib.figures.inputs import column_importance\n\n"
        f"{importance.PYTHON}"
        f"block = weights.block_at(tensor, {SUPER}, {index})\n"
        f"found = race.race(block, {group}, weights.columns_of_block(importance, {SUPER}, {index}))\n"
        "print(race.to_csv(found))",
        races.race,
        FORMATS["Q4_K"].reference[1],
    )


def race_to_address(token: str) -> None:
    said = address.reported("race", "place", token)
    if said:
        scale, minimum = said["place"]
        st.query_params.update(d=str(scale), m=str(minimum), counts=str(said["measure"]))


@st.cache_resource(max_entries=256, show_spinner=False)
def the_race(source: str, name: str, index: int, group: int, _tensor: Tensor) -> races.Race:
    return races.race(weights.block_at(_tensor, SUPER, index), group, importance.of_block(_tensor, SUPER, index))


@st.fragment
def show_rivals(tensor: Tensor, index: int) -> None:
    st.markdown(
        "Q4_0 gives each 32 weights a scale. Q4_1 adds a minimum, and half a bit. Q4_K has both, quantizes them, and "
        "with the bits it saved stays at Q4_0's size. The same 256 weights, stored three times:"
    )
    said = guess("Which of the three loses least on these weights?", RIVALS, key="rivals")
    if said is None:
        return
    found = races.side_by_side(weights.block_at(tensor, SUPER, index), RIVALS)
    best = races.best(found)
    st.markdown(f"{verdict(said, best)} Sizes differ too: look at bits and error together.")
    st.html(races.side_by_side_html(found))
    captions.receipt("measured", f"super-block {index} of `{tensor.name}`, no importance matrix")
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import race, weights\n\n"
        f"for rival in race.side_by_side(weights.block_at(tensor, {SUPER}, {index}), {RIVALS}):\n    print(rival)",
        races.side_by_side,
    )


def show_cpu(tensor: Tensor, index: int) -> None:
    st.markdown(
        "Nobody unpacks these weights into floats and keeps them. The 144 bytes travel from memory as they are: a "
        "seventh of what FP32 needs, and memory traffic is what limits a model that writes. In the CPU the codes meet "
        "**activations that were quantized too**, to whole numbers a of 8 bits (llama.cpp calls that Q8_K). 256 "
        "products of small integers are summed, eight sub-scales and eight sub-minima weigh the sums, and the floats "
        "come last, once for 256 weights. Here with a real input of this tensor:"
    )
    x = importance.input_of_block(tensor, SUPER, index)
    if x is None:
        st.info("This model is not run here, so there is no real input to multiply with.", icon="🧭")
        return
    found = dots.dot(weights.block_at(tensor, SUPER, index), x)
    st.html(dots.dot_html(found))
    captions.receipt(
        "measured",
        f"the tensor's input at the last token of “{importance.SENTENCE}”, the {SUPER} channels that this super-block "
        "meets. a: the activations' codes, dₐ their scale.",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import dot, weights\n"
        "from quantlib.figures.inputs import last_inputs\n\n"
        f"x = last_inputs(checkpoint, {importance.SENTENCE!r})[tensor.name]\n"
        f"print(dot.dot(weights.block_at(tensor, {SUPER}, {index}), weights.columns_of_block(x, {SUPER}, {index})))",
        dots.dot,
        FORMATS["Q8_K"].reference[0],
    )


def source() -> str:
    return model.current().identity


def opening(tensor: Tensor) -> str:
    """The first lines of the snippets of this page."""
    return (
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(model.current_checkpoint())!r})\n"
        f"tensor = checkpoint.tensors[{tensor.name!r}]\n"
    )


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
