"""One outlier ruins the row: pull it, contain it, clip it, find real ones, and see what methods do about them."""

import streamlit as st

from pages.ui import address, captions, menu, puzzle, running, terms, weight
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.pull import pull
from quantlib import Tensor
from quantlib.figures import outliers, pulling, super_weights
from quantlib.figures.layer import Layer
from quantlib.lm import activations, generate
from quantlib.methods.llm_int8 import THRESHOLDS, outlier_trace
from quantlib.methods.rtn import round_to_nearest
from quantlib.methods.smoothquant import ALPHAS, smooth_trace

KINDS = ("attn_q", "attn_output", "ffn_gate", "ffn_down")
WIDE_ROWS = 256
TOKENS = 512  # of a layer's inputs, for methods that are tried at many settings
PROMPT = "Once upon a time there was an old king who"
TARGET = 0.10  # relative error that the puzzle asks for
SHARED = {f"every {g}" if g else "the row": g for g in pulling.SHARING}


def main() -> None:
    with chapter(menu.OUTLIERS) as page:
        with page.step(printed=True):
            spot = show_pull()
        with page.step("Or cut it off"):
            show_clipping(spot)
        found = running.running()
        with page.step("Outliers are real"):
            running.show_note(found)
            show_real(found)
        with page.step("LLM.int8(): keep the few apart"):
            layer = running.layer_picker(found, "matrix", "blk.3.attn_q.weight")
            show_split(found, layer)
        with page.step("SmoothQuant: move the difficulty"):
            show_smooth(found, layer)
        with page.step("Super weights"):
            show_super(found)
        with page.step("Puzzle: repair the row"):
            show_puzzle(spot)
        page.in_short(
            *concluded(spot.token, spot),
            question="A scale for every 16 weights repairs the row, and costs a bit for each of them. Can scales be "
            "stored in fewer bits?",
        )


def show_pull() -> weight.Spot:
    with st.container(horizontal=True, vertical_alignment="center"):
        terms.say(
            "Weights that share a **scale** share its levels. These are real weights, true to scale, and the largest "
            "decides how far apart the levels are. **Pull it down**, and watch the others get their levels back."
        )
        spot = weight.another()
    show_stretch(spot)
    return spot


@st.fragment
def show_stretch(spot: weight.Spot) -> None:
    row = row_of(spot)
    found = pulling.stretch(row, spot.column)
    said = address.about(spot.token, "size", "shared")
    group = address.whole(said["shared"], 16, found.weights.size, found.weights.size)
    offered = (found.weights.size, *pulling.GROUPS)
    pull(
        key="pulled",
        message=pulling.message(
            found, spot.token, "outlier", address.whole(said["size"], 20, 1250, 1000),
            group if group in offered else found.weights.size,
        ),
        on_change=lambda: keep(spot.token),
    )  # fmt: skip
    captions.receipt(
        "measured",
        f"weights {found.start} to {found.start + found.weights.size - 1} of row {spot.row}, as trained until you "
        "pull. Rings are the weights, dots what is stored, lines the levels, red the errors. INT4 has 15 levels",
    )
    captions.show_python(
        spot.opening
        + "from quantlib.figures import pulling\n\n"
        + f"row = tensor.rows({spot.row}, {spot.row + 1}).reshape(-1)\n"
        + f"found = pulling.stretch(row, {spot.column})\n"
        + 'print("one scale:", found.beside(), "a scale for every 16:", found.beside(group=16))\n'
        + "for size in (1, 0.5, 0.2, 0.1):\n"
        + "    print(size, found.beside(size))",
        pulling.stretch,
        round_to_nearest,
    )


def keep(token: str) -> None:
    address.keep("pulled", "pull", token, part="share", under="size")
    address.keep("pulled", "pull", token, part="group", under="shared")


def row_of(spot: weight.Spot):
    return spot.tensor.rows(spot.row, spot.row + 1).reshape(-1)


@st.cache_data(max_entries=256, show_spinner=False)
def concluded(token: str, _spot: weight.Spot) -> list[str]:
    return pulling.conclusions(row_of(_spot), _spot.column)


@st.fragment
def show_clipping(spot: weight.Spot) -> None:
    terms.say(
        "The grid need not reach the largest weight. What lies beyond its end is **clipped** to the last level: one "
        "large error, and smaller steps for all others. **Pull the end of the grid down.**"
    )
    found = pulling.stretch(row_of(spot), spot.column)
    pull(key="clipped-stretch", message=pulling.message(found, spot.token, "clip", 1000, found.weights.size))
    bits = st.segmented_control("Bits", (8, 4, 3), default=4, key="clipped", bind="query-params", required=True)
    rows = clipped(spot.opened.identity, spot.tensor.name, bits, spot.tensor)
    st.dataframe(
        rows,
        column_config={
            "clipped": st.column_config.NumberColumn(format="percent"),
            "relative error": st.column_config.NumberColumn(format="percent"),
            "SQNR, dB": None,
        },
        hide_index=True,
    )
    captions.receipt(
        "measured",
        f"on the first {WIDE_ROWS} rows of the tensor, a scale for each row chosen in four ways; the last line tries "
        "41 ends for each row",
    )


