"""What it does to the model: one recipe measured live, token by token, and every recipe from a stored sweep."""

import streamlit as st

import quantlib as ql
from pages.ui import captions, drawing, menu, model, running, stored
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.chrome import theme
from pages.ui.guess import guess, verdict
from pages.ui.pointing import pointing
from quantlib import tables
from quantlib.figures import costs
from quantlib.figures.frontier import frontier_svg
from quantlib.figures.ladder import ladder
from quantlib.lm import (
    EVALUATION,
    SEED,
    TEMPERATURE,
    Bench,
    Comparison,
    Model,
    Summary,
    applied,
    bench,
    compare,
    generate,
    read_texts,
    together,
    worst_tokens,
)
from quantlib.recipes import RECIPES

PROMPTS = {
    "a tale": "Once upon a time there was an old king who",
    "a letter": "My dear sister, I have just come home from",
    "a road": "They walked along the road until",
}
CHANGED = ("about 1", "about 5", "about 20")
NUMBERS = (1, 5, 20)
LOSSES = {"KL divergence": "kl", "perplexity": "ppl", "changed tokens": "top"}
CONTEXT = 256
LONGEST = 6000  # characters of a text of one's own
SHORTEST = 600
LADDER_COLUMNS = {
    name: st.column_config.NumberColumn(format=form)
    for name, form in (
        ("KL divergence", "%.5f"), ("bits per weight", "%.2f"), ("perplexity added", "%+.3f"), ("±", "%.3f"),
        ("changed top tokens, %", "%.2f"), ("Llama-3-8B, published", "%+.3f"), ("± ", "%.3f"),
        ("KL, published", "%.4f"),
    )
}  # fmt: skip


def main() -> None:
    with chapter(menu.COST) as page:
        with page.step(printed=True):
            st.markdown(
                "Errors of weights are not what a reader meets. A language model predicts, at every place of a text, "
                "how likely each next token is. So let it read, once as it is and once with the weights that a recipe "
                "leaves, and compare the predictions."
            )
            found = running.running()
            running.show_note(found)
            recipe = choose_recipe()
            by_text = compared(found.identity, recipe, found)
            whole = together(list(by_text.values()))
            show_figures(found, recipe, whole)
            captions.show_python(snippet(found, recipe), compare)
        with page.step("Which tokens changed"):
            show_passage(found, recipe, by_text)
        with page.step("Calm on average, a storm in the tail"):
            show_tail(found, recipe, whole, by_text)
        with page.step("The same sentence, twice"):
            show_writing(found, recipe)
        with page.step("Every recipe", printed=True):
            show_sweep(recipe)
        with page.step("Where it hurts"):
            show_sensitivity()
        with page.step("Your own text"):
            show_own(found, recipe)
        page.in_short(
            "Perplexity is an average: it can stand still while answers change. Look at KL divergence and at changed "
            "tokens beside it.",
            "Most places hardly move; a few move far. What matters may be among the few.",
            "Each bit less multiplies the divergence by about four: small at six bits, felt at three, ruin at two.",
        )


def choose_recipe() -> str:
    offered = [r.name for r in RECIPES.values() if r.quantizes and not r.needs_importance]
    return st.selectbox("Recipe", offered, index=offered.index("Q4_K_M"), key="quantized", bind="query-params")


@st.cache_resource(show_spinner="Letting the model read, as it is …", max_entries=2)
def reading(identity: str, _found: running.Running) -> Bench:
    return bench(_found.checkpoint, costs.beginnings(read_texts(EVALUATION)), CONTEXT)


@st.cache_resource(show_spinner="Quantizing every weight …", max_entries=4)
def changed(identity: str, recipe: str, _found: running.Running) -> Model:
    return applied(_found.model, ql.plan(_found.checkpoint, recipe))


@st.cache_resource(show_spinner="Letting the model read with these weights …", max_entries=64)
def compared(identity: str, recipe: str, _found: running.Running) -> dict[str, Comparison]:
    return reading(identity, _found).against(changed(identity, recipe, _found))


