"""Activations have it worse: one channel towers over all others, and three ways to live with it."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from pages.ui import captions, component, drawing, menu, puzzle, running, terms
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.guess import answer, guess, spoiler
from quantlib.figures import channels, outliers, skyline
from quantlib.figures.layer import Layer, layer_at_work
from quantlib.lm import activations as watch
from quantlib.methods.llm_int8 import outlier_trace
from quantlib.methods.rotation import rotation_trace
from quantlib.methods.smoothquant import smooth_trace

SPIKY, EVEN, MASSIVE = "blk.13.attn_q.weight", "blk.13.ffn_down.weight", "blk.11.ffn_down.weight"
ATTENTION = "blk.3.attn_q.weight"  # of a model that runs here; another where there is none of that name
PUBLISHED = "the file as published, already at 4 bits, is taken as the original"
STORED, OPENED = "SmolLM2, 135 million weights", "The model that is open"
KINDS = ("attn_q", "ffn_down")


@dataclass(frozen=True)
class Shown:
    """What the chapter shows: a matrix whose input has a spike, one without, and where the figures come from."""

    spiky: channels.Study
    even: channels.Study
    source: str
    receipt: str
    found: running.Running | None = None
    layer: Layer | None = None


@dataclass(frozen=True)
class Way:
    """A way to live with a spike: what a step says and draws of it, and the method whose trace it runs."""

    key: str
    title: str
    words: str
    receipt: str
    panels: Callable[[channels.Study], dict]
    trace: Callable
    errors: str  # what a study calls its errors


WAYS = (
    Way(
        "keeping",
        "Keep the few apart: LLM.int8()",
        "8 bits have 255 levels, and a token's largest value sets how far apart they are. LLM.int8() takes the "
        "channels that reach a threshold out, computes them in 16 bits, and adds them back. All others then get a "
        "finer scale.",
        "The dashed line is the threshold. 6 is the paper's, found on models with larger outliers",
        skyline.keeping,
        outlier_trace,
        "int8",
    ),
    Way(
        "moving",
        "Move the difficulty into the weights: SmoothQuant",
        "SmoothQuant divides each channel of the activations by **s** and multiplies the column of the weights that "
        "reads it by **s**, with s = max|x|**ᵅ** ÷ max|w|**¹⁻ᵅ**. The product stays the same. Pull α: the spike sinks, "
        "and the weights rise.",
        "A scale for each token and each output, on both sides",
        skyline.moving,
        smooth_trace,
        "smooth",
    ),
    Way(
        "turning",
        "Rotate it away: Hadamard",
        "A **Hadamard matrix** adds and subtracts channels, so a spike in one becomes a small share of every other. "
        "The same rotation inside the weights undoes it, so again the product stays the same. QuaRot and QuIP# do "
        "this.",
        "Signs are drawn at random once, as both papers do",
        skyline.turning,
        rotation_trace,
        "rotation",
    ),
)


def main() -> None:
    with chapter(menu.ACTIVATIONS) as page:
        with page.step(printed=True):
            chosen = st.session_state.get("model-of", STORED)
            shown = opened() if chosen == OPENED else stored()
            show_reading(shown)
        for way in WAYS:
            with page.step(way.title):
                show_way(shown, way)
        with page.step("The three side by side", printed=True):
            show_ways(shown)
        with page.step("Every layer, and the first word", printed=True):
            show_layers(shown)
        with page.step("Puzzle: which way for these?"):
            show_puzzle(shown)
        page.in_short(
            *skyline.in_short(shown.spiky, shown.even),
            question="Weights share scales, and scales cost bits. How does a file keep thousands of them cheaply?",
        )


@st.cache_resource(show_spinner=False)
def studies() -> channels.Studies:
    return channels.Studies.read()


def stored() -> Shown:
    """Two matrices of a real language model, measured once."""
    found = studies()
    spiky, even = found.of(SPIKY), found.of(EVEN)
    return Shown(spiky, even, "stored", f"{spiky.model}, {spiky.tokens} tokens of English; {PUBLISHED}")


def opened() -> Shown:
    """The same of the model that runs on this server."""
    found = running.running()
    running.show_note(found)
    layer = running.layer_picker(found, "matrix", ATTENTION)
    spiky = measured(found.identity, layer.name, found, layer)
    even = measured(found.identity, even_name(layer.name), found, None)
    return Shown(spiky, even, "measured", f"{spiky.tokens} tokens of the calibration text", found, layer)


def even_name(name: str) -> str:
    return name.rsplit(".", 2)[0] + ".ffn_down.weight"


@st.cache_resource(show_spinner="Trying three ways …", max_entries=64)
def measured(identity: str, name: str, _found: running.Running, _layer: Layer | None) -> channels.Study:
    tokens = _found.tokenizer.encode(running.calibration_text())
    layer = _layer or layer_at_work(_found.model, tokens, name)
    return channels.study("the model that is open", layer, channels.words_of(_found.tokenizer, tokens))


def show_reading(shown: Shown) -> None:
    terms.say(
        "**Activations** are the numbers that run through a model while it reads: for every token a row of them, a "
        "number for each **channel**. To multiply whole numbers with whole numbers, a machine must round them too. "
        "Pull the slider along the text and watch one channel."
    )
    component.skyline(key="reading", channels=skyline.reading(shown.spiky, shown.even), on_change=lambda: None)
    captions.receipt(
        shown.source,
        f"{shown.receipt}. All three rows in one unit: how many times the typical value, which is the root mean "
        "square. For the weights, the largest of each channel",
    )
    captions.folded("Another model or layer", "another", choose_model)
    captions.show_python(snippet(shown), channels.study)


def choose_model() -> None:
    st.radio("Model", [STORED, OPENED], key="chosen-model", on_change=keep_model, index=remembered())
    if st.session_state.get("model-of") == OPENED:
        st.caption("Choose the matrix above the picture.")


def remembered() -> int:
    return [STORED, OPENED].index(st.session_state.get("model-of", STORED))


def keep_model() -> None:
    st.session_state["model-of"] = st.session_state["chosen-model"]


@st.fragment
def show_way(shown: Shown, way: Way) -> None:
    terms.say(way.words)
    component.skyline(key=f"way-{way.key}", channels=way.panels(shown.spiky), on_change=lambda: None)
    captions.receipt(shown.source, f"{shown.receipt}. {way.receipt}")
    captions.show_python(snippet_of(shown, way), way.trace)


@st.fragment
def show_ways(shown: Shown) -> None:
    terms.say("The same layer, rounded in each of these ways: how far is its output off?")
    drawing.draw(skyline.ways_svg(shown.spiky, (8,)), key="ways")
    said = guess("Will the same way win at 4 bits?", skyline.AGREE, key="wins")
    answer(said, skyline.agrees(shown.spiky), skyline.ways_in_words(shown.spiky))
    with spoiler("four-bits") if said is None else st.container():
        drawing.draw(skyline.ways_svg(shown.spiky, (4,)), key="ways-four")
    captions.receipt(
        shown.source,
        f"{shown.receipt}. The relative error of the output of `{shown.spiky.name}`, both sides rounded, SmoothQuant "
        "at its best α. LLM.int8() is a way for 8 bits alone",
    )


@st.fragment
def show_puzzle(shown: Shown) -> None:
    """The best way for matrices that no picture has shown; a point for each."""
    terms.say("Other matrices. For each, which way leaves the least error in the output?")
    others = [shown.even] if shown.found else [shown.even, studies().of(MASSIVE)]
    puzzle.asked(skyline.questions(others), "way")
    captions.receipt(shown.source, f"{others[0].model}, {others[0].tokens} tokens, LLM.int8() with its threshold of 6")


def show_layers(shown: Shown) -> None:
    if shown.source == "stored":
        found = studies()
        terms.say(skyline.layers_in_words(found.layers))
        chart("layers", skyline.layers_figure, found.layers, about=(found.matrices[0].model,))
        terms.say(skyline.first_in_words(found.layers))
        captions.receipt("stored", f"{shown.spiky.model}, 1,024 tokens; {PUBLISHED}")
        return
    kind = st.segmented_control("Read by", KINDS, default="attn_q", key="read-by", bind="query-params", required=True)
    captions.glossed(kind)
    seen = watched(shown.found.identity, shown.found)
    chart("channels", outliers.channel_figure, seen, kind, about=(shown.found.identity, kind))
    listed = ", ".join(map(str, seen.outliers().tolist())) or "none"
    captions.receipt(
        "measured",
        f"on {seen.tokens:,} tokens. Channels that meet LLM.int8()'s criterion for outliers (6 or more in a quarter of "
        f"the layers and 6% of the places): {listed}",
    )
    captions.data(lambda: outliers.outlier_csv(seen), "activations.csv")


@st.cache_resource(show_spinner="Letting the model read …", max_entries=2)
def watched(identity: str, _found: running.Running):
    tokens = _found.tokenizer.encode(running.calibration_text())
    return watch(_found.model, tokens[:1024], 256, _found.tokenizer.bos)


def snippet(shown: Shown) -> str:
    if shown.layer is None:
        return (
            "from quantlib.figures import channels\n\n"
            f'study = channels.Studies.read().of("{shown.spiky.name}")\n'
            'print(f"channel {study.largest_channel}: {study.times:.1f} times the typical value,"\n'
            '      f" the largest at {study.steady} of {len(study.words)} tokens")'
        )
    return traced(shown, outlier_trace)


def snippet_of(shown: Shown, way: Way) -> str:
    """The errors that a way's picture shows: measured once of the stored model, whose weights are not here."""
    if shown.layer is not None:
        return traced(shown, way.trace)
    return (
        "from quantlib.figures import channels\n\n"
        f'study = channels.Studies.read().of("{shown.spiky.name}")\n'
        f'print("rounded as they are:", study.plain.tolist(), "{way.errors}:", study.{way.errors}.tolist())'
    )


def traced(shown: Shown, trace: Callable) -> str:
    """Runs a method's trace on the model that the page runs."""
    return (
        "import quantlib as ql\nfrom quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n"
        f"from {trace.__module__} import {trace.__name__}\n\n"
        + running.python_of(shown.found, shown.layer)
        + f"print({trace.__name__}(layer.x[:{channels.TOKENS}], layer.weight).errors)"
    )


main()
