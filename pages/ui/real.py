"""A real language model beside the small ones: what was measured of it once, asked and shown on chapters."""

from functools import partial

import streamlit as st

from pages.ui import captions, component, drawing, stored, terms
from pages.ui.chrome import theme
from quantlib.figures import asked
from quantlib.figures.plane import for_screens
from quantlib.lm.surveying import STORED, Survey, survey

INSIDE, FILES = "All matrices in one format", "Files, as recipes make them"
PLAINLY = (
    "Its file as published is already at 4 bits, and is taken as the original. The questions were chosen because that "
    "file answers them right, so it can only get worse."
)
KNOWN = f"{asked.MODEL}. An answer is right if its first sentence has the expected word"
NARROW = (
    "Its rows of 576 weights do not divide into blocks of 256. So recipes fall back to other formats, and a file has "
    "far more bits than its name says."
)
MADE = "python assets/measurements/make.py survey"


@st.cache_resource(show_spinner=False)
def measured() -> Survey:
    return Survey.read(STORED)


@st.cache_resource(show_spinner=False, max_entries=8)
def message(alone: bool, shown: tuple[int, ...]) -> dict:
    return asked.asked_message(measured(), alone, shown)


def show_few() -> None:
    """Six of the questions, with all matrices in one format."""
    terms.say(
        f"And a real model, one that chats? This one has {asked.WEIGHTS} weights. **Pull the slider** and read what it "
        f"answers. {PLAINLY}"
    )
    component.asked(key="asked-few", ladder=message(True, asked.FEW), on_change=lambda: None)
    captions.receipt(
        "stored",
        f"{KNOWN}. Six of twenty questions, which are all in the chapter on what it does to the model. "
        f"{asked.matrix_words(measured())}",
    )


@st.fragment
def show_all() -> None:
    """All questions on one of two ladders, and how far predictions move in each register."""
    terms.say(
        f"Now a real model of {asked.WEIGHTS} weights, which chats. It was asked twenty plain questions. **Pull the "
        f"slider**, and point at an answer to read it beside the one as published. {PLAINLY}"
    )
    shown = st.segmented_control(
        "Stored as", [INSIDE, FILES], default=INSIDE, key="survey-ladder", bind="query-params", required=True
    )
    alone = shown == INSIDE
    component.asked(
        key=f"asked-{'inside' if alone else 'files'}",
        ladder=message(alone, tuple(range(len(asked.QUESTIONS)))),
        on_change=lambda: None,
    )
    found = measured()
    said = (asked.asked_words, asked.unequal_words, asked.apart_words)
    terms.say(" ".join([*(words(found, alone) for words in said), "" if alone else NARROW]))
    captions.receipt(
        "stored",
        f"{KNOWN}. {asked.matrix_words(found)}. Each of three texts has {asked.places(found)} scored tokens. Made by "
        f"`{MADE}`",
    )
    captions.show_python(
        "from quantlib.figures.asked import right\nfrom quantlib.lm.surveying import STORED, Survey\n\n"
        f"for one in Survey.read(STORED).ladder(alone={alone}):\n"
        '    moved = {name: f"{found.kl:.3f}" for name, found in one.registers.items()}\n'
        '    print(f"{one.label:14} {one.bpw:5.2f} bits, {sum(right(one))} right, nats: {moved}")',
        survey,
    )


@st.fragment
def show_beside() -> None:
    """The real model's divergence by register beside the demo model's and a large model's."""
    found, sweep = measured(), stored.sweep()
    terms.say(asked.beside_words(found, sweep))
    st.markdown(asked.registers_words(found))  # "code" is a text here, and no term
    drawing.draw(for_screens(partial(asked.beside_svg, found, True, sweep, theme())), key="beside")
    captions.receipt(
        "stored",
        f"{asked.MODEL} with all matrices in one format, {asked.places(found)} tokens of a story, of a program and of "
        "sums; its file of 4 bits is taken as the original. The demo model from its best recipes on two texts. "
        "Published: Llama-3-8B from recipes with an importance matrix, on Wikitext-2",
    )