@st.fragment
def show_figures(found: running.Running, recipe: str, whole: Comparison) -> None:
    said = guess(f"Of a hundred places, at how many does {recipe} make another token the likeliest?", CHANGED)
    if said is None:
        return
    summary = whole.summary()
    share = 100 * summary.changed_top
    answer = CHANGED[min(range(len(NUMBERS)), key=lambda i: abs(NUMBERS[i] - share))]
    st.markdown(f"{verdict(said, answer)} It is **{summary.changed_top:.1%}** of {summary.tokens:,} places.")
    show_metrics(summary)
    plan = ql.plan(found.checkpoint, recipe)
    captions.receipt(
        "measured",
        f"on {summary.tokens:,} tokens of two texts written for this project, in windows of {CONTEXT}, the second half "
        f"of each scored, as llama-perplexity does; ± one standard error. {recipe}: {tables.size(plan.nbytes)}, "
        f"{plan.bpw:.2f} bits per weight.",
    )
    st.info(
        f"This model has {found.weights:,} weights. What a recipe costs it says little about what it costs a model a "
        "thousand times larger, which usually stands it better.",
        icon="🔎",
    )


def show_metrics(summary: Summary) -> None:
    columns = st.columns(3)
    columns[0].metric(
        "Perplexity", f"{summary.perplexity:.2f}", f"{summary.difference:+.2f} ± {summary.difference_stderr:.2f}",
        delta_color="inverse",
        help="Between how many tokens the model hesitates, on average; below: the difference from the original.",
    )  # fmt: skip
    columns[1].metric(
        "KL divergence, nats", f"{summary.kl:.4f}", f"± {summary.kl_stderr:.2g}", delta_color="off", delta_arrow="off",
        help="How far the whole prediction moved, on average over places.",
    )  # fmt: skip
    columns[2].metric(
        "Likeliest token changed", f"{summary.changed_top:.1%}", f"± {summary.changed_top_stderr:.1%}",
        delta_color="off", delta_arrow="off",
    )  # fmt: skip


@st.fragment
def show_passage(found: running.Running, recipe: str, by_text: dict[str, Comparison]) -> None:
    st.markdown(
        "The redder a token, the further the prediction moved there; underlined, where another token became the "
        "likeliest. Point at one to read what was expected. Grey text is only context."
    )
    left, right = st.columns([1, 1])
    with left:
        name = st.segmented_control(
            "Text", list(by_text), default=next(iter(by_text)), key="text", bind="query-params", required=True
        )
    comparison = by_text[name]
    with right:
        last = len(comparison.windows)
        window = st.number_input(
            "Passage", 1, last, costs.liveliest(comparison) + 1, key="passage", bind="query-params",
            help="The one shown first is the one that moved most.",
        )  # fmt: skip
    pointing(
        costs.passage_html(comparison, found.tokenizer, window - 1),
        key="passage_html",
        rest="Point at a token\nto read how likely it was, before and now.",
        token=f"{recipe}/{name}/{window}",
    )
    captions.receipt("measured", "probabilities that the model gave to what the text really says next")
    captions.data(lambda: costs.tokens_csv(comparison, found.tokenizer), "tokens.csv")


def show_tail(found: running.Running, recipe: str, whole: Comparison, by_text: dict[str, Comparison]) -> None:
    mean, median, largest = whole.kl[0], whole.kl_percentile(50), whole.kl_percentile(100)
    st.markdown(
        f"At half of the places the prediction moved by {median:.2g} nats or less. The mean is {mean:.2g}. At the "
        f"worst place it is **{largest:.2g}**, {largest / max(mean, 1e-12):.0f} times the mean. An average over a long "
        "text says how calm the sea is, not how high the wave."
    )
    chart("tail", costs.tail_figure, whole, about=(found.identity, recipe))
    st.markdown("**The worst places.**")
    probability = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        costs.worst_rows(worst_tokens(whole, found.tokenizer, 8)),
        column_config={
            "before": probability,
            "now": probability,
            "KL, nats": st.column_config.NumberColumn(format="%.3f"),
        },
        hide_index=True,
    )
    st.markdown("**Two registers**: a story, and plain explanation.")
    st.dataframe(
        costs.register_rows(by_text),
        column_config={
            "perplexity before": st.column_config.NumberColumn(format="%.2f"),
            "perplexity now": st.column_config.NumberColumn(format="%.2f"),
            "KL, nats": st.column_config.NumberColumn(format="%.5f"),
            "changed tokens": probability,
            "largest KL": st.column_config.NumberColumn(format="%.3f"),
        },
        hide_index=True,
    )
    captions.receipt("measured", "every scored token of both texts")


