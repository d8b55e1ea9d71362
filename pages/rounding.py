"""Smarter rounding: three weights by hand, GPTQ replayed, AWQ, an importance matrix, and all of them compared."""

import streamlit as st

from pages.ui import address, captions, component, drawing, fair, menu, running, terms
from pages.ui.chapter import Chapter, chapter
from pages.ui.charts import chart
from pages.ui.guess import answer, covering, guess, said_of
from quantlib.figures.layer import Layer, layer_at_work
from quantlib.figures.smarter_rounding import channels, contest, pictures, steering, toy, words
from quantlib.figures.smarter_rounding import replay as replays
from quantlib.figures.smarter_rounding import searched as searching
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.awq import search_scales
from quantlib.methods.descent import descend_rows
from quantlib.methods.descent_trace import watched
from quantlib.methods.gptq import round_block
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.importance import importance_change

BITS = (4, 3, 2)
DEFAULT = "blk.3.attn_q.weight"
WEIGHED = ("Q4_K", "Q3_K", "Q2_K", "IQ3_S", "IQ4_XS", "Q4_0")


def main() -> None:
    with chapter(menu.ROUNDING) as page:
        with page.step(printed=True):
            show_toy()
        show_layer(page)


def show_layer(page: Chapter) -> None:
    found = running.running()
    with page.step("GPTQ on a real matrix", printed=True):
        head = st.container()
        layer, bits = choose(found)
        with head:
            running.show_note(found)
            replayed = show_replay(found, layer, bits)
    with page.step("AWQ: one channel in a hundred"):
        show_channels(found, layer, bits)
    with page.step("An importance matrix: which inputs are large?"):
        show_steering(found, layer)
    kquants = []
    with page.step("GPTQ inside the blocks of a k-quant"):
        kquants = show_filled()
        show_searched(found, layer)
    with page.step("All of them, at equal bits"):
        show_fair()
    with page.step("Puzzle: up or down?", printed=True):
        show_puzzle(found, layer, bits)
    first, last = words.summary(replayed, kquants)
    page.in_short(
        first,
        words.CHOOSING,
        last,
        question="Every method here aims at the output of one layer. What do all the roundings together do to the "
        "model's answers?",
    )


@st.fragment
def show_toy() -> None:
    terms.say(
        "Rounding each weight to the nearest level gets every **weight** as close as possible. But no one looks at a "
        "weight. What counts is the layer's **output**: inputs times weights, added up. There, one weight's error can "
        "cancel another's. Three weights are enough to see it:"
    )
    found = the_toy()
    start = address.whole(address.about("toy", "step-of-three")["step-of-three"], 0, len(found.steps) - 1, 0)
    component.columns(
        key="toy",
        columns=pictures.toy_message(found, "toy", start),
        on_change=lambda: address.keep("toy", "at", "toy", under="step-of-three"),
    )
    captions.receipt(
        "exact",
        "the levels are the whole numbers. How the others move follows from the inputs: one table says, for each pair "
        "of columns, how well one can make up for the other. It is twice the mean of x·xᵀ, and is called the Hessian",
    )
    captions.show_python(
        "from quantlib.figures.smarter_rounding import toy\n\n"
        "for step in toy.toy().steps:\n"
        '    print(step.weights.round(2), f"relative error of the output {step.relative:.1%}")',
        toy.toy,
    )


@st.cache_resource(show_spinner=False)
def the_toy() -> toy.Toy:
    return toy.toy()


def choose(found: running.Running) -> tuple[Layer, int]:
    with st.popover("Another matrix, other bits"):
        layer = running.layer_picker(found, "matrix", DEFAULT)
        bits = st.segmented_control("Bits", BITS, default=3, key="bits", bind="query-params", required=True)
    return layer, bits


