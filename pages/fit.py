"""Which one should I run: a machine and a model in; the answer in one line, and what it was chosen from, out."""

from functools import partial

import streamlit as st

import quantlib as ql
from pages.server.limits import LIMITS
from pages.server.opened import hub_address
from pages.ui import captions, drawing, menu, model, puzzle, stored, terms
from pages.ui.chapter import Chapter, chapter
from pages.ui.chrome import theme
from pages.ui.guess import SHOW, guess, spoiler, verdict
from pages.ui.pointing import pointing
from quantlib import fit
from quantlib.checkpoints.hub import Terms
from quantlib.figures import fitting
from quantlib.figures.fit_frontier import frontier_svg
from quantlib.figures.plane import for_screens
from quantlib.figures.quiz import Question
from quantlib.fit import words
from quantlib.fit.alternatives import alternatives
from quantlib.fit.amounts import gb
from quantlib.fit.cache import CACHE_FORMATS
from quantlib.fit.machines import MACHINES, MACHINES_SOURCE, limited, own
from quantlib.fit.speed import CARDS_SOURCE

OPEN, SIZE, OWN = "The open model", "A size, or a config.json", "Another"
HUB = "A repository of the hub"
KINDS = {"card": "a graphics card", "mac": "a Mac", "computer": "a computer without one"}
CONTEXTS = (2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144)
BESIDE = (0, 8, 16, 32, 64, 128, 256)
LARGER = ("the weights", "about the same", "the cache")
ABOUT, NEWER, ABOUT_CONTEXT = "Llama-2-7B", "Llama-3-8B", 32_768  # there are versions tuned for such lengths
PUZZLED = ("GeForce RTX 4060, 8 GB", "Apple M1, 8 GB", "GeForce RTX 3060, 12 GB")
PUZZLE_OFFERS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
ABOUT_MACHINE = "GeForce RTX 3090, 24 GB"


def main() -> None:
    with chapter(menu.FIT) as page:
        show_answer(page, page.steps)
        with page.step("What takes more memory?", printed=True):
            ask_cache()
        with page.step("Which program takes which file"):
            show_loaders()
        with page.step("Puzzle: the best that fits"):
            show_puzzle()
        page.in_short(
            "Take the best file that fits whole in the fast memory, with its cache and some room to work.",
            "Below about three and a half bits, a smaller model in four bits is likely the better answer.",
            "A mixture of experts runs well with its experts in the computer's memory; a dense model does not.",
        )


@st.fragment
def show_answer(page: Chapter, before: int) -> None:
    """The steps that answer to the choices, after `before` others; they run again by themselves."""
    page.steps = before
    with page.step(printed=True):
        answer = choose()
        if answer is None:
            return
        show_headline(answer)
        with st.container(key="fits"):
            st.html(fitting.title_html(answer) + fitting.memory_html(answer, fitting.steps(answer)))
    with page.step("Why this one", printed=True):
        st.html(fitting.machine_html(answer))
        show_reasons(answer)
    with page.step("Every recipe on this machine"):
        show_recipes(answer)
    with page.step("How fast"):
        show_speed(answer)
    with page.step("What it costs", printed=True):
        show_frontier(answer)
    with page.step("The cache, layer by layer"):
        show_cache(answer)


@st.fragment
def show_puzzle() -> None:
    """The recipe that is advised for one model on three machines; a point for each."""
    terms.say("One model, 8,192 tokens of context, three machines. Which is the best file that fits whole?")
    puzzle.asked(puzzles(), "fits-best")
    captions.receipt("estimated", "as the answer above: the file, its cache and room to work in what the machine has")


@st.cache_resource(show_spinner="Weighing …")
def puzzles() -> list[Question]:
    return fitting.questions([fit.ask(NEWER, name, 8192) for name in PUZZLED], PUZZLE_OFFERS)


def choose() -> fit.Answer | None:
    """The machine, and folded beside it model, context and the cache's format; the address holds them all."""
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="center")
    with left:
        terms.say(
            "A model runs fast if its file, its cache and some room to work fit in the machine's fast memory. The "
            "smaller the file, the worse the answers. So take the largest that fits. **Choose your machine.**"
        )
    with right:
        name = st.selectbox(
            "Machine", [*MACHINES, OWN], index=1, key="machine", bind="query-params", help=f"{MACHINES_SOURCE}."
        )
        machine = MACHINES[name] if name != OWN else own_machine()
        with st.popover("Another model, context or cache", icon="🎛️", width="stretch"):
            source, size = choose_model()
            context = st.select_slider("Context, tokens", CONTEXTS, 8192, key="context", bind="query-params")
            cache_format = st.segmented_control(
                "Cache in", CACHE_FORMATS, default="FP16", key="cache", bind="query-params", required=True
            )
            machine = with_more(machine)
    try:
        return fit.ask(the_model(source, size), machine, context, cache_format)
    except ql.QuantlibError as error:
        st.error(model.told(error), icon="⚠️")
        return None


