"""What it costs: the same model from fewer bits, measured and read."""

import streamlit as st

from pages.ui import captions, menu, model
from pages.ui.chapter import chapter
from quantlib.lm import perplexity
from quantlib.recipes import RECIPES

PROMPTS = {
    "a tale": "Once upon a time there was an old king who",
    "a letter": "My dear sister, I have just come home from",
    "a road": "They walked along the road until",
}
CONTEXT = 256


def main() -> None:
    with chapter(menu.COST):
        show()


def show() -> None:
    st.markdown(
        "Errors of weights are not what a reader meets. Here the demo model runs with the weights that a recipe "
        "leaves: once over two texts that it has never seen, and once writing on by itself."
    )
    offered = [r.name for r in RECIPES.values() if r.name not in ("F32", "BF16") and not r.needs_importance]
    recipe = st.selectbox("Recipe", offered, index=offered.index("Q4_K_M"), key="recipe", bind="query-params")
    prompt = st.segmented_control(
        "Let it go on from", list(PROMPTS), default="a tale", key="prompt", bind="query-params", required=True
    )
    with st.spinner("Reading two texts with both models"):
        before, after = model.measured("BF16", CONTEXT), model.measured(recipe, CONTEXT)
    show_perplexity(before, after, recipe)
    show_texts(PROMPTS[prompt], recipe)
    captions.show_python(
        "import quantlib as ql\nfrom quantlib.lm import Tokenizer, load, perplexity\n\n"
        f'original = ql.open_checkpoint("{model.shown_path(model.demo_checkpoint())}")\n'
        f'ql.run(ql.plan(original, "{recipe}"), "quantized.gguf")\n'
        f'text = "".join(open(name, encoding="utf-8").read() for name in {model.EVALUATION})\n'
        'for source in (original, ql.open_checkpoint("quantized.gguf")):\n'
        "    tokenizer = Tokenizer.of(source)\n"
        f"    found = perplexity(load(source), tokenizer.encode(text), {CONTEXT}, tokenizer.bos)\n"
        '    print(f"{found.value:.3f} ± {found.stderr:.3f} over {found.tokens} tokens")',
        perplexity,
        shell=f"python -m quantlib perplexity quantized.gguf --text {model.EVALUATION[0]} --context {CONTEXT}",
    )


def show_perplexity(before: model.Measured, after: model.Measured, recipe: str) -> None:
    columns = st.columns(3)
    columns[0].metric("Perplexity, original weights", f"{before.perplexity.value:.2f}")
    columns[1].metric(
        f"Perplexity, {recipe}",
        f"{after.perplexity.value:.2f}",
        f"{after.perplexity.value - before.perplexity.value:+.2f}",
        delta_color="inverse",
    )
    columns[2].metric("Size", f"{after.size} of {before.size}")
    st.markdown(
        "Perplexity says between how many tokens the model hesitates, on average, at each place of the text. "
        "It is an average: it can stand still while single answers change."
    )
    captions.receipt(
        "measured",
        f"on {before.perplexity.tokens:,} tokens of two texts written for this project, in windows of {CONTEXT}, the "
        f"second half of each scored, as llama-perplexity does; one standard error is {before.perplexity.stderr:.1f}, "
        "but both models read the same tokens, so their difference is surer than that",
    )
    st.info(
        "This is a model of 8.4 million weights, briefly trained. How much a recipe costs it says little about what "
        "the same recipe costs a model a thousand times larger, which usually stands it better.",
        icon="🔎",
    )


def show_texts(prompt: str, recipe: str) -> None:
    st.subheader("The same sentence, twice")
    left, right = st.columns(2)
    for column, name, title in ((left, "BF16", "Original weights"), (right, recipe, recipe)):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(prompt + model.continued(name, prompt))
    captions.receipt(
        "measured",
        f"drawn at temperature {model.TEMPERATURE} with the same random numbers (seed {model.SEED}), "
        "so that texts part only where the weights make them",
    )


main()
