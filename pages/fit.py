"""Which one should I run: memory and a model's shape in; what fits, how fast and how well, out."""

import streamlit as st

import quantlib as ql
from pages.ui import captions, drawing, menu, model, stored
from pages.ui.chapter import Chapter, chapter
from pages.ui.chrome import theme
from pages.ui.guess import guess, verdict
from pages.ui.pointing import pointing
from quantlib import fit, tables
from quantlib.checkpoints import gguf_view
from quantlib.figures import fitting
from quantlib.figures.fit_frontier import frontier_svg
from quantlib.fit.memory import CACHE_FORMATS
from quantlib.fit.published import MACHINES, MACHINES_SOURCE, QUALITY_SOURCE

OPEN, SIZE, OWN = "The open model", "A size", "Another"
CONTEXTS = (2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
SHOWN = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_M", "Q2_K", "IQ2_M", "IQ2_XXS", "IQ1_S")
LARGER = ("the weights", "about the same", "the cache")
ABOUT, ABOUT_CONTEXT = "Llama-2-7B", 32_768  # there are versions of it that were tuned for such lengths


def main() -> None:
    with chapter(menu.FIT) as page:
        with page.step(printed=True):
            st.markdown(
                "Three things must fit in memory: the **weights**, the **cache** of keys and values that attention "
                "keeps of every token, and some room to work. Then the speed is mostly that of the memory: to write "
                "one token, all weights are read once."
            )
            ask_cache()
        show_answer(page, page.steps)
        with page.step("Which program takes which file"):
            show_loaders()
        page.in_short(
            "Q8_0 where it fits. Q4_K_M as the default, Q5_K_M with headroom, IQ4_XS when it is tight.",
            "Long contexts cost memory too: count the cache, and look whether key-value heads are shared.",
            "Below four bits a smaller model in more bits is often the better answer: compare the two.",
        )


@st.fragment
def show_answer(page: Chapter, before: int) -> None:
    """The steps that answer to the choices, after `before` others; they run again by themselves."""
    page.steps = before
    with page.step("Your machine, your model", printed=True):
        found, machine, context, cache_format = choose()
        if found is None:
            return
        needs = fit.needs(weighed(found.name, found), found.view, context, cache_format)
        advice = fit.advise(needs, int(machine.memory))
        show_advice(advice)
        show_memory(needs, machine, advice)
    with page.step("How fast, at most"):
        show_speed(needs, machine, advice)
    with page.step("What it costs"):
        show_frontier(needs, machine, advice)
    with page.step("The cache, layer by layer"):
        show_cache(found, context, cache_format)


@st.fragment
def ask_cache() -> None:
    said = guess(
        f"A {ABOUT} for long texts, in Q4_K_M, reads {ABOUT_CONTEXT:,} tokens. What takes more memory?",
        LARGER,
        key="larger",
    )
    if said is None:
        return
    found = named(ABOUT)
    need = next(n for n in fit.needs(weighed(ABOUT, found), found.view, ABOUT_CONTEXT) if n.recipe == "Q4_K_M")
    newer = named("Llama-3-8B")
    shared = fit.cache_bytes(fit.attention_of(newer.view), ABOUT_CONTEXT)
    st.markdown(
        f"{verdict(said, LARGER[2])} The weights take {tables.size(need.weighed.nbytes)}, the cache "
        f"**{tables.size(need.cache)}**: of every token it keeps keys and values of 32 layers of 32 heads. Newer "
        f"models let several query heads share one key-value head: Llama-3-8B would keep {tables.size(shared)}."
    )
    captions.receipt("exact", "2 · layers · key-value heads · width of a head · tokens · 2 bytes, from the shapes")


@st.cache_resource(show_spinner=False, max_entries=64)
def named(name: str) -> fit.Subject:
    return fit.named_subject(name)


@st.cache_resource(show_spinner="Planning every recipe …", max_entries=64)
def weighed(name: str, _found: fit.Subject) -> list[fit.Weighed]:
    return fit.weigh(_found.checkpoint, _found.view)


def choose() -> tuple:
    """Model, machine, context and the cache's format; the address holds them all."""
    left, right = st.columns(2)
    with left:
        source = st.selectbox(
            "Model", [*fit.KNOWN, SIZE, OPEN], index=list(fit.KNOWN).index("Llama-3-8B"), key="model",
            bind="query-params",
        )  # fmt: skip
        size = st.text_input("Weights", "13B", key="size", bind="query-params") if source == SIZE else ""
    with right:
        name = st.selectbox(
            "Memory", [*MACHINES, OWN], index=0, key="machine", bind="query-params", help=f"{MACHINES_SOURCE}."
        )
        machine = MACHINES[name] if name != OWN else own_machine()
    left, right = st.columns([2, 1])
    with left:
        context = st.select_slider("Context, tokens", CONTEXTS, 8192, key="context", bind="query-params")
    with right:
        cache_format = st.segmented_control(
            "Cache in", CACHE_FORMATS, default="FP16", key="cache", bind="query-params", required=True
        )
    try:
        return the_model(source, size), machine, context, cache_format
    except ql.QuantlibError as error:
        st.error(str(error), icon="⚠️")
        return None, machine, context, cache_format


def own_machine():
    memory = st.number_input("Memory, GB", 1.0, 2000.0, 24.0, 1.0, key="memory", bind="query-params")
    bandwidth = st.number_input("Bandwidth, GB/s", 1.0, 20_000.0, 500.0, 10.0, key="bandwidth", bind="query-params")
    return fit.machine(memory, bandwidth)


def the_model(source: str, size: str) -> fit.Subject:
    """The chosen model's shape. Raises CheckpointError for a size that is none, or a model that says too little."""
    if source == OPEN:
        checkpoint = model.current_checkpoint()
        return fit.Subject(str(checkpoint.source), checkpoint, gguf_view(checkpoint))
    found = named(size if source == SIZE else source)
    if source == SIZE:
        st.caption(f"Assumed: {found.assumed or found.name}.")
    return found


def show_advice(advice: fit.Advice) -> None:
    if advice.recipe is None:
        st.warning(f"**None of them.** {advice.why[0].upper()}{advice.why[1:]}.", icon="🧱")
        return
    st.success(f"Run **{advice.recipe}**: {advice.why}.", icon="🎯")


def show_memory(needs: list, machine, advice: fit.Advice) -> None:
    st.html(fitting.memory_html([n for n in needs if n.recipe in SHOWN], int(machine.memory), advice.recipe))
    captions.receipt(
        "estimated",
        "weights and cache are counted to the byte from the shape; working memory is the scores of 512 tokens over the "
        "vocabulary, the largest part of llama.cpp's compute buffer. Leave some more for the system and its screen.",
    )


def show_speed(needs: list, machine, advice: fit.Advice) -> None:
    need = next((n for n in needs if n.recipe == advice.recipe), needs[-1])
    symbols, numbers, result = fitting.speed_lines(need, machine.bandwidth)
    st.code(f"{symbols}\n{numbers}\n{result}", language=None, wrap_lines=True)
    captions.receipt(
        "estimated",
        f"for {need.recipe}, one reader, the context full. It is a bound: kernels reach a part of it, and reading a "
        f"prompt is another matter, there arithmetic is the limit. Bandwidth: {MACHINES_SOURCE}.",
    )
    rows = fitting.table(needs, int(machine.memory), machine.bandwidth)
    sizes = {n: st.column_config.NumberColumn(format="localized") for n in ("weights", "keys and values", "total")}
    captions.folded(
        "Every recipe in numbers", "numbers", lambda: st.dataframe(rows, column_config=sizes, hide_index=True)
    )
    captions.data(lambda: tables.as_csv(rows), "what-fits.csv")
    captions.show_python(
        snippet(machine),
        fit.cache_bytes,
        fit.tokens_per_second,
        fit.advise,
        shell=f"python -m quantlib fit 8B --memory {machine.memory:.0f} --bandwidth {machine.bandwidth:.0f}",
    )


def show_frontier(needs: list, machine, advice: fit.Advice) -> None:
    st.markdown(
        "Every recipe by the memory that it needs and by how far it moves the model's predictions. Filled points fit, "
        "the ringed one is the advice. Note how the cost climbs once the points leave four bits behind."
    )
    measured = fitting.divergences(stored.sweep())
    drawing.draw(frontier_svg(needs, int(machine.memory), advice.recipe, measured, theme()), key="fit_frontier")
    captions.receipt(
        "published",
        f"{QUALITY_SOURCE}. Where a recipe was measured with and without an importance matrix, without. "
        "Another model loses other amounts; the order is much the same. Diamonds, where they are shown: the demo "
        "model, from a stored sweep of this project. They are lower because so small a model predicts vaguely, and "
        "vague predictions move less.",
    )


def show_cache(found: fit.Subject, context: int, cache_format: str) -> None:
    layers = fit.attention_of(found.view)
    total = fit.cache_bytes(layers, context, cache_format)
    st.markdown(
        f"**{tables.size(total)}** for {context:,} tokens, {fit.cache_bytes(layers, 1, cache_format):,} bytes for one. "
        "Striped layers look back over a window only, so they keep no more than that."
    )
    pointing(
        fitting.cache_svg(layers, context, cache_format),
        key="layers",
        rest="Point at a layer\nto read what it keeps.",
        token=found.name,
    )
    captions.receipt(
        "exact", "tokens kept · key-value heads · (width of a key + of a value) · bytes of a value, by layer"
    )


def show_loaders() -> None:
    st.markdown(
        "\n".join(
            f"- **{row['loader']}** takes {row['takes']}, on {row['runs on']}: {row['note']}. :small[({row['source']})]"
            for row in fitting.loaders()
        )
    )
    captions.receipt("published", "as each program's own documentation says, which is named at the end of each line")


def snippet(machine) -> str:
    """Runs as it stands, and prints what fits in this memory."""
    return (
        "from quantlib.fit import advise, needs, subject, weigh\n\n"
        'model = subject("Llama-3-8B")  # or a size such as "8B", or the path of a checkpoint\n'
        f"memory, bandwidth = {machine.memory:.0f}, {machine.bandwidth:.0f}  # bytes, bytes a second\n"
        "found = needs(weigh(model.checkpoint, model.view), model.view, context=8192)\n"
        "for need in found:\n"
        '    fits = "fits" if need.fits(memory) else "    "\n'
        '    print(f"{need.recipe:8} {need.total / 1e9:6.2f} GB {fits} {need.speed(bandwidth):6.1f} tokens/s")\n'
        "print(advise(found, memory))"
    )


main()
