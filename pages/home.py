"""The first page: how few bits can a model stand, and the way through the chapters."""

import streamlit as st

import quantlib as ql
from pages.ui import captions, component, drawing, menu, model, puzzle, real
from pages.ui.chapter import chapter
from pages.ui.guess import answer, guess
from quantlib.figures import asked, edge, few_bits, levels
from quantlib.lm import Model, Tokenizer
from quantlib.lm.answering import CALCULATOR, RECIPES, STORED, Answers, answering, variant
from quantlib.lm.sums import answers, parse

SHOWN = str(CALCULATOR.relative_to(model.ROOT))
TENSOR = "model.layers.3.mlp.down_proj.weight"
WEIGHTS, DRAWN = 256, 128
FORMATS = {"As trained": "BF16", "256 levels": "Q8_0", "16 levels": "Q4_K"}


def main() -> None:
    with chapter(menu.HOME, "How few bits can a model stand?") as page:
        with page.step(printed=True):
            show_descent()
            show_guess()
        with page.step("A real language model"):
            real.show_few()
        with page.step("A sum of your own"):
            show_own_sum()
        with page.step("What happens to the numbers", printed=True):
            show_row()
        with page.step("Puzzle: the smallest that still can"):
            show_puzzle()
        page.in_short(
            *few_bits.lessons(measured(), few_bits.Large.read()),
            asked.lesson(real.measured()),
            question="What is one of these numbers made of, and which of its bits can go?",
        )
        with page.step("The chapters"):
            show_map()


@st.cache_resource(show_spinner=False)
def measured() -> Answers:
    return Answers.read(STORED)


@st.cache_resource(show_spinner=False)
def ladder() -> dict:
    """What was measured on the calculator, as the message that shows it."""
    return few_bits.message(measured(), few_bits.Large.read())


@st.cache_resource(show_spinner=False)
def stops() -> str:
    """The same as a table, for paper, which has no slider to pull."""
    return few_bits.table_html(Answers.read(STORED), few_bits.Large.read())


def show_descent() -> None:
    st.markdown(
        "A model is a long list of numbers, its **weights**. **Quantization** stores each of them with fewer bits, and "
        "the model needs less memory. **Pull the slider to the right** and watch what it costs. The names under it are "
        "those of such files; a later chapter takes them apart."
    )
    component.few_bits(key="descent", ladder=ladder(), on_change=lambda: None)
    captions.receipt(
        "stored",
        "the sums and the weights, of a model that was trained for this page to add, subtract and multiply. It has 1.8 "
        "million weights. Every answer is what it wrote from the weights that the recipe leaves. The bits count "
        "everything that is stored. The file sizes are those of Llama-3-70B by the same recipes, from its shape",
    )
    with st.container(key="paper-stops"):
        st.html(stops())
    captions.show_python(
        "import quantlib as ql\n"
        "from quantlib.lm.answering import answering\n\n"
        f'found = answering(ql.open_checkpoint("{SHOWN}"), recipes=["F32", "Q4_K_M", "Q2_K"], count=200)\n'
        "for one in found.found:\n"
        '    print(one.recipe, one.bpw, {s.grade: f"{s.right} of {s.count}" for s in one.scores})',
        answering,
    )


@st.fragment
def show_guess() -> None:
    right, sentence = edge.half_wrong(measured())
    said = guess("Down to how many bits must it go until half of its sums are wrong?", list(edge.HALVES), key="half")
    answer(said, right, sentence)


@st.fragment
def show_puzzle() -> None:
    """For three kinds of sums, the smallest recipe that still can do them; a point for each."""
    st.markdown(
        f"For each kind of sum: which is the smallest of these that still gets **{edge.ABLE:.0%}** of them right?"
    )
    puzzle.asked(edge.questions(measured()), "smallest")
    captions.receipt("stored", "the calculator on 2,000 sums of each kind, the same for every recipe")


@st.cache_resource(max_entries=len(RECIPES), show_spinner="Quantizing the model …")
def calculator(recipe: str) -> tuple[Model, Tokenizer]:
    return variant(ql.open_checkpoint(CALCULATOR), recipe)


@st.fragment
def show_own_sum() -> None:
    st.markdown("Type a sum. The same small model answers, quantized here and now.")
    recipe = st.select_slider("Stored as", RECIPES, value="Q4_K_M", key="calculating", bind="query-params")
    text = st.text_input("A sum", "47 × 83", key="sum", bind="query-params", max_chars=20)
    one = parse(text)
    if one is None:
        st.info("Two whole numbers of up to six digits, joined by +, − or ×, as in 1234 + 567.", icon="✏️")
        return
    said = {name: few_bits.read(answers(*calculator(name), [one])[0]) or "nothing" for name in ("F32", recipe)}
    with st.container(horizontal=True):
        for name, label in (("F32", "From 32 bits"), (recipe, f"From {recipe}")):
            right = said[name] == f"{one.result:,}"
            st.metric(label, said[name], "right" if right else "wrong", delta_color="normal" if right else "inverse")
    captions.receipt(
        "measured",
        f"{few_bits.written(one)} = {one.result:,}. It has practised sums of up to six digits, differences of up to "
        "three, and products of up to three digits by one and two by two. Anything else is a guess",
    )


@st.fragment
def show_row() -> None:
    st.markdown(
        "**Real weights of a language model**, the demo model of the chapters, stored by the real quantizer. Choose "
        "how many levels they may have. Every 32 of them share a scale, so the levels are closer where the weights are "
        "smaller."
    )
    stored = st.segmented_control(
        "Levels", list(FORMATS), default="16 levels", key="stored", bind="query-params", required=True
    )
    name = FORMATS[stored]
    row = model.demo_checkpoint().tensors[TENSOR].rows(0, 1)[0, :WEIGHTS]
    picture = levels.rest(row, name)
    title = f"{DRAWN} weights stored as {name}"
    drawing.draw(levels.levels_svg(picture.first(DRAWN), title) + levels.LEGEND, key="levels")
    with st.container(horizontal=True):
        st.metric(f"Bits for each weight in {name}", f"{picture.format.bpw:g}")
        st.metric(f"Bytes for {WEIGHTS} weights", f"{picture.nbytes:,}")
        st.metric("Relative error", f"{picture.loss.relative:.2%}", help="RMS of (ŵ − w) over RMS of w")
    captions.receipt("measured", f"on the first {WEIGHTS} weights of `{TENSOR}`; {DRAWN} are drawn")
    captions.show_python(
        "import quantlib as ql\nfrom quantlib.metrics import compare\n\n"
        f'checkpoint = ql.open_checkpoint("{model.shown_path(model.demo_checkpoint())}")\n'
        f'x = checkpoint.tensors["{TENSOR}"].rows(0, 1)[0, :{WEIGHTS}]\n'
        f'data = ql.quantize(x, "{name}")\n'
        f'xhat = ql.dequantize(data, "{name}")\n'
        'print(data.size, "bytes,", f"{compare(x, xhat).relative:.2%}", "relative error")',
        levels.rest,
    )


def show_map() -> None:
    """Every chapter with its promise, in two columns."""
    with st.container(key="map"):
        for entry in menu.SECTIONS["Learn"][1:]:
            promise = f"{entry.promise} :small[{entry.minutes} minutes]"
            entry.link(f"**{menu.number(entry)}. {entry.title}** {promise}")
    st.markdown("Then do it to a model of your own:")
    for entry in menu.SECTIONS["Use"]:
        entry.link()


main()
