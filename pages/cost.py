"""What it does to the model: its sums by difficulty, one recipe measured live, and every recipe from a stored sweep."""

from functools import partial

import streamlit as st

import quantlib as ql
from pages.ui import captions, drawing, menu, model, reading, real, running, stored, terms
from pages.ui.chapter import chapter
from pages.ui.charts import chart
from pages.ui.chrome import theme
from pages.ui.guess import answer, covering, guess
from pages.ui.pointing import pointing
from quantlib import tables
from quantlib.figures import asked, costs, edge
from quantlib.figures.frontier import frontier_svg
from quantlib.figures.ladder import by_a_bit_words, ladder
from quantlib.figures.plane import for_screens
from quantlib.lm import SEED, TEMPERATURE, Comparison, Summary, compare, together, worst_tokens
from quantlib.lm.answering import STORED, Answers
from quantlib.recipes import RECIPES

PROMPTS = {
    "a tale": "Once upon a time there was an old king who",
    "a letter": "My dear sister, I have just come home from",
    "a road": "They walked along the road until",
}
CHANGED = {"about 1": 0.01, "about 5": 0.05, "about 20": 0.2}
OWN = "your own"
LOSSES = {"KL divergence": "kl", "perplexity": "ppl", "changed tokens": "top"}
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
            show_edge()
        with page.step("A real model, asked plain questions", printed=True):
            real.show_all()
        found = running.running()
        with page.step("How far do predictions move?", printed=True):
            running.show_note(found)
            recipe = choose_recipe()
            by_text = reading.compared(found, recipe)
            whole = together(list(by_text.values()))
            show_tail(found, recipe, whole, by_text)
        with page.step("Word by word"):
            show_passage(found, recipe, by_text)
        with page.step("The same sentence, twice"):
            show_writing(found, recipe)
        with page.step("Every recipe", printed=True):
            show_sweep(recipe)
        with page.step("Beside a real model, and a large one"):
            real.show_beside()
        with page.step("Where it hurts"):
            show_sensitivity()
        with page.step("Which sums break?"):
            show_puzzle()
        page.in_short(
            *costs.lessons(answers(), stored.sweep()),
            asked.lesson(real.measured()),
            question="Fewer bits cost answers. What do they buy, besides memory: is the model faster, and why?",
        )


@st.cache_resource(show_spinner=False)
def answers() -> Answers:
    return Answers.read(STORED)


def show_edge() -> None:
    """Sums by difficulty against bits: from stored answers."""
    terms.say(
        "The small model of the first chapter does sums. Here each line is one kind of sum, and bits fall to the "
        "right. **Point at a line**: which kinds break first, and which last?"
    )
    found = answers()
    pointing(
        edge.edge_svg(found),
        key="edge",
        rest=f"{found.found[0].scores[0].count:,} sums of each kind, answered from {len(found.found)} recipes\n"
        "Point at a line to read how many were right.",
        token=found.model,
    )
    terms.say(f"{edge.edge_words(found)} {edge.surprise(found)}")
    captions.receipt(
        "stored",
        "the calculator, the same 2,000 sums of each kind for every recipe. An answer is right if all its digits are. "
        "The interval is Wilson's, at 95 %. “Falls” means that the intervals of both recipes do not overlap",
    )
    captions.show_python(
        "from quantlib.figures import edge\nfrom quantlib.lm.answering import STORED, Answers\n\n"
        "found = Answers.read(STORED)\n"
        "for one in found.found:\n"
        '    print(f"{one.recipe:8} {one.bpw:5.2f}", *(f"{s.grade}: {s.share:.1%}" for s in one.scores), sep="  ")\n'
        "print(edge.edge_words(found))",
        edge.fallen,
    )


def choose_recipe() -> str:
    offered = [r.name for r in RECIPES.values() if r.quantizes and not r.needs_importance]
    with st.popover("Another recipe", icon="⚖️"):
        return st.selectbox("Recipe", offered, index=offered.index("Q4_K_M"), key="quantized", bind="query-params")


def show_metrics(summary: Summary, covered: bool = False) -> None:
    """Three figures; the last, which a guess is about, may be covered."""
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
        "Likeliest token changed", "?" if covered else f"{summary.changed_top:.1%}",
        "covered by your guess" if covered else f"± {summary.changed_top_stderr:.1%}",
        delta_color="off", delta_arrow="off",
    )  # fmt: skip


def show_tail(found: running.Running, recipe: str, whole: Comparison, by_text: dict[str, Comparison]) -> None:
    """The figures of one recipe: averages, and how far the last few places go."""
    summary, plan = whole.summary(), ql.plan(found.checkpoint, recipe)
    terms.say(
        "Sums are right or wrong. For everything else, ask how far the **predictions** move. A language model gives "
        "each possible next **token** (a word or a piece of one) a probability. Let it read a text as it is, and then "
        f"from **{recipe}**. The KL divergence says how far all those probabilities moved, in nats."
    )
    chart("tail", costs.tail_figure, whole, about=(found.identity, recipe))
    terms.say(costs.tail_words(whole))
    said = guess(f"Of a hundred places, at how many does {recipe} make another token the likeliest?", CHANGED)
    covering(said, "metrics", lambda covered: show_metrics(summary, covered))
    right = costs.nearest_share(summary.changed_top, CHANGED)
    answer(said, right, f"It is **{summary.changed_top:.1%}** of {summary.tokens:,} places.")
    captions.receipt(
        "measured",
        f"on {summary.tokens:,} tokens of two texts written for this project, in windows of {reading.CONTEXT}, the "
        f"second half of each scored, as llama-perplexity does; ± one standard error. {recipe}: "
        f"{tables.size(plan.nbytes)}, {plan.bpw:.2f} bits per weight. The model has {found.weights:,} weights: what a "
        "recipe costs it says little about a model a thousand times larger, which usually loses less",
    )
    captions.show_python(reading.snippet(found, recipe), compare, shell=reading.shell(found, recipe))
    captions.folded("The worst places, and both texts", "worst", lambda: show_worst(found, whole, by_text))


