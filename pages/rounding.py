"""Smarter rounding: GPTQ replayed, AWQ's alpha guessed, what an importance matrix changes, and a fair table."""

import streamlit as st

from pages.ui import address, captions, component, fair, menu, running
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.guess import guess, verdict
from quantlib.figures import smarter
from quantlib.figures.layer import Layer
from quantlib.methods.awq import search_scales
from quantlib.methods.gptq import round_block
from quantlib.methods.importance import importance_change

DISTANCES = ("nearer", "as near", "farther")
BITS = (4, 3, 2)
WEIGHED = ("Q4_K", "Q3_K", "Q2_K", "IQ3_S", "IQ4_XS", "Q4_0")


def main() -> None:
    with chapter(menu.ROUNDING) as page:
        with page.step(printed=True):
            st.markdown(
                "Rounding each weight to the nearest level makes each **weight** as right as can be. Nobody reads "
                "weights. What counts is what the layer puts out, **W x**, for the inputs x that it really gets; and "
                "errors of different weights can cancel there. All the methods of this chapter use that, with the "
                "same number of bits."
            )
            found = running.running()
            running.show_note(found)
            layer, bits = choose(found)
        with page.step("GPTQ: let the others make up for it", printed=True):
            show_gptq(found, layer, bits)
        with page.step("AWQ: make room for the channels that count"):
            show_awq(found, layer, bits)
        with page.step("An importance matrix: weigh the errors"):
            show_importance(found, layer)
        with page.step("All of them, at equal bits"):
            show_fair()
        page.in_short(
            "Rounding to nearest is best for weights one by one, and not for what a layer puts out.",
            "GPTQ moves the weights that remain; AWQ scales channels before rounding; an importance matrix weighs "
            "errors while scales are searched. All three look at a text first.",
            "They choose codes. They can be combined with most formats, and cost nothing when the model runs.",
        )


def choose(found: running.Running) -> tuple[Layer, int]:
    left, right = st.columns([2, 1])
    with left:
        layer = running.layer_picker(found, "matrix", "blk.3.attn_q.weight")
    with right:
        bits = st.segmented_control("Bits", BITS, default=3, key="bits", bind="query-params", required=True)
    outputs, inputs = layer.weight.shape
    captions.receipt(
        "measured",
        f"{outputs} outputs, {inputs} inputs; the inputs are what this matrix really read of {len(layer.x):,} tokens",
    )
    return layer, bits


@st.fragment
def show_gptq(found: running.Running, layer: Layer, bits: int) -> None:
    st.markdown(
        "GPTQ rounds one column of W, looks at the error that this makes in the output, and moves all columns that "
        "are not rounded yet so that they cancel as much of it as they can. Then the next column."
    )
    said = guess(
        "When it is done: are its weights nearer to the originals than after plain rounding to the same levels?",
        DISTANCES,
        key="distance",
    )
    act_order = st.toggle(
        "Act-order: columns with large inputs first", key="act_order", bind="query-params", value=False
    )
    replayed = replay(found.identity, layer.name, bits, act_order, layer)
    if said is not None:
        reveal_gptq(said, replayed, act_order)
    show_film(layer, bits, act_order, replayed.film)
    if said is not None:
        about = (found.identity, layer.name, bits, act_order)
        chart("running", smarter.running_figure, replayed, about=about)
        captions.receipt(
            "measured",
            "both on grids of groups of 128 with a zero point. Plain rounding leaves what it did; GPTQ's curve grows "
            "slowly, because columns to come take up the error, until none are left. Measured on the text that it was "
            "fitted to; on another text a little less is gained.",
        )
        captions.data(lambda: smarter.curves_csv(replayed), "gptq.csv")
    captions.show_python(gptq_snippet(found, layer, bits, act_order), round_block, smarter.replay)


@st.cache_resource(show_spinner="Rounding column by column …", max_entries=120)
def replay(identity: str, name: str, bits: int, act_order: bool, _layer: Layer) -> smarter.Replay:
    return smarter.replay(_layer.weight, _layer.gram, bits, act_order)


def reveal_gptq(said: str, found: smarter.Replay, act_order: bool) -> None:
    (out, out_nearest), (own, own_nearest) = found.output, found.weights
    answer = DISTANCES[2] if own > own_nearest * 1.01 else DISTANCES[0] if own < own_nearest * 0.99 else DISTANCES[1]
    st.markdown(
        f"{verdict(said, answer)} As a share of the weights' own size, their squared error is "
        f"**{own:.2%}** after GPTQ and {own_nearest:.2%} after plain rounding. The squared error of the **output**, "
        f"which is what it was for, is **{out:.2%}** against {out_nearest:.2%}: GPTQ leaves **{found.left:.0%}** of it."
    )