def show_replay(found: running.Running, layer: Layer, bits: int) -> replays.Replay:
    terms.say(
        f"The same on {layer.weight.size:,} real weights, at {bits} bits. **Pull the slider**: a column is rounded, "
        "and all columns to its right move. The Hessian says how far."
    )
    act_order = st.session_state.get("act_order", st.query_params.get("act_order") == "true")
    replayed = replay(found.identity, layer.name, bits, act_order, layer)
    film(layer, bits, act_order, replayed)
    st.html(pictures.replay_html(replayed))
    terms.say(words.replayed(replayed))
    outputs, inputs = layer.weight.shape
    captions.receipt(
        "measured",
        f"{outputs} outputs, {inputs} inputs, what this matrix really read of {len(layer.x):,} tokens. Both on grids "
        "of groups of 128 with a zero point. GPTQ is fitted to that text; on another a little less is gained",
    )
    st.toggle("Act-order: columns with large inputs first", key="act_order", bind="query-params", value=False)
    plain, ordered = (replay(found.identity, layer.name, bits, how, layer) for how in (False, True))
    terms.say(words.ordered(plain, ordered))
    captions.data(lambda: pictures.replay_csv(replayed), "gptq.csv")
    captions.show_python(
        opening(found, layer, "replay")
        + f"found = replay.replay(layer.weight, layer.gram, bits={bits}, act_order={act_order})\n"
        + 'print(f"relative error of the output: {found.output[-1]:.1%}, to nearest {found.output_nearest[-1]:.1%}")\n'
        + 'print(f"of the weights: {found.weights:.1%}, to nearest {found.weights_nearest:.1%}")',
        round_block,
        replays.replay,
    )
    return replayed


@st.cache_resource(show_spinner="Rounding column by column …", max_entries=120)
def replay(identity: str, name: str, bits: int, act_order: bool, _layer: Layer) -> replays.Replay:
    return replays.replay(_layer.weight, _layer.gram, bits, act_order)