@st.cache_data(show_spinner=False, max_entries=256)
def clipped(identity: str, name: str, bits: int, _tensor: Tensor) -> list[dict]:
    return outliers.clipping(_tensor.rows(0, min(WIDE_ROWS, _tensor.nrows)), bits)


@st.fragment
def show_puzzle(spot: weight.Spot) -> None:
    """Fewest bits for an error that is asked for; the score is against the best of all ways on offer."""
    row = row_of(spot)
    best = cheapest(spot.token, spot)
    if best is None:
        st.info(f"No way on offer brings this row below {TARGET:.0%}. Try another weight.", icon="🧩")
        return
    terms.say(
        f"Bring the relative error of this row of {row.size} weights to **{TARGET:.0%} or less**, with as few bits as "
        "you can. You may give groups a scale of their own, and you may keep the largest weights apart in 16 bits."
    )
    with st.container(horizontal=True):
        fits = [name for name, g in SHARED.items() if g is None or (row.size % g == 0 and g < row.size)]
        shared = st.segmented_control(
            "A scale for", fits, default=fits[0], key="repair-shared", bind="query-params", required=True
        )
        apart = st.segmented_control(
            "Kept apart", pulling.APART, default=0, key="repair-apart", bind="query-params", required=True
        )
    tried = pulling.repair(row, SHARED[shared], apart)
    puzzle.scored(error=tried.error, bits=tried.bpw, target=TARGET, best=best.bpw, free=4)
    captions.receipt(
        "measured",
        "4-bit codes, FP16 scales, and for each weight kept apart 16 bits and another 16 for its place. The score is "
        "100 for the fewest bits over 4 that any way on offer needs",
    )


@st.cache_data(show_spinner=False, max_entries=256)
def cheapest(token: str, _spot: weight.Spot) -> pulling.Repair | None:
    return pulling.cheapest(row_of(_spot), TARGET)


@st.fragment
def show_real(found: running.Running) -> None:
    st.markdown("**Weights.** The largest of each matrix, in units of its own typical weight.")
    rows = weight_map(found.identity, found)
    chart("weight_map", outliers.weight_map_figure, rows, about=(found.identity,))
    st.markdown(
        "**Activations** are worse, and their outliers keep to a few channels, whatever the text. Each cell is an "
        "input channel of one kind of matrix; the stronger its colour, the larger the largest value that came through."
    )
    kind = st.segmented_control("Read by", KINDS, default="ffn_down", key="kind", bind="query-params", required=True)
    captions.glossed(kind)
    seen = watched(found.identity, found)
    chart("channels", outliers.channel_figure, seen, kind, about=(found.identity, kind))
    listed = ", ".join(map(str, seen.outliers().tolist())) or "none"
    captions.receipt(
        "measured",
        f"on {seen.tokens:,} tokens. Channels that meet LLM.int8()'s criterion for outliers (6 or more in a quarter of "
        f"the layers and 6% of the places): {listed}. In models of billions of weights they are far larger.",
    )
    captions.data(lambda: outliers.outlier_csv(seen), "activations.csv")


@st.cache_resource(show_spinner="Letting the model read …", max_entries=2)
def watched(identity: str, _found: running.Running):
    tokens = _found.tokenizer.encode(running.calibration_text())
    return activations(_found.model, tokens[:1024], 256, _found.tokenizer.bos)


@st.cache_data(show_spinner=False, max_entries=4)
def weight_map(identity: str, _found: running.Running) -> list[dict]:
    return outliers.weight_map(_found.model)


@st.fragment
def show_split(found: running.Running, layer: Layer) -> None:
    st.markdown(
        "With 8 bits for weights **and** activations, one large channel sets the scale of a whole token. LLM.int8() "
        "takes channels in which a value reaches a threshold out of the product, computes them in 16 bits, and adds "
        "them back. How many channels must that be?"
    )
    threshold = st.select_slider(
        "Threshold", [t for t in THRESHOLDS if t], value=6.0, key="threshold", bind="query-params"
    )
    trace = split(found.identity, layer.name, layer)
    at = trace.thresholds.tolist().index(threshold)
    st.markdown(
        f"At {threshold:g}, **{len(trace.columns[at])} of {len(trace.magnitudes)}** channels stay in 16 bits, and the "
        f"error of the output is **{trace.errors[at]:.2%}** instead of {trace.errors[0]:.2%} with everything in 8."
    )
    chart("split", outliers.threshold_figure, trace, threshold, about=(found.identity, layer.name, threshold))
    captions.receipt(
        "measured",
        f"on {len(layer.x[:TOKENS]):,} tokens; 6 is the paper's threshold, found on models with much larger outliers",
    )
    captions.show_python(layer_snippet(found, layer, "llm_int8", "outlier_trace"), outlier_trace)


