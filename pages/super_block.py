"""Inside a super-block: what scales cost and buy, which bit belongs to which weight, and a race for the best scale."""

import streamlit as st

from pages.ui import address, captions, component, importance, menu, model
from pages.ui.chapter import Chapter, chapter
from quantlib import Tensor
from quantlib.figures import block as blocks
from quantlib.figures import dot as dots
from quantlib.figures import weights
from quantlib.figures.super_block import ladder as ladders
from quantlib.figures.super_block import pictures, words
from quantlib.figures.super_block import race as races
from quantlib.figures.super_block import rivals as rivalry
from quantlib.formats import FORMATS, BlockFormat
from quantlib.metrics import compare

FIRST = ("Q4_K", "Q6_K", "Q8_0")
NAMES = [*FIRST, *(f.name for f in FORMATS.values() if blocks.drawable(f) and f.name not in FIRST)]
SUPER = 256  # weights of a super-block
MANY = 2048  # super-blocks of a tensor that the chapter measures
DEFAULT = "model.layers.0.mlp.down_proj.weight"


def main() -> None:
    with chapter(menu.SUPER_BLOCK) as page:
        show(page)


def show(page: Chapter) -> None:
    with page.step(printed=True):
        head = st.container()
        tensor, index = choose_block()
        if tensor.n % SUPER:
            head.info(
                f"A super-block is {SUPER} weights of a row, and the rows of this tensor have {tensor.n}.", icon="📏"
            )
            return
        with head:
            found = show_ladder(tensor, index)
    with page.step("Which bits belong to which weight", printed=True):
        show_stored(tensor, index)
    with page.step("Three ways to spend four bits"):
        show_rivals(tensor, index)
    with page.step("From a row of weights to an output"):
        show_output(tensor, index)
    with page.step("Puzzle: beat the search", printed=True):
        show_race(tensor, index)
    page.in_short(
        words.SIZE,
        words.bought(found),
        words.DECODING,
    )
    st.markdown(
        "**Next:** sixteen levels, all the same distance apart. But most weights are close to zero. Would it help to "
        "put the levels there?"
    )