@st.fragment
def film(layer: Layer, bits: int, act_order: bool, replayed: replays.Replay) -> None:
    """The replay, to be moved by hand; the address keeps the step."""
    token = f"{layer.name}/{bits}/{act_order}"
    shown = pictures.film(replayed)
    rows, last = shown["shape"][0], len(shown["labels"]) - 1
    component.scrubber(
        key="replay",
        token=token,
        name="Columns rounded so far",
        labels=shown["labels"],
        curve=shown["curve"],
        rival=shown["rival"],
        rivals="rounding to nearest",
        measure="relative error of the output",
        unit="%",
        steps="columns rounded",
        last=shown["last"],
        frames=shown["frames"],
        shape=shown["shape"],
        picture=f"What has changed in the weights of {rows} outputs. Columns are in the order of rounding.",
        start=address.whole(address.about(token, "column")["column"], 0, last, last // 3),
        on_change=lambda: address.keep("replay", "step", token, under="column"),
    )


def show_channels(found: running.Running, layer: Layer, bits: int) -> None:
    terms.say(
        "Some input channels are large on nearly every token. An error in a weight that meets such a channel does more "
        "harm. How much would it help to round the others only?"
    )
    one = kept(found.identity, layer.name, bits, layer)
    drawing.draw(pictures.channels_svg(one), key="channels")
    st.html(pictures.kept_html(one))
    terms.say(words.kept(one))
    terms.say(
        "But two kinds of weights in one matrix are slow to read. **AWQ** gets there with one kind. It multiplies the "
        "weights of each channel by a factor before rounding and divides the input by the same factor. The product is "
        "the same, but the levels are closer together for the channels that count. The factor is the channel's mean "
        "size to the power **α**. **Pull α**: with too much of it, the other weights of each group pay."
    )
    result = alphas(found.identity, layer.name, bits, layer)
    pull_alpha(layer, bits, result)
    terms.say(words.alpha(result, one))
    captions.receipt("measured", "21 values of α, groups of 128 with a zero point, no clipping")
    captions.show_python(
        opening(found, layer, "channels")
        + f"print(channels.kept(layer.weight, layer.gram, bits={bits}))\n"
        + f"found = channels.alpha_search(layer.weight, layer.gram, bits={bits})\n"
        + 'print(f"best alpha {found.search.alpha}: {found.best:.1%}, without {found.relative[0]:.1%}")',
        search_scales,
        channels.kept,
    )


@st.cache_resource(show_spinner=False, max_entries=120)
def kept(identity: str, name: str, bits: int, _layer: Layer) -> channels.Kept:
    return channels.kept(_layer.weight, _layer.gram, bits)


@st.cache_resource(show_spinner="Trying every alpha …", max_entries=512)
def alphas(identity: str, name: str, bits: int, _layer: Layer) -> channels.AlphaSearch:
    return channels.alpha_search(_layer.weight, _layer.gram, bits)


@st.fragment
def pull_alpha(layer: Layer, bits: int, result: channels.AlphaSearch) -> None:
    token = f"alpha/{layer.name}/{bits}"
    component.scrubber(
        key="alpha-curve",
        token=token,
        name="α",
        labels=words.alpha_labels(result),
        curve=pictures.alpha_curve(result),
        measure="relative error of the output",
        unit="%",
        zoomed=True,
        steps="α",
        last=1.0,
        start=address.whole(address.about(token, "alpha")["alpha"], 0, len(channels.ALPHAS) - 1, 0),
        on_change=lambda: address.keep("alpha-curve", "step", token, under="alpha"),
    )


@st.fragment
def show_steering(found: running.Running, layer: Layer) -> None:
    terms.say(
        "llama.cpp goes a third way. Over a text it notes how large each input is: the mean of x² of each channel is "
        "the **importance matrix**. The search for a block's scale then counts an error more where the input is large. "
        "No column moves and nothing is scaled. The codes and scales are chosen differently, in the same bytes."
    )
    fits = [name for name in WEIGHED if layer.weight.shape[1] % channels_of(name) == 0]
    name = st.segmented_control("Format", fits, default=fits[0], key="weighed", bind="query-params", required=True)
    about = (found.identity, layer.name, name)
    chart("importance_figure", pictures.by_channel_figure, by_channel(*about, layer), about=about)
    rows = steered(found.identity, layer.name, found, layer)
    st.html(pictures.steered_html(rows))
    terms.say(f"{words.steered(rows)} {words.absolute(rows)}")
    captions.receipt(
        "measured",
        "all weights of this matrix. The importance matrix is of the calibration text; the error of the output is "
        "measured on the evaluation texts, which it has not seen",
    )
    captions.show_python(
        opening(found, layer, "steering")
        + f"print(steering.by_channel(layer.weight, layer.gram, {name!r}))\n"
        + 'texts = read_texts(["assets/evaluation/story.txt", "assets/evaluation/explanation.txt"]).values()\n'
        + 'other = Tokenizer.of(checkpoint).encode("\\n\\n".join(texts))\n'
        + f"unseen = layer_at_work(load(checkpoint), other, {layer.name!r})\n"
        + "for row in steering.steered(layer.weight, layer.gram, unseen.gram):\n    print(row)",
        importance_change,
        steering.steered,
    )


def channels_of(name: str) -> int:
    return steering.get(name).values


@st.cache_resource(show_spinner="Storing it twice …", max_entries=64)
def by_channel(identity: str, name: str, format: str, _layer: Layer) -> steering.ByChannel:
    return steering.by_channel(_layer.weight, _layer.gram, format)


@st.cache_resource(show_spinner="Storing the matrix in six formats …", max_entries=64)
def steered(identity: str, name: str, _found: running.Running, _layer: Layer) -> list[steering.Steered]:
    unseen = layer_at_work(_found.model, _found.tokenizer.encode(running.evaluation_text()), name)
    return steering.steered(_layer.weight, _layer.gram, unseen.gram)


def show_filled() -> list[contest.Filled]:
    measured = fair.contest()
    found = contest.filled(measured) if measured else []
    if not found:
        st.info(f"No stored comparison of this model is there; `{fair.COMMAND}` makes one, in some minutes.", icon="📏")
        return []
    terms.say(
        "GPTQ is known for files of its own. But it only chooses codes, so it can fill the blocks of a k-quant as "
        "well: the scales are found first, then the columns are rounded and moved. The file is an ordinary GGUF of the "
        "same size, and every program that reads Q4_K reads it."
    )
    covering(
        said_of("gains-more", words.BEATS),
        "gains-more",
        lambda covered: st.html(pictures.filled_html(found, covered)),
    )
    said = guess("Does GPTQ gain more than an importance matrix?", words.BEATS, key="gains-more")
    answer(said, words.beats(found), words.filled(found))
    captions.receipt(
        "stored",
        f"all matrices of the demo model together, on two texts that no method has seen; made by `{fair.COMMAND}`",
    )
    return found


@st.fragment
def show_searched(found: running.Running, layer: Layer) -> None:
    fits = [name for name in searching.FORMATS if layer.weight.shape[1] % channels_of(name) == 0]
    terms.say(
        "On one layer, step by step. First the format's own search finds scales, and GPTQ chooses codes on them. Then "
        "the scales follow: group by group, each scale that can be stored next to the present one is tried. The table "
        "has the relative error of the output, on the text that codes are chosen on and on another."
    )
    name = st.segmented_control("Blocks of", fits, default=fits[0], key="searched", bind="query-params", required=True)
    one = searched(found.identity, layer.name, name, found, layer)
    st.html(pictures.searched_html(one))
    terms.say(words.searched(one))
    drawing.draw(pictures.descent_svg(one.descent), key="row-descent")
    terms.say(words.descent(one.descent))
    captions.receipt(
        "measured",
        f"the first {one.rows} rows of {layer.name}; chosen on {len(layer.x):,} tokens of the calibration text, judged "
        "on the evaluation texts",
    )
    captions.show_python(
        opening(found, layer, "searched")
        + 'texts = read_texts(["assets/evaluation/story.txt", "assets/evaluation/explanation.txt"]).values()\n'
        + 'other = Tokenizer.of(checkpoint).encode("\\n\\n".join(texts))\n'
        + f"unseen = layer_at_work(load(checkpoint), other, {layer.name!r})\n"
        + f"found = searched.searched(layer.weight, layer.gram, unseen.gram, {name!r})\n"
        + 'for step in found.steps:\n    print(f"{step.words}: {step.unseen:.1%}")\n'
        + "for step in found.descent.steps[:20]:\n    print(step.kind, step.at, step.error, step.taken)",
        descend_rows,
        watched,
    )


@st.cache_resource(show_spinner="Searching scales and codes …", max_entries=64)
def searched(identity: str, name: str, format: str, _found: running.Running, _layer: Layer) -> searching.Searched:
    unseen = layer_at_work(_found.model, _found.tokenizer.encode(running.evaluation_text()), name)
    return searching.searched(_layer.weight, _layer.gram, unseen.gram, format)


@st.fragment
def show_fair() -> None:
    measured = fair.contest()
    if measured is None:
        st.info(f"No stored comparison of this model is there; `{fair.COMMAND}` makes one, in some minutes.", icon="📏")
        return
    terms.say(
        "One model, one text to look at, two others to be judged by, and codes of the same bits for every method. "
        "**KL** says how far the model's predictions are from the original's. Perplexity says how well it predicts the "
        "texts."
    )
    offered = sorted({m.bits for m in measured.measured}, reverse=True)
    bits = st.segmented_control(
        "Bits of a code", offered, default=4 if 4 in offered else offered[0], key="fair", bind="query-params",
        required=True,
    )  # fmt: skip
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        contest.rows(measured, bits),
        column_config={
            "relative output error": share,
            "changed tokens": share,
            "perplexity added": st.column_config.NumberColumn(format="%.3f"),
            "±": st.column_config.NumberColumn(format="%.3f"),
            "KL, nats": st.column_config.NumberColumn(format="%.6f"),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
        hide_index=True,
    )
    terms.say(words.noise(contest.disagreements(measured, bits)))
    captions.receipt(
        "stored",
        f"the demo model, judged on two texts ({' and '.join(measured.texts)}) after a look at others "
        f"({measured.calibration_name}: {measured.calibration_tokens:,} tokens); made by `{fair.COMMAND}`. "
        + " ".join(measured.notes),
    )


@st.fragment
def show_puzzle(found: running.Running, layer: Layer, bits: int) -> None:
    one = the_puzzle(found.identity, layer.name, bits, layer)
    terms.say(words.puzzle(one))
    token = f"{layer.name}/{bits}"
    said, ways = address.about(token, "ways")["ways"], pictures.nearest_ways(one)
    start = said if said and len(said) == len(ways) and set(said) <= {"0", "1"} else ways
    component.columns(
        key="puzzle",
        columns=pictures.puzzle_message(one, token, start),
        on_change=lambda: address.keep("puzzle", "at", token, under="ways"),
    )
    captions.receipt(
        "measured",
        f"the part of output {one.row} that these weights make, over {len(layer.x):,} tokens; levels as in plain "
        f"rounding to {bits} bits, groups of 128",
    )


@st.cache_resource(show_spinner="Looking for a hard place …", max_entries=120)
def the_puzzle(identity: str, name: str, bits: int, _layer: Layer) -> toy.Puzzle:
    grids = IntegerGrids(IntegerFormat(bits, symmetric=False), channels.group_of(_layer.weight.shape[1]))
    return toy.puzzle(_layer.weight, _layer.gram, grids)


def opening(found: running.Running, layer: Layer, module: str) -> str:
    return (
        f"import quantlib as ql\nfrom quantlib.figures.smarter_rounding import {module}\n"
        "from quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n\n" + running.python_of(found, layer)
    )


main()