@st.fragment
def show_writing(found: running.Running, recipe: str) -> None:
    prompt = st.segmented_control(
        "Let it go on from", list(PROMPTS), default="a tale", key="beginning", bind="query-params", required=True
    )
    for column, title, name in zip(st.columns(2), ("Original weights", recipe), ("", recipe), strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(PROMPTS[prompt] + written(found.identity, name, PROMPTS[prompt], found))
    captions.receipt(
        "measured",
        f"drawn at temperature {TEMPERATURE} with the same random numbers (seed {SEED}), so that texts "
        "part only where the weights make them",
    )


@st.cache_data(show_spinner="Writing …", max_entries=200)
def written(identity: str, recipe: str, prompt: str, _found: running.Running) -> str:
    """What the model writes after the prompt, with the weights of a recipe or its own."""
    used = changed(identity, recipe, _found) if recipe else _found.model
    tokenizer = _found.tokenizer
    tokens = generate(used, tokenizer.encode(prompt), 48, TEMPERATURE, SEED, tokenizer.eos)
    return tokenizer.decode(list(tokens))


def missing(command: str) -> None:
    st.info(f"No stored measurement of this demo model is there. To make it, run `{command}`.", icon="📏")


@st.fragment
def show_sweep(recipe: str) -> None:
    sweep = stored.sweep()
    if sweep is None:
        missing(stored.SWEEP)
        return
    st.markdown("The demo model under every recipe: bits per weight to the right, what they cost upward.")
    loss = st.segmented_control(
        "Cost", list(LOSSES), default="KL divergence", key="loss", bind="query-params", required=True
    )
    drawing.draw(frontier_svg(sweep, LOSSES[loss], recipe, theme()), key="frontier")
    found = ladder(sweep)
    st.dataframe(found.rows, column_config=LADDER_COLUMNS, hide_index=True)
    captions.receipt(
        "stored",
        f"the demo model, {sweep.measured[0].total.tokens:,} tokens of {' and '.join(sweep.texts)} in windows "
        f"of {sweep.context}; made by `{stored.SWEEP}`",
    )
    captions.folded("Each step in words", "steps-in-words", lambda: st.markdown("\n\n".join(found.words)))


def show_sensitivity() -> None:
    found = stored.sensitivity()
    if found is None:
        missing(stored.SENSITIVITY)
        return
    st.markdown(
        f"One tensor at a time in **{found.format}**, all others as they were. Numbers are thousandths of a nat of KL "
        "divergence. This is what recipes know by experience: values and down projections, the first layers and the "
        "last, and the output matrix."
    )
    pointing(
        costs.sensitivity_svg(found),
        key="sensitivity",
        rest="Point at a tensor\nto read what it costs alone.",
        token=found.format,
    )
    captions.receipt(
        "stored",
        f"the demo model, on the text “{' and '.join(found.texts)}”; made by `{stored.SENSITIVITY}`",
    )


@st.fragment
def show_own(found: running.Running, recipe: str) -> None:
    st.markdown("What a recipe costs depends on the text. Bring yours: it is read on this server and not kept.")
    text = st.text_area("Your text", max_chars=LONGEST, height=160, placeholder="A page or two of plain English …")
    if len(text) < SHORTEST:
        st.caption(f"At least {SHORTEST} characters; {len(text)} so far.")
        return
    try:
        with st.spinner("Reading it twice …"):
            judge = bench(found.checkpoint, {"your text": text}, min(CONTEXT, 64))
            comparison = judge.against(changed(found.identity, recipe, found))["your text"]
    except ql.QuantlibError as error:
        st.error(str(error), icon="⚠️")
        return
    show_metrics(comparison.summary())
    pointing(
        costs.passage_html(comparison, found.tokenizer, costs.liveliest(comparison)),
        key="own_passage",
        rest="The passage that moved most\nPoint at a token.",
        token=f"{recipe}/own",
    )
    captions.receipt("measured", f"on {comparison.tokens:,} tokens of your text, in windows of 64")


def snippet(found: running.Running, recipe: str) -> str:
    """Runs as it stands, and prints what the page shows."""
    return (
        "import quantlib as ql\nfrom quantlib.figures.costs import beginnings\n"
        "from quantlib.lm import EVALUATION, applied, bench, read_texts, together\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(found.checkpoint)!r})\n"
        f"base = bench(checkpoint, beginnings(read_texts(EVALUATION)), {CONTEXT})\n"
        f"changed = applied(base.model, ql.plan(checkpoint, {recipe!r}))\n"
        "found = together(list(base.against(changed).values())).summary()\n"
        'print(f"perplexity {found.baseline:.3f} -> {found.perplexity:.3f}")\n'
        'print(f"KL {found.kl:.5f} ± {found.kl_stderr:.5f} nats, {found.changed_top:.2%} of tokens changed")'
    )


main()