def choose_model() -> tuple[str, str]:
    """Where the model comes from, and what was written of it where it is none of the list."""
    models = [*fit.KNOWN, SIZE, *[HUB] * LIMITS.hub, OPEN]
    source = st.selectbox("Model", models, index=models.index(NEWER), key="model", bind="query-params")
    if source == SIZE:
        return source, st.text_area("A size such as 14B or 30B-A3B, or the text of a config.json", "14B", key="size",
                                    height=68, bind="query-params")  # fmt: skip
    if source == HUB:
        return source, st.text_input("Name on the hub", "bartowski/Qwen_Qwen3-14B-GGUF", key="repository",
                                     max_chars=200, bind="query-params")  # fmt: skip
    return source, ""


def with_more(machine: fit.Machine) -> fit.Machine:
    """The machine with what only its owner knows: memory beside a card, a Mac's own limit."""
    if machine.kind == "card":
        ram = st.select_slider("The computer's own memory, GB", BESIDE, 32, key="ram", bind="query-params")
        return machine.with_memory(ram)
    if machine.kind == "mac":
        limit = st.number_input(
            "The GPU's own limit, MB", 0, 2_000_000, 0, 1024, key="wired", bind="query-params",
            help="What “sysctl iogpu.wired_limit_mb” says on this Mac; 0 where macOS decides.",
        )  # fmt: skip
        return limited(machine, limit)
    return machine


def own_machine() -> fit.Machine:
    kind = st.segmented_control(
        "It is", list(KINDS), default="card", key="kind", bind="query-params", format_func=KINDS.get, required=True
    )
    memory = st.number_input("Memory, GB", 1.0, 2000.0, 24.0, 1.0, key="memory", bind="query-params")
    bandwidth = st.number_input("Bandwidth, GB/s", 1.0, 20_000.0, 500.0, 10.0, key="bandwidth", bind="query-params")
    count = st.number_input("Cards", 1, 16, 1, key="cards", bind="query-params") if kind == "card" else 1
    return own(kind, memory, bandwidth * 1e9, count, 32)


@st.cache_resource(show_spinner=False, max_entries=64)
def named(name: str) -> fit.Subject:
    return fit.named_subject(name)


@st.cache_resource(show_spinner="Listing files", max_entries=32, ttl=900)
def on_the_hub(address: str) -> fit.Subject:
    return fit.of_repository(address, Terms(not LIMITS.hub_token))


def the_model(source: str, size: str) -> fit.Subject:
    """The chosen model's shape. Raises CheckpointError for text that is none, or a model that says too little."""
    if source == OPEN:
        return fit.opened(model.current_checkpoint())
    if source == HUB:
        return on_the_hub(hub_address(size))
    return named(size if source == SIZE else source)


def show_headline(answer: fit.Answer) -> None:
    if answer.option is None or answer.choice.how == "last":
        st.warning(f"**{answer.headline}**", icon="🧱")
    elif answer.choice.how == "whole":
        st.success(f"**{answer.headline}**", icon="🎯")
    else:
        st.info(f"**{answer.headline}**", icon="🎯")


def show_reasons(answer: fit.Answer) -> None:
    said = [*words.reasons(answer), *(f"Or: {each}" for each in alternatives(answer)), words.download(answer)]
    st.markdown("\n".join(f"- {sentence}" for sentence in said if sentence))
    if run := words.command(answer):
        st.code(run, language=None, wrap_lines=True)  # the highlighter's colours are too pale to read
    if files := words.files(answer):
        st.dataframe(
            files, hide_index=True, column_config={"size": st.column_config.NumberColumn("bytes", format="localized")}
        )
        captions.receipt("exact", "names and sizes as the hub lists them; none of the files was read or fetched")
    captions.receipt(
        "estimated",
        "weights are counted to the byte by the recipe's rules, cache and states as llama.cpp allocates them for one "
        "conversation; its working memory is estimated. A file also carries its vocabulary, a few megabytes.",
    )
    name = answer.subject.origin or answer.subject.name
    captions.show_python(snippet(answer, name), fit.ask, shell=words.shell(answer, name))