@st.fragment
def show_film(layer: Layer, bits: int, act_order: bool, film: smarter.Film) -> None:
    """The replay, to be moved by hand; the address keeps the step."""
    token = f"{layer.name}/{bits}/{act_order}"
    component.scrubber(
        key="replay",
        token=token,
        name="Columns rounded so far",
        labels=film.labels,
        curve=film.curve,
        measure="output error so far",
        steps="columns rounded, in steps",
        frames=film.frames,
        shape=film.shape,
        picture=f"What has changed of the weights of {film.shape[0]} outputs; columns in the order of rounding",
        start=address.whole(address.about(token, "column")["column"], 0, len(film.labels) - 1, len(film.labels) // 3),
        on_change=lambda: address.keep("replay", "step", token, under="column"),
    )
    captions.receipt(
        "measured",
        "left of the front, weights lie on their levels; right of it they have moved, which is the method's whole idea",
    )


@st.fragment
def show_awq(found: running.Running, layer: Layer, bits: int) -> None:
    st.markdown(
        "Some input channels are large on every token, and errors of the weights that they meet count more. AWQ "
        "multiplies those columns by **s** before rounding and divides the input by s: the same product, but their "
        "levels lie closer. It takes s = mean|x|**ᵅ** and tries α from 0, nothing, to 1, in full proportion. Too much, "
        "and the other weights of each group pay: its scale grows."
    )
    with st.container(border=True, key="guess-alpha"):
        st.markdown("**Guess first.** Which α leaves the least output error in this layer?")
        said = st.slider("α", 0.0, 1.0, 0.0, 0.05, key="alpha", bind="query-params", label_visibility="collapsed")
        told = st.toggle("That is my guess", key="told", bind="query-params")
    if not told:
        return
    result = alphas(found.identity, layer.name, bits, layer)
    best = result.search.alpha
    close = "Well guessed" if abs(best - said) < 0.08 else "Not quite"
    st.markdown(
        f"{close}: the best is **α = {best:.2f}**. It leaves **{result.left:.0%}** of the output error of plain "
        f"rounding at {bits} bits."
        + (" Here scaling buys little: this small model has no channels that stand out much." * (result.left > 0.9))
    )
    about = (found.identity, layer.name, bits, said)
    chart("alpha_figure", smarter.alpha_figure, result, said, about=about)
    captions.receipt("measured", "the layer's mean squared output error, 21 values of α, groups of 128, no clipping")
    captions.show_python(awq_snippet(found, layer, bits), search_scales)


@st.cache_resource(show_spinner="Trying every alpha …", max_entries=512)
def alphas(identity: str, name: str, bits: int, _layer: Layer) -> smarter.AlphaSearch:
    return smarter.alpha_search(_layer.weight, _layer.gram, bits)


@st.fragment
def show_importance(found: running.Running, layer: Layer) -> None:
    st.markdown(
        "llama.cpp goes a third way. It keeps, of each input channel, the mean of x², the **importance matrix**, and "
        "lets the search for a block's scale weigh each weight's error with it. No column moves and nothing is scaled: "
        "codes and scales are chosen otherwise, in the same bytes."
    )
    fits = [name for name in WEIGHED if layer.weight.shape[1] % smarter.get(name).values == 0]
    name = st.segmented_control("Format", fits, default=fits[0], key="weighed", bind="query-params", required=True)
    change = importance(found.identity, layer.name, name, layer)
    (weighed_before, weighed_after), (before, after) = change.weighted_errors, change.plain_errors
    st.markdown(
        f"The weighted error, which stands for the output's, falls to **{weighed_after / weighed_before:.1%}**. The "
        f"plain error of the weights becomes **{after / before:.1%}** of what it was: channels that carry little pay."
    )
    about = (found.identity, layer.name, name)
    chart("importance_figure", smarter.importance_figure, change, about=about)
    captions.receipt("measured", "every weight of this matrix, stored as ggml stores it, with and without the matrix")
    captions.show_python(importance_snippet(found, layer, name), importance_change)


@st.cache_resource(show_spinner="Storing it twice …", max_entries=24)
def importance(identity: str, name: str, format: str, _layer: Layer):
    return smarter.importance_of(_layer.weight, _layer.gram, format)


@st.fragment
def show_fair() -> None:
    contest = fair.contest()
    if contest is None:
        st.info(f"No stored comparison of this model is there; `{fair.COMMAND}` makes one, in some minutes.", icon="📏")
        return
    st.markdown(
        "One model, the same texts to look at, others to be judged by, and every method with codes of the same bits. "
        "Bits per weight tell what it really takes: scales and zero points differ."
    )
    offered = sorted({m.bits for m in contest.measured}, reverse=True)
    bits = st.segmented_control(
        "Bits of a code", offered, default=4 if 4 in offered else offered[0], key="fair", bind="query-params",
        required=True,
    )  # fmt: skip
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        smarter.fair_rows(contest, bits),
        column_config={
            "output error": share,
            "changed tokens": share,
            "perplexity added": st.column_config.NumberColumn(format="%.3f"),
            "±": st.column_config.NumberColumn(format="%.3f"),
            "KL, nats": st.column_config.NumberColumn(format="%.6f"),
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
        hide_index=True,
    )
    captions.receipt(
        "stored",
        f"the demo model, judged on two texts ({' and '.join(contest.texts)}) after a look at others "
        f"({contest.calibration_name}: {contest.calibration_tokens:,} tokens); made by `{fair.COMMAND}`. "
        + " ".join(contest.notes),
    )


def opening(found: running.Running, layer: Layer) -> str:
    return (
        "import quantlib as ql\nfrom quantlib.figures import smarter\n"
        "from quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n\n" + running.python_of(found, layer)
    )


def gptq_snippet(found: running.Running, layer: Layer, bits: int, act_order: bool) -> str:
    return (
        opening(found, layer)
        + f"found = smarter.replay(layer.weight, layer.gram, bits={bits}, act_order={act_order})\n"
        + 'print("output error, GPTQ and to nearest:", found.output)\nprint("weight error:", found.weights)'
    )


def awq_snippet(found: running.Running, layer: Layer, bits: int) -> str:
    return (
        opening(found, layer)
        + f"search = smarter.alpha_search(layer.weight, layer.gram, bits={bits}).search\n"
        + 'print("best alpha", search.alpha)\nprint(search.losses / search.losses[0])'
    )


def importance_snippet(found: running.Running, layer: Layer, format: str) -> str:
    return (
        opening(found, layer)
        + f"change = smarter.importance_of(layer.weight, layer.gram, {format!r})\n"
        + 'print("weighted error, without and with:", change.weighted_errors)'
    )


main()
