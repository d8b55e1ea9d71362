"""One outlier ruins the row: grow a weight, contain it, find real ones, and see what methods do about them."""

import streamlit as st

from pages.ui import address, captions, menu, model, running
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.grow import grow
from pages.ui.guess import guess, verdict
from quantlib import Tensor
from quantlib.figures import outliers, super_weights
from quantlib.figures.layer import Layer
from quantlib.lm import activations, generate
from quantlib.methods.llm_int8 import THRESHOLDS, outlier_trace
from quantlib.methods.rtn import round_to_nearest
from quantlib.methods.smoothquant import ALPHAS, smooth_trace

LEVELS = ("all 15", "about half", "3 or fewer")
TWENTY = 20.5  # typical sizes, of the guess
BLOCKS = (32, 16, 8)
KINDS = ("attn_q", "attn_output", "ffn_gate", "ffn_down")
WIDE_ROWS = 256
TOKENS = 512  # of a layer's inputs, for methods that are tried at many settings
PROMPT = "Once upon a time there was an old king who"
DEFAULT = "model.layers.0.mlp.down_proj.weight"


def main() -> None:
    with chapter(menu.OUTLIERS) as page:
        with page.step(printed=True):
            st.markdown(
                "Weights that share a scale share its fate. The scale must reach the largest of them, and levels are "
                "few: what one weight needs, all its neighbours pay."
            )
            tensor = model.tensor_picker("tensor", DEFAULT)
            show_growing(tensor)
        with page.step("Clip it?"):
            show_clipping(tensor)
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
        page.in_short(
            "A scale covers the largest of the weights that share it; blocks keep the damage small.",
            "Clipping a little is usually right: a large error of one weight against a small one of all others.",
            "Activations have worse outliers than weights, always in the same channels. LLM.int8() keeps those in 16 "
            "bits; SmoothQuant moves them into the weights.",
        )


@st.fragment
def show_growing(tensor: Tensor) -> None:
    block = st.segmented_control(
        "Block", BLOCKS, default=16, key="shared", bind="query-params", required=True,
        help="How many weights share a scale in the lower picture.",
    )  # fmt: skip
    if tensor.n < outliers.WEIGHTS:
        st.info("Rows of this tensor are too short for the picture; choose another one.", icon="📏")
        return
    said = guess(
        f"One weight of a row of {outliers.WEIGHTS} grows to twenty times a typical one. At 4 bits there are 15 levels "
        "around zero. How many do the other 63 weights still use, with one scale?",
        LEVELS,
        key="levels-left",
    )
    if said is None:
        return
    grown, message = growing(model.current().identity, tensor.name, block, tensor)
    used, error = grown.others(grown.sizes.index(TWENTY), 0)
    answer = LEVELS[0] if used > 10 else LEVELS[1] if used > 3 else LEVELS[2]
    contained = grown.others(grown.sizes.index(TWENTY), 1)[1]
    st.markdown(
        f"{verdict(said, answer)} They use **{used}**, and their error is {error:.0%} of a typical weight. With a "
        f"scale for every {block} only the outlier's own block suffers: {contained:.0%} over all. Now move it yourself."
    )
    show_hand(grown, message)
    captions.show_python(grow_snippet(tensor, block), round_to_nearest, outliers.grow)


@st.fragment
def show_hand(grown: outliers.Grown, message: dict) -> None:
    token = message["token"]
    last = len(grown.sizes) - 1
    grow(
        key="grown",
        message=message,
        start=address.whole(address.about(token, "size")["size"], 0, last, grown.sizes.index(TWENTY)),
        on_change=lambda: address.keep("grown", "size", token, part="step"),
    )
    captions.receipt(
        "measured",
        "real weights; only the one in the middle is made up. Rings: weights, dots: what is stored, lines: levels, "
        "red: errors. INT4, symmetric, every size quantized by the code below.",
    )


@st.cache_resource(show_spinner=False, max_entries=256)
def growing(identity: str, name: str, block: int, _tensor: Tensor) -> tuple[outliers.Grown, dict]:
    found = outliers.grow(_tensor.rows(0, 1)[0, : outliers.WEIGHTS], 4, block)
    return found, outliers.message(found, f"{identity}/{name}/{block}")


@st.fragment
def show_clipping(tensor: Tensor) -> None:
    st.markdown(
        "A scale need not reach the largest weight. What lies beyond is **clipped** to the last level: a large error "
        "for one, smaller steps for all others. Here the rows of the tensor above with one scale each, chosen in four "
        "ways."
    )
    bits = st.segmented_control("Bits", (8, 4, 3), default=4, key="clipped", bind="query-params", required=True)
    rows = clipped(model.current().identity, tensor.name, bits, tensor)
    st.dataframe(
        rows,
        column_config={
            "clipped": st.column_config.NumberColumn(format="percent"),
            "relative error": st.column_config.NumberColumn(format="percent"),
            "SQNR, dB": st.column_config.NumberColumn(format="%.1f"),
        },
        hide_index=True,
    )
    captions.receipt("measured", f"on the first {WIDE_ROWS} rows; the last line tries 41 ranges for each row")


@st.cache_data(show_spinner=False, max_entries=256)
def clipped(identity: str, name: str, bits: int, _tensor: Tensor) -> list[dict]:
    return outliers.clipping(_tensor.rows(0, min(WIDE_ROWS, _tensor.nrows)), bits)


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


def grow_snippet(tensor: Tensor, block: int) -> str:
    path = model.shown_path(model.current_checkpoint())
    return (
        "import quantlib as ql\nfrom quantlib.figures import outliers\n\n"
        f"tensor = ql.open_checkpoint({path!r}).tensors[{tensor.name!r}]\n"
        f"row = tensor.rows(0, 1)[0, :{outliers.WEIGHTS}]\n"
        f"grown = outliers.grow(row, bits=4, block={block})\n"
        "for step, size in enumerate(grown.sizes):\n"
        "    one, many = grown.others(step, 0), grown.others(step, 1)\n"
        '    print(f"{size:5} x: levels used {one[0]:2} and {many[0]:2}, error {one[1]:.0%} and {many[1]:.0%}")'
    )


def layer_snippet(found: running.Running, layer: Layer, module: str, function: str) -> str:
    return (
        "import quantlib as ql\nfrom quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n"
        f"from quantlib.methods.{module} import {function}\n\n"
        + running.python_of(found, layer)
        + f"print({function}(layer.x[:{TOKENS}], layer.weight).errors)"
    )


main()