def show_recipes(answer: fit.Answer) -> None:
    st.html(fitting.memory_html(answer, answer.options))
    rows = words.table(answer)
    sizes = {name: st.column_config.NumberColumn(format="localized") for name in words.SIZES}
    captions.folded(
        "Every recipe in numbers", "numbers", lambda: st.dataframe(rows, column_config=sizes, hide_index=True)
    )
    captions.data(lambda: ql.tables.as_csv(rows), "what-fits.csv")


def show_speed(answer: fit.Answer) -> None:
    option = answer.shown
    if option.fits and option.speed:
        st.code("\n".join(fitting.speed_lines(option, answer.machine)), language=None, wrap_lines=True)
    else:
        st.markdown("Each token waits for the slow memory: the part of the weights in it is read at its bandwidth.")
    captions.receipt(
        "estimated",
        f"for {option.name}, one reader, the context half full. The share that the kernels of each recipe reach is "
        "that of llama.cpp's published table for Llama-3.1-8B, and more on a card that is known to unpack faster. "
        "Published speeds of Apple machines and of three cards are within a quarter of this estimate "
        f"({CARDS_SOURCE}). "
        "It leaves out reading the prompt, a busy machine, and decoding ahead.",
    )


def show_frontier(answer: fit.Answer) -> None:
    st.markdown(
        "Every recipe by the memory that it needs and by how far it moves the model's predictions. Filled marks fit, "
        "the ringed one is the advice; a pale bar is the range to expect where this family was not measured."
    )
    measured = fitting.divergences(stored.sweep())
    drawing.draw(for_screens(partial(frontier_svg, answer, measured, theme())), key="fit_frontier")
    captions.receipt("published", f"{answer.shown.cost.source}. Diamonds, where they are shown: the demo model, "
                     "from a stored sweep of this project; so small a model predicts vaguely, and vague predictions "
                     "move less.")  # fmt: skip


def show_cache(answer: fit.Answer) -> None:
    st.markdown(words.cache_line(answer))
    pointing(
        fitting.cache_svg(answer.layers, answer.context, answer.cache_format),
        key="layers",
        rest="Point at a layer\nto read what it keeps.",
        token=answer.subject.name,
    )
    captions.receipt("exact", "as llama.cpp allocates it: room for tokens in steps of 256, windows with one batch more")


@st.fragment
def ask_cache() -> None:
    said = guess(
        f"A {ABOUT} for long texts, in Q4_K_M, reads {ABOUT_CONTEXT:,} tokens. What takes more memory?",
        LARGER,
        key="larger",
    )
    if said is None:
        with spoiler("larger"):
            tell_cache(SHOW)
    else:
        tell_cache(said)


def tell_cache(said: str) -> None:
    older, newer = (words.usual(fit.ask(named(name), ABOUT_MACHINE, ABOUT_CONTEXT)) for name in (ABOUT, NEWER))
    st.markdown(
        f"{verdict(said, LARGER[2])} The weights take {gb(older.weighed.nbytes)}, the cache "
        f"**{gb(older.kept)}**: of every token it keeps keys and values of 32 layers of 32 heads. Newer models "
        f"let several query heads share one key-value head: {NEWER} would keep {gb(newer.kept)}."
    )
    captions.receipt("exact", "2 · layers · key-value heads · width of a head · tokens · 2 bytes, from the shapes")


def show_loaders() -> None:
    st.markdown(
        "\n".join(
            f"- **{row['loader']}** takes {row['takes']}, on {row['runs on']}: {row['note']}. :small[({row['source']})]"
            for row in fitting.loaders()
        )
    )
    captions.receipt("published", "as each program's own documentation says, which is named at the end of each line")


def snippet(answer: fit.Answer, name: str) -> str:
    """Runs as it stands, and prints the answer."""
    asked = f"context={answer.context}, cache_format={answer.cache_format!r}"
    if answer.machine == MACHINES.get(answer.machine.name):
        return f"from quantlib.fit import ask\n\nprint(ask({name!r}, {answer.machine.name!r}, {asked}))"
    return (
        "from quantlib.fit import Machine, Memory, ask\n\n"
        f"machine = {answer.machine!r}\n"
        f"print(ask({name!r}, machine, {asked}))"
    )


main()
