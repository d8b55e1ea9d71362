"""Inside a super-block: what scales cost and buy, which bit belongs to which weight, and a race for the best scale."""

import streamlit as st

from pages.ui import address, captions, component, importance, menu, model, terms, weight
from pages.ui.chapter import Chapter, chapter
from pages.ui.guess import answer, covering, guess, said_of
from pages.ui.weight import Spot
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


def main() -> None:
    with chapter(menu.SUPER_BLOCK) as page:
        show(page)


def show(page: Chapter) -> None:
    with page.step(printed=True):
        head = st.container()
        spot = weight.another()
        if spot.tensor.n % SUPER:
            n = spot.tensor.n
            head.info(f"A super-block is {SUPER} weights of a row; the rows of this tensor have {n}.", icon="📏")
            return
        index, _ = weights.block_of(spot.tensor, SUPER, spot.row, spot.column)
        with head:
            found = show_ladder(spot, index)
    with page.step("Which bits belong to which weight", printed=True):
        show_stored(spot)
    with page.step("Three ways to spend four bits"):
        show_rivals(spot, index)
    with page.step("From a row of weights to an output"):
        show_output(spot, index)
    with page.step("Puzzle: beat the search", printed=True):
        show_race(spot, index)
    page.in_short(
        words.SIZE,
        words.bought(found),
        words.DECODING,
        question="Sixteen levels, all the same distance apart. But most weights are close to zero. Would it help to "
        "put the levels there?",
    )


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


def show_ladder(spot: Spot, index: int) -> tuple[ladders.Rung, ...]:
    terms.say(
        "256 real weights, each stored as one of 16 levels. **Press 1 to 4**: how many scales are worth their bits?"
    )
    found = the_ladder(*spot.about, index, spot.tensor)
    token = f"{spot.tensor.name}/{index}"
    x = weights.block_at(spot.tensor, SUPER, index)
    start = address.whole(address.about(token, "rung")["rung"], 0, len(found) - 1, 0)
    component.ladder(
        key="ladder",
        ladder=pictures.ladder_message(x, found, token, start),
        on_change=lambda: address.keep("ladder", "rung", token),
    )
    captions.receipt(
        "measured",
        f"on super-block {index} of this tensor, in which our weight is; "
        f"{everywhere(*spot.about, spot.tensor)}. The first three rungs put the lowest weight (or 0) on the lowest "
        "level and the highest on the highest",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import ladder\n\n"
        f"block = weights.block_at(tensor, {SUPER}, {index})\n"
        "for rung in ladder.climb(block[None]):\n"
        '    print(f"{rung.name:24} {rung.bpw} bits, relative error {rung.relative:.1%}")',
        ladders.climb,
    )
    captions.data(lambda: pictures.ladder_csv(x, found), "scale-ladder.csv")
    return found


@st.fragment
def show_stored(spot: Spot) -> None:
    terms.say(
        "The same weights in a file. **Point at a weight**, and its bits light up. Point at a bit, and its weights do."
    )
    name = st.session_state.get("format") or st.query_params.get("format")
    show_brush(spot, FORMATS[name if name in NAMES else NAMES[0]])
    st.selectbox("The same in another format", NAMES, key="format", bind="query-params")


def show_brush(spot: Spot, fmt: BlockFormat) -> None:
    """The brush over the block of this format in which our weight is."""
    index, place = weights.block_of(spot.tensor, fmt.values, spot.row, spot.column)
    steering = importance.of_block(spot.opened, spot.tensor, fmt.values, index) if fmt.requires_importance else None
    if fmt.requires_importance and steering is None:
        st.info(f"{fmt.name} needs an importance matrix, and this model cannot be run here to make one.", icon="🧭")
        return
    block = blocks.store(fmt, weights.block_at(spot.tensor, fmt.values, index), steering)
    token = f"{spot.tensor.name}/{fmt.name}/{index}"
    start = address.whole(address.about(token, "weight")["weight"], 0, fmt.values - 1, place)
    component.block_brush(
        key="brush",
        block=blocks.message(block, token),
        start=start,
        on_change=lambda: address.keep("brush", "weight", token),
    )
    captions.receipt("measured", words.stored(fmt, compare(block.weights, block.decoded)))
    st.html(blocks.size_html(fmt))
    captions.data(lambda: blocks.to_csv(block), f"{fmt.name}-block.csv", key="block-csv")
    captions.show_python(snippet(spot, fmt, index), *fmt.reference, fmt.decode)