@st.cache_resource(show_spinner="Trying thresholds …", max_entries=128)
def split(identity: str, name: str, _layer: Layer):
    return outlier_trace(_layer.x[:TOKENS], _layer.weight)


@st.fragment
def show_smooth(found: running.Running, layer: Layer) -> None:
    st.markdown(
        "SmoothQuant divides each channel of the activations by **s** and multiplies the column of the weights by it, "
        "with s = max|x|**ᵅ** ÷ max|w|**¹⁻ᵅ**. The product stays the same. At α = 0 only the weights become even, at 1 "
        "only the activations; between, both can live with 8 bits."
    )
    alpha = st.select_slider("α", ALPHAS, value=0.5, key="smoothing", bind="query-params")
    trace = smoothed(found.identity, layer.name, layer)
    at = ALPHAS.index(alpha)
    about = (found.identity, layer.name, at)
    chart("smooth", outliers.smooth_figure, trace, at, about=about)
    chart("errors", outliers.smooth_error_figure, trace, at, about=about)
    best = trace.winner
    captions.receipt(
        "measured",
        f"W8A8, a scale for each token and each output. At this α the output's error is {trace.errors[at]:.2%}, best "
        f"at α = {trace.alphas[best]:.2f} with {trace.errors[best]:.2%}, without smoothing {trace.untouched[2]:.2%}.",
    )
    captions.show_python(layer_snippet(found, layer, "smoothquant", "smooth_trace"), smooth_trace)


@st.cache_resource(show_spinner="Trying every alpha …", max_entries=128)
def smoothed(identity: str, name: str, _layer: Layer):
    return smooth_trace(_layer.x[:TOKENS], _layer.weight)


@st.fragment
def show_super(found: running.Running) -> None:
    st.markdown(
        "Some outliers are not damage to be contained but the point. In models of billions of weights a **single** "
        "weight of an early down projection can carry so much that without it the model writes nonsense (Yu et al., "
        "2024). Does this model have one? Take out the weights that contribute the largest products, one by one."
    )
    if not st.toggle("Take them out (some seconds)", key="super", bind="query-params"):
        return
    base, typical, rows = worst(found.identity, found)
    st.dataframe(
        [vars(row) for row in rows],
        column_config={
            "value": st.column_config.NumberColumn(format="%.4f"),
            "product": st.column_config.NumberColumn("largest product", format="%.1f"),
            "perplexity": st.column_config.NumberColumn("perplexity without", format="%.3f"),
        },
        column_order=("matrix", "perplexity", "product", "value", "row", "column"),
        hide_index=True,
    )
    top = rows[0]
    st.markdown(
        f"With all weights the perplexity is {base:.3f}; without a weight of ordinary size {typical:.3f}; without the "
        f"worst of these **{top.perplexity:.3f}**. One weight of {found.weights:,}: not nonsense here, for small "
        "models spread their work, but far more than its share."
    )
    left, right = st.columns(2)
    for column, title, text in (
        (left, "With all weights", written(found.identity, None, found)),
        (
            right,
            f"Without {top.matrix} [{top.row}, {top.column}]",
            written(found.identity, (top.matrix, top.row, top.column), found),
        ),
    ):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(PROMPT + text)
    captions.receipt("measured", "perplexity on 512 tokens; the likeliest token each time")


@st.cache_resource(show_spinner="Taking out weights, one by one …", max_entries=2)
def worst(identity: str, _found: running.Running):
    tokens = _found.tokenizer.encode(running.calibration_text())[:512]
    return super_weights.super_weights(_found.model, tokens, _found.tokenizer.bos, count=5)


@st.cache_data(show_spinner=False, max_entries=8)
def written(identity: str, taken: tuple[str, int, int] | None, _found: running.Running) -> str:
    """What the model goes on with, all weights in place or without one."""
    changed = _found.model if taken is None else super_weights.without(_found.model, *taken)
    tokens = list(generate(changed, _found.tokenizer.encode(PROMPT), 40))
    return _found.tokenizer.decode(tokens)


def layer_snippet(found: running.Running, layer: Layer, module: str, function: str) -> str:
    return (
        "import quantlib as ql\nfrom quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n"
        f"from quantlib.methods.{module} import {function}\n\n"
        + running.python_of(found, layer)
        + f"print({function}(layer.x[:{TOKENS}], layer.weight).errors)"
    )


main()