def choose_block() -> tuple[Tensor, int]:
    """A super-block, the one of its tensor where the ladder does the most unless the reader wants another."""
    with st.popover("Another super-block"):
        tensor = model.tensor_picker("tensor", DEFAULT)
        count = max(1, tensor.nrows * (tensor.n // SUPER))
        first = steepest(source(), tensor.name, tensor) if tensor.n % SUPER == 0 else 0
        index = st.number_input("Super-block", 0, count - 1, first, key="block", bind="query-params")
    return tensor, index


@st.cache_data(max_entries=256, show_spinner=False)
def steepest(source: str, name: str, _tensor: Tensor) -> int:
    return ladders.steepest(many_blocks(_tensor))


def many_blocks(tensor: Tensor):
    """The first super-blocks of a tensor, float32 (blocks, 256)."""
    return weights.first_blocks(tensor, SUPER, MANY)


@st.cache_resource(max_entries=256, show_spinner=False)
def the_ladder(source: str, name: str, index: int, _tensor: Tensor) -> tuple[ladders.Rung, ...]:
    return ladders.climb(weights.block_at(_tensor, SUPER, index)[None])


@st.cache_data(max_entries=256, show_spinner=False)
def everywhere(source: str, name: str, _tensor: Tensor) -> str:
    x = many_blocks(_tensor)
    return words.everywhere(ladders.climb(x), x.size)


def show_ladder(tensor: Tensor, index: int) -> tuple[ladders.Rung, ...]:
    st.markdown(
        "256 real weights, each stored in 4 bits, so each falls on one of 16 levels. The levels need a **scale**. "
        "Press 1 to 4: how many scales are worth their bits?"
    )
    found = the_ladder(source(), tensor.name, index, tensor)
    token = f"{tensor.name}/{index}"
    x = weights.block_at(tensor, SUPER, index)
    start = address.whole(address.about(token, "rung")["rung"], 0, len(found) - 1, 0)
    component.ladder(
        key="ladder",
        ladder=pictures.ladder_message(x, found, token, start),
        on_change=lambda: address.keep("ladder", "rung", token),
    )
    captions.receipt(
        "measured",
        f"on super-block {index} of `{tensor.name}`, where the blocks differ the most unless you chose another; "
        f"{everywhere(source(), tensor.name, tensor)}. The first three rungs put the lowest weight (or 0) on the "
        "lowest level and the highest on the highest",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import ladder\n\n"
        f"block = weights.block_at(tensor, {SUPER}, {index})\n"
        "for rung in ladder.climb(block[None]):\n"
        '    print(f"{rung.name:24} {rung.bpw} bits, relative error {rung.relative:.1%}")',
        ladders.climb,
    )
    captions.data(lambda: pictures.ladder_csv(x, found), "scale-ladder.csv")
    return found


@st.fragment
def show_stored(tensor: Tensor, index: int) -> None:
    st.markdown(
        "The same weights as a file stores them. Point at a weight, and the bits that it is made of light up. Point at "
        "a bit, and you see which weights depend on it."
    )
    name = st.session_state.get("format") or st.query_params.get("format")
    show_brush(tensor, FORMATS[name if name in NAMES else NAMES[0]], index)
    st.selectbox("The same in another format", NAMES, key="format", bind="query-params")


def show_brush(tensor: Tensor, fmt: BlockFormat, index: int) -> None:
    """The brush over the block of this format in which the super-block begins."""
    at = index * SUPER // fmt.values
    steering = importance.of_block(tensor, fmt.values, at) if fmt.requires_importance else None
    if fmt.requires_importance and steering is None:
        st.info(f"{fmt.name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    block = blocks.store(fmt, weights.block_at(tensor, fmt.values, at), steering)
    token = f"{tensor.name}/{fmt.name}/{index}"
    start = address.whole(address.about(token, "weight")["weight"], 0, fmt.values - 1, 0)
    component.block_brush(
        key="brush",
        block=blocks.message(block, token),
        start=start,
        on_change=lambda: address.keep("brush", "weight", token),
    )
    captions.receipt("measured", words.stored(fmt, compare(block.weights, block.decoded)))
    st.html(blocks.size_html(fmt))
    captions.data(lambda: blocks.to_csv(block), f"{fmt.name}-block.csv", key="block-csv")
    captions.show_python(snippet(tensor, fmt, at), *fmt.reference, fmt.decode)


@st.fragment
def show_rivals(tensor: Tensor, index: int) -> None:
    st.markdown(
        "**Q4_0** gives every 32 weights a scale. **Q4_1** adds a minimum, and with it half a bit. **Q4_K** has both, "
        "but stores them in 6 bits, so it is as small as Q4_0. The same 256 weights, stored three times:"
    )
    found = rivalry.rivals(weights.block_at(tensor, SUPER, index))
    st.html(pictures.rivals_html(found))
    st.markdown(words.rivalry(found))
    captions.receipt("measured", f"super-block {index} of `{tensor.name}`, without an importance matrix")
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import rivals\n\n"
        f"for rival in rivals.rivals(weights.block_at(tensor, {SUPER}, {index})):\n    print(rival)",
        rivalry.rivals,
    )


def show_output(tensor: Tensor, index: int) -> None:
    st.markdown(
        "The weights are never unpacked into a second copy. The 144 bytes of a super-block travel from memory as they "
        "are. The **activations** that they are multiplied with are rounded too, to whole numbers a of 8 bits. The "
        "processor then multiplies whole numbers and adds them up. The scales come last:"
    )
    x = importance.input_of_row(tensor)
    if x is None:
        st.info("This model is not run here, so there is no real input to multiply with.", icon="🧭")
        return
    row, at = divmod(index, tensor.n // SUPER)
    found = the_outputs(source(), tensor.name, row, tensor)
    st.html(dots.dot_html(found.blocks[at]))
    st.html(dots.outputs_html(found, at))
    st.markdown(words.cancelling(found))
    captions.receipt(
        "measured",
        f"the input of this tensor at the last token of “{importance.SENTENCE}”. a: the codes of the activations, dₐ "
        "their scale, in the format that llama.cpp calls Q8_K",
    )
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import dot\n"
        "from quantlib.figures.inputs import last_inputs\n\n"
        f"x = last_inputs(checkpoint, {importance.SENTENCE!r})[tensor.name]\n"
        f"found = dot.outputs(tensor.rows(), x, {row})\n"
        'print(found.value, "instead of", found.exact)\n'
        'print(f"relative error of all {found.rows} outputs: {found.relative:.1%}")',
        dots.outputs,
        dots.dot,
    )


@st.cache_resource(max_entries=256, show_spinner=False)
def the_outputs(source: str, name: str, row: int, _tensor: Tensor) -> dots.Outputs:
    return dots.outputs(_tensor.rows(), importance.input_of_row(_tensor), row)


@st.fragment
def show_race(tensor: Tensor, index: int) -> None:
    st.markdown(
        "One block of 32 weights and 16 levels. You choose the scale and the minimum: **drag the ring** on the map. "
        "min/max scores 0, and ggml's search scores 100. Can you get more?"
    )
    group = st.segmented_control("Block", range(8), default=0, key="group", bind="query-params", required=True)
    found = the_race(source(), tensor.name, index, group, tensor)
    with st.container(key="race-story"):
        st.markdown(words.race(found))
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
        "small dots are the grids that ggml's searches tried; every error is counted with each weight at its nearest "
        f"level. {importance.RECEIPT.capitalize()}. Afterwards both numbers are rounded to six bits, which is not part "
        "of the race",
    )
    captions.data(lambda: races.to_csv(found), "scale-race.csv")
    captions.show_python(
        f"{opening(tensor)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import race\n"
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