@st.fragment
def show_rivals(spot: Spot, index: int) -> None:
    terms.say(
        "**Q4_0** gives every 32 weights a scale. **Q4_1** adds a minimum, and with it half a bit. **Q4_K** has both, "
        "but stores them in 6 bits, so it is as small as Q4_0. The same 256 weights, stored three times:"
    )
    found = rivalry.rivals(weights.block_at(spot.tensor, SUPER, index))
    hidden = "Q4_1"
    covering(
        said_of("rivals", words.BETTER),
        "rivals",
        lambda covered: st.html(pictures.rivals_html(found, hidden if covered else "")),
    )
    said = guess("Q4_1 has half a bit more than Q4_0. Is it the better of the two here?", words.BETTER, key="rivals")
    answer(said, words.better(found), words.rivalry(found))
    captions.receipt("measured", f"super-block {index}, in which our weight is, without an importance matrix")
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import rivals\n\n"
        f"for rival in rivals.rivals(weights.block_at(tensor, {SUPER}, {index})):\n    print(rival)",
        rivalry.rivals,
    )


def show_output(spot: Spot, index: int) -> None:
    terms.say(
        "The weights are never unpacked into a second copy. The 144 bytes of a super-block travel from memory as they "
        "are. The **activations** that they are multiplied with are rounded too, to whole numbers a of 8 bits. The "
        "processor then multiplies whole numbers and adds them up. The scales come last:"
    )
    if importance.input_of_row(spot.opened, spot.tensor) is None:
        st.info("This model is not run here, so there is no real input to multiply with.", icon="🧭")
        return
    found = the_outputs(*spot.about, spot.row, spot)
    at = weights.block_of(spot.tensor, SUPER, 0, spot.column)[0]
    st.html(dots.dot_html(found.blocks[at]))
    st.html(dots.outputs_html(found, at))
    terms.say(words.cancelling(found))
    said = importance.sentence(spot.opened)
    captions.receipt(
        "measured",
        f"the input of this tensor at the last token of “{said}”. a: the codes of the activations, dₐ their scale, in "
        "the format that llama.cpp calls Q8_K",
    )
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import dot\n"
        "from quantlib.figures.inputs import last_inputs\n\n"
        f"x = last_inputs(checkpoint, {said!r})[tensor.name]\n"
        f"found = dot.outputs(tensor.rows(), x, {spot.row})\n"
        'print(found.value, "instead of", found.exact)\n'
        'print(f"relative error of all {found.rows} outputs: {found.relative:.1%}")',
        dots.outputs,
        dots.dot,
    )


@st.cache_resource(max_entries=256, show_spinner=False)
def the_outputs(source: str, name: str, row: int, _spot: Spot) -> dots.Outputs:
    return dots.outputs(_spot.tensor.rows(), importance.input_of_row(_spot.opened, _spot.tensor), row)


@st.fragment
def show_race(spot: Spot, index: int) -> None:
    terms.say(
        "One block of 32 weights and 16 levels. You choose the scale and the minimum: **drag the ring** on the map. "
        "min/max scores 0, and ggml's search scores 100. Can you get more?"
    )
    first = where_to_race(*spot.about, index, spot.tensor)
    group = st.segmented_control("Block", range(8), default=first, key="group", bind="query-params", required=True)
    found = the_race(*spot.about, index, group, spot)
    with st.container(key="race-story"):
        terms.say(words.race(found))
    token = f"{spot.tensor.name}/{index}/{group}"
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
        f"level. {importance.receipt(spot.opened)}. Afterwards both numbers are rounded to six bits, which is not part "
        "of the race",
    )
    captions.data(lambda: races.to_csv(found), "scale-race.csv")
    captions.show_python(
        f"{opening(spot)}from quantlib.figures import weights\nfrom quantlib.figures.super_block import race\n"
        f"{importance.python(spot.opened)}"
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


@st.cache_data(max_entries=256, show_spinner=False)
def where_to_race(source: str, name: str, index: int, _tensor: Tensor) -> int:
    return races.most_to_gain(weights.block_at(_tensor, SUPER, index))


@st.cache_resource(max_entries=256, show_spinner=False)
def the_race(source: str, name: str, index: int, group: int, _spot: Spot) -> races.Race:
    steering = importance.of_block(_spot.opened, _spot.tensor, SUPER, index)
    return races.race(weights.block_at(_spot.tensor, SUPER, index), group, steering)


def opening(spot: Spot) -> str:
    """The first lines of the snippets of this page."""
    return (
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(spot.opened.checkpoint)!r})\n"
        f"tensor = checkpoint.tensors[{spot.tensor.name!r}]\n"
    )


def snippet(spot: Spot, fmt: BlockFormat, index: int) -> str:
    """Runs as it stands, and prints what the page shows."""
    return (
        f"{opening(spot)}from quantlib.figures import weights\n"
        "from quantlib.formats import FORMATS\n"
        "from quantlib.metrics import compare\n\n"
        f"form = FORMATS[{fmt.name!r}]\n"
        f"x = weights.block_at(tensor, form.values, {index})\n"
        "trace = form.trace(x)                # every candidate tried, the codes, the bytes\n"
        "assert (trace.data == ql.quantize(x, form.name)).all()\n"
        'print("bytes", trace.data.tobytes().hex(" "))\n'
        'print("weight 0:", *form.spell(trace.codes, 0), sep="\\n  ")\n'
        'print(compare(x, trace.decoded), form.bpw, "bits per weight")'
    )


main()
