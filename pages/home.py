"""The first page: one row of real weights, and what fewer levels make of it."""

import streamlit as st

from pages.ui import captions, drawing, menu, model
from pages.ui.chapter import chapter
from quantlib.figures import levels, runs

TENSOR = "model.layers.3.mlp.down_proj.weight"
WEIGHTS = 256
SHOWN = 128
FORMATS = {"As trained": "BF16", "256 levels": "Q8_0", "16 levels": "Q4_K"}


def main() -> None:
    with chapter(menu.HOME, "What does quantization do to a number?"):
        show()


def show() -> None:
    st.markdown(
        "A language model is a long list of numbers. Quantization stores each of them with fewer bits, so that "
        "the model fits into less memory. Below are **real weights of a trained model**, stored by the real quantizer. "
        "Choose how many levels they may have."
    )
    stored = st.segmented_control(
        "Levels", list(FORMATS), default="16 levels", key="stored", bind="query-params", required=True
    )
    show_row(FORMATS[stored])
    st.subheader("Go on")
    left, right = st.columns(2)
    for column, entry, words in (
        (left, menu.FLOAT, "Flip the bits of a real weight. See what FP32, BF16 and FP16 each keep of it."),
        (right, menu.SUPER_BLOCK, "The 144 bytes that hold 256 weights in Q4_K: point at a weight, see its bits."),
        (left, menu.COST, "The model reads, and writes, with fewer bits: what changes, in numbers and in words."),
        (right, menu.QUANTIZE, "This demo model, or a checkpoint of yours, to a file that llama.cpp and Ollama load."),
    ):
        with column, st.container(border=True):
            entry.link()
            st.markdown(words)
    st.subheader("The whole model")
    plans = model.plans(model.demo_checkpoint())
    st.html(runs.size_bars(plans, "Q4_K_M"))
    captions.receipt("exact", "bytes of this app's demo model, 8.4 million weights, as a GGUF file in each recipe")


def show_row(name: str) -> None:
    row = model.demo_checkpoint().tensors[TENSOR].rows(0, 1)[0, :WEIGHTS]
    picture = levels.rest(row, name)
    title = f"{SHOWN} weights stored as {name}"
    drawing.draw(levels.levels_svg(picture.first(SHOWN), title) + levels.LEGEND, key="levels")
    columns = st.columns(3, gap="small")
    columns[0].metric(f"Bits for each weight in {name}", f"{picture.format.bpw:g}")
    columns[1].metric(f"Bytes for {WEIGHTS} weights", f"{picture.nbytes:,}")
    columns[2].metric("Typical error", f"{picture.loss.relative:.2%}", help="rmse / rms of these weights")
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


main()