def show_worst(found: running.Running, whole: Comparison, by_text: dict[str, Comparison]) -> None:
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
def show_passage(found: running.Running, recipe: str, by_text: dict[str, Comparison]) -> None:
    """A passage in words, coloured by how far predictions moved; of the texts at hand, or the reader's own."""
    terms.say(
        "The redder a word, the further the prediction moved there. It is underlined where another token became the "
        "likeliest. **Point at a word** to read what was expected. Grey text is only read, not scored."
    )
    name = st.segmented_control(
        "Text", [*by_text, OWN], default=next(iter(by_text)), key="text", bind="query-params", required=True
    )
    comparison = own_comparison(found, recipe) if name == OWN else by_text[name]
    if comparison is None:
        return
    last, first = len(comparison.windows), costs.liveliest(comparison)
    pointing(
        costs.passage_html(comparison, found.tokenizer, chosen_window(name, last, first)),
        key="passage_html",
        rest="Point at a word\nto read how likely it was, before and now.",
        token=f"{recipe}/{name}",
    )
    if name == OWN:
        show_metrics(comparison.summary())
    captions.receipt(
        "measured", f"probabilities that the model gave to what comes next, over {comparison.tokens:,} tokens"
    )
    captions.data(lambda: costs.tokens_csv(comparison, found.tokenizer), "tokens.csv")


def chosen_window(name: str, last: int, first: int) -> int:
    """Which passage of a text is shown; the one that moved most until somebody chooses."""
    with st.popover("Another passage", icon="📄"):
        return st.number_input("Passage", 1, last, first + 1, key=f"passage-{name}", bind="query-params") - 1


def own_comparison(found: running.Running, recipe: str) -> Comparison | None:
    """The reader's own text, read twice; None until it is long enough."""
    text = st.text_area(
        "Your text", max_chars=LONGEST, height=160, placeholder="A page or two of plain English …",
        help="It is read on this server and not kept.",
    )  # fmt: skip
    if len(text) < SHORTEST:
        st.caption(f"At least {SHORTEST} characters; {len(text)} so far.")
        return None
    try:
        with st.spinner("Reading it twice …"):
            return reading.compared_on(found, recipe, text)
    except ql.QuantlibError as error:
        st.error(model.told(error), icon="⚠️")
        return None


@st.fragment
def show_writing(found: running.Running, recipe: str) -> None:
    prompt = st.segmented_control(
        "Let it continue", list(PROMPTS), default="a tale", key="beginning", bind="query-params", required=True
    )
    for column, title, name in zip(st.columns(2), ("Original weights", recipe), ("", recipe), strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(PROMPTS[prompt] + reading.written(found, name, PROMPTS[prompt]))
    captions.receipt(
        "measured",
        f"drawn at temperature {TEMPERATURE} with the same random numbers (seed {SEED}), so that texts "
        "part only where the weights make them",
    )


@st.fragment
def show_puzzle() -> None:
    """Ten sums of which half come out wrong; scored."""
    found = edge.puzzle(answers())
    terms.say(
        f"Ten sums, answered by the calculator from **{found.recipe}**. {sum(found.wrong)} come out wrong. Press those "
        "that you expect to be wrong."
    )
    picked = st.pills("Wrong are", found.sums, selection_mode="multi", key="broken", bind="query-params")
    if st.button("Check", key="checked") or st.session_state.get("broken-shown"):
        st.session_state["broken-shown"] = True
        st.markdown(f"**You are right about {found.score(picked)} of {len(found.sums)}.**")
        drawing.draw(edge.puzzle_html(found, picked), key="edge-puzzle")
        captions.receipt("stored", "what the calculator wrote")


def missing(command: str) -> None:
    st.info(f"No stored measurement of this demo model is there. To make it, run `{command}`.", icon="📏")


@st.fragment
def show_sweep(recipe: str) -> None:
    sweep = stored.sweep()
    if sweep is None:
        missing(stored.SWEEP)
        return
    terms.say(
        "The demo model from every recipe: bits per weight to the right, what they cost upward. No recipe on the "
        f"dashed line is beaten by one that is smaller. {by_a_bit_words(sweep)}"
    )
    loss = st.segmented_control(
        "Cost", list(LOSSES), default="KL divergence", key="loss", bind="query-params", required=True
    )
    drawing.draw(for_screens(partial(frontier_svg, sweep, LOSSES[loss], recipe, theme())), key="frontier")
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
    terms.say(
        f"One tensor at a time in **{found.format}**, all others as they were. Numbers are thousandths of a nat of KL "
        f"divergence. {costs.sensitivity_words(found)}"
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


main()
