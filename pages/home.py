"""The first page: one model from fewer and fewer bits, and the way through the chapters."""

import streamlit as st

from pages.ui import captions, drawing, menu, model
from pages.ui.chapter import chapter
from pages.ui.guess import guess, verdict
from quantlib.errors import CheckpointError
from quantlib.figures import levels, opening, runs
from quantlib.lm import EVALUATION, read_texts
from quantlib.lm.keeping import digest_of_model
from quantlib.lm.showcase import PROMPTS, STORED, Showcase, showcase
from quantlib.lm.texts import digest_of_texts

TENSOR = "model.layers.3.mlp.down_proj.weight"
WEIGHTS = 256
SHOWN = 128
FORMATS = {"As trained": "BF16", "256 levels": "Q8_0", "16 levels": "Q4_K"}


def main() -> None:
    with chapter(menu.HOME, "What does quantization do to a model?") as page:
        found = measured()
        with page.step(printed=True):
            show_hero(found)
        with page.step("The same sentence, from fewer and fewer bits", printed=True):
            show_texts(found)
        with page.step("What happened to the numbers"):
            show_row()
        with page.step("The whole model"):
            show_sizes()
        with page.step("The chapters"):
            show_map()


@st.cache_resource(show_spinner="Measuring the model from four recipes, once …")
def measured() -> Showcase:
    """The stored measurement, if it is of this model and these texts; else a fresh one."""
    texts, checkpoint = read_texts(EVALUATION), model.demo_checkpoint()
    try:
        stored = Showcase.read(STORED)
        if (stored.model, stored.text) == (digest_of_model(checkpoint), digest_of_texts(texts)):
            return stored
    except CheckpointError:
        pass
    return showcase(checkpoint, texts)


@st.fragment
def show_hero(found: Showcase) -> None:
    best = found.of("Q4_K_M")
    st.markdown(
        "A language model is a long list of numbers. **Quantization** stores each of them with fewer bits, so that the "
        "model fits into less memory and runs faster. Nothing else about it changes. Here is a small one, made for "
        "this page: 8.4 million numbers, 32 bits each. We quantize it."
    )
    hero = st.container(key="hero")
    said = guess("Of 100 next tokens that the model expects, how many are still the same?", list(opening.CHOICES))
    with hero:
        st.html(opening.hero_html(best, said is not None))
    if said is None:
        return
    st.markdown(
        f"{verdict(said, opening.nearest(best.same_top))} How can that be? And where does it end? That is what these "
        "chapters are about. Everything in them is done by the real quantizer, to real weights."
    )
    receipt(found, f"over {best.tokens:,} tokens of text that the model has not seen; same: the likeliest token")


@st.fragment
def show_texts(found: Showcase) -> None:
    st.markdown("The model goes on writing. Underlined: where its text leaves the one from 32 bits.")
    prompt = st.segmented_control(
        "Let it go on from", list(PROMPTS), default="a tale", key="prompt", bind="query-params", required=True
    )
    st.html(opening.texts_html(found, PROMPTS[prompt]))
    st.markdown(
        "One changed token is enough to send the text elsewhere; elsewhere need not be worse. It is a small model and "
        "no great writer from 32 bits either. Whether fewer bits made it *worse* takes careful measuring: "
        f"that is chapter {menu.number(menu.COST)}."
    )
    receipt(
        found,
        f"drawn at temperature {found.temperature} with the same random numbers (seed {found.seed}), so that texts "
        "part only where the weights make them",
    )
    captions.show_python(
        "import quantlib as ql\n"
        "from quantlib.lm import EVALUATION, read_texts\n"
        "from quantlib.lm.showcase import showcase\n\n"
        f'checkpoint = ql.open_checkpoint("{model.shown_path(model.demo_checkpoint())}")\n'
        "found = showcase(checkpoint, read_texts(EVALUATION))\n"
        "for shown in found.shown:\n"
        '    print(f"{shown.recipe}: {shown.bpw} bits, {shown.same_top:.1%} of next tokens the same")\n'
        "    print(shown.texts)",
        showcase,
    )


def receipt(found: Showcase, words: str) -> None:
    captions.receipt("stored", f"{words}. Of the model with the hash {found.model[:8]}…, which was checked just now")


@st.fragment
def show_row() -> None:
    st.markdown(
        "**Real weights of that model**, stored by the real quantizer. Choose how many levels they may have. Every 32 "
        "of them share a scale, so the levels lie closer where the weights are smaller."
    )
    stored = st.segmented_control(
        "Levels", list(FORMATS), default="16 levels", key="stored", bind="query-params", required=True
    )
    name = FORMATS[stored]
    row = model.demo_checkpoint().tensors[TENSOR].rows(0, 1)[0, :WEIGHTS]
    picture = levels.rest(row, name)
    title = f"{SHOWN} weights stored as {name}"
    drawing.draw(levels.levels_svg(picture.first(SHOWN), title) + levels.LEGEND, key="levels")
    with st.container(horizontal=True):
        st.metric(f"Bits for each weight in {name}", f"{picture.format.bpw:g}")
        st.metric(f"Bytes for {WEIGHTS} weights", f"{picture.nbytes:,}")
        st.metric("Typical error", f"{picture.loss.relative:.2%}", help="rmse / rms of these weights")
    captions.receipt("measured", f"on the first {WEIGHTS} weights of `{TENSOR}`; {SHOWN} are drawn")
    captions.show_python(
        "import quantlib as ql\nfrom quantlib.metrics import compare\n\n"
        f'checkpoint = ql.open_checkpoint("{model.shown_path(model.demo_checkpoint())}")\n'
        f'x = checkpoint.tensors["{TENSOR}"].rows(0, 1)[0, :{WEIGHTS}]\n'
        f'data = ql.quantize(x, "{name}")\n'
        f'xhat = ql.dequantize(data, "{name}")\n'
        'print(data.size, "bytes,", f"{compare(x, xhat).relative:.2%}", "typical error")',
        levels.rest,
    )


def show_sizes() -> None:
    st.html(runs.size_bars(model.plans(model.demo_checkpoint()), "Q4_K_M"))
    captions.receipt("exact", "bytes of this app's demo model, 8.4 million weights, as a GGUF file in each recipe")


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
