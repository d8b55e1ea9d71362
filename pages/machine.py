"""What the machine does with them: expand or multiply integers, why fewer bits are faster until they are not."""

from functools import partial

import streamlit as st

from pages.ui import captions, drawing, menu, model, puzzle, running, terms
from pages.ui.chapter import chapter
from pages.ui.guess import answer, covering, guess, said_of
from quantlib import tables
from quantlib.checkpoints import gguf_view
from quantlib.errors import QuantlibError
from quantlib.figures import dot, machine
from quantlib.figures.plane import for_screens
from quantlib.fit.cache import cache_bytes, cache_of
from quantlib.fit.catalogue import KNOWN
from quantlib.lm import EVALUATION, bench, caching, read_texts
from quantlib.methods.products import expanded, in_integers

LETTERS, CONTEXT = 4000, 256  # of each text, and tokens of a window, for the cache's cost
LARGE = "Llama-3-70B"
CONTEXTS = (1024, 4096, 8192, 32768, 131072)
CACHE_FORMATS = ("FP16", "Q8_0", "Q4_0")
MATRIX = "blk.3.attn_q.weight"


def main() -> None:
    with chapter(menu.MACHINE) as page:
        with page.step(printed=True):
            show_speeds()
        found = running.running()
        with page.step("Blocks of 32 fit the processor", printed=True):
            running.show_note(found)
            show_registers(found)
        with page.step("Expand first, or multiply integers", printed=True):
            show_two_ways(found)
        with page.step("One matrix on this machine"):
            show_matrix()
        with page.step("The cache of keys and values", printed=True):
            costs = show_cache(found)
        with page.step("Puzzle: which is faster?"):
            show_puzzle()
        page.in_short(
            machine.speeds_in_words(machine.WRITING),
            "The weights are never unpacked into a second copy. Some rows or blocks are unpacked inside the processor, "
            "used, and forgotten.",
            *([machine.cache_in_words(costs)] if costs else ()),
            question="You know what each format costs and how fast it runs. Which one should you take?",
        )


@st.fragment
def show_speeds() -> None:
    terms.say(
        "Fewer bits make a model faster, because fewer bytes come from memory. But at some point they stop helping. "
        "A model **writes** one token at a time, and **reads** your prompt 512 tokens at once. Switch between the two."
    )
    at_once = st.segmented_control(
        "The machine works on", [machine.WRITING, machine.READING], default=machine.WRITING, key="at-once",
        bind="query-params", required=True,
    )  # fmt: skip
    drawing.draw(for_screens(partial(machine.speeds_svg, at_once)), key="speeds")
    st.markdown(machine.speeds_in_words(at_once))
    captions.receipt(
        "published",
        "llama.cpp's own table for Llama-3.1-8B on one graphics card. The pale bars are estimated: F16's speed times "
        "16 bits over the bits of the recipe",
    )


@st.fragment
def show_registers(found: running.Running) -> None:
    terms.say(
        "A processor's registers are 16 or 32 bytes wide, and one instruction works on all of it. A **block** of 32 "
        "weights in 4 bits is exactly 16 bytes. This is one block of Q4_0 on its way through."
    )
    layer = running.layer_like(found, MATRIX)
    drawing.draw(machine.registers_svg(layer.weight[0, :32], layer.x[40, :32]), key="registers")
    captions.receipt("measured", f"the first 32 weights of `{layer.name}` and what they read at one token")
    captions.show_python(
        snippet(found, layer),
        machine.registers_svg,
    )


@st.fragment
def show_two_ways(found: running.Running) -> None:
    terms.say(
        "**On a graphics card**, a kernel for one token reads codes and scales, makes floats of them in registers, and "
        "multiplies those with the activations. For many tokens it does so tile by tile and hands the tiles to the "
        "matrix units. **On a processor**, llama.cpp rounds the activations to 8 bits too (Q8_0, or Q8_K for k-quants) "
        "and multiplies integers. The scales come at the end, once for a block."
    )
    layer = running.layer_like(found, MATRIX)
    if layer.weight.shape[1] % 256:
        st.info("The picture needs rows of a multiple of 256 weights.", icon="📏")
        return
    drawing.draw(dot.dot_html(dot.dot(layer.weight[0, :256], layer.x[40, :256])), key="dot")
    whole = dot.outputs(layer.weight, layer.x[40], 0)
    st.markdown(
        f"This is one Q4_K super-block of a row. Over all {whole.rows} outputs of the matrix, rounding weights and "
        f"activations leaves a relative error of **{whole.relative:.1%}**."
    )
    captions.receipt(
        "measured", f"`{layer.name}`, one token; the formula is that of ggml's dot product of Q4_K and Q8_K"
    )
    captions.show_python(snippet(found, layer), dot.dot)


@st.fragment
def show_matrix() -> None:
    terms.say(
        f"A matrix of {machine.ROWS:,} × {machine.COLUMNS:,} weights, multiplied on one core of this server by the "
        "kernels of this project. They are plain code. llama.cpp's are written by hand for each processor."
    )
    if not st.toggle("Measure it here (some seconds)", key="measure", bind="query-params"):
        st.caption("Somebody's measurement is kept for an hour and shown to everybody.")
        return
    found = measured()
    columns = [name for name in machine.matrix_rows(found)[0] if name.endswith(", ms")]
    st.dataframe(
        machine.matrix_rows(found),
        column_config={
            "MB read": st.column_config.NumberColumn(format="%.1f"),
            **{name: st.column_config.NumberColumn(format="%.1f") for name in columns},
        },
        hide_index=True,
    )
    st.markdown(machine.matrix_in_words(found))
    captions.receipt(
        "measured", f"processor time of one core, the fastest of {machine.TIMES}. F32 is numpy's own matrix product"
    )
    captions.show_python(
        "from quantlib.figures import machine\n\n"
        "for row in machine.matrix_rows(machine.measure_matrix()):\n    print(row)",
        expanded,
        in_integers,
    )


@st.cache_resource(ttl=3600, max_entries=1, show_spinner="Multiplying …")
def measured() -> tuple[machine.Timed, ...]:
    return machine.measure_matrix()


@st.fragment
def show_cache(found: running.Running) -> tuple[caching.CacheCost, ...]:
    terms.say(
        "While it writes, a model keeps what it computed of every earlier token: its **keys and values**. With a long "
        "text they can need more memory than the weights. They can be stored in 8 or 4 bits as well."
    )
    context = st.select_slider(
        "Tokens of text", CONTEXTS, value=8192, key="cached-tokens", bind="query-params", format_func=lambda n: f"{n:,}"
    )
    for column, name in zip(st.columns(len(CACHE_FORMATS)), CACHE_FORMATS, strict=True):
        column.metric(f"Cache of {LARGE} in {name}", tables.size(large_cache(context, name)))
    try:
        costs = cache_costs(found.identity, found)
    except QuantlibError as error:
        st.info(model.told(error), icon="📏")
        return ()
    covering(
        said_of("side", machine.SIDES),
        "cache",
        lambda covered: drawing.draw(machine.cache_svg(costs, covered), key=f"cache-costs{'-covered' * covered}"),
    )
    said = guess("Four bits for the keys alone or for the values alone: which costs more?", machine.SIDES, key="side")
    answer(said, machine.minds_more(costs), machine.cache_in_words(costs))
    captions.receipt(
        "measured",
        f"on {costs[0].cost.tokens:,} tokens of two texts, against the same model with an unrounded cache. The sizes "
        "follow from the model's shape",
    )
    captions.show_python(cache_snippet(found), caching.cache_costs)
    return costs


@st.fragment
def show_puzzle() -> None:
    """Five pairs of recipes; a point for each faster one."""
    terms.say("Two files of one model on one graphics card. Which is faster? Mind what the machine is doing.")
    puzzle.asked(machine.questions(), "faster")
    captions.receipt("published", "llama.cpp's own table for Llama-3.1-8B on one graphics card")


@st.cache_data(show_spinner=False, max_entries=64)
def large_cache(context: int, name: str) -> int:
    return cache_bytes(cache_of(gguf_view(KNOWN[LARGE].checkpoint())), context, name)


@st.cache_resource(show_spinner="Reading with smaller caches …", max_entries=4)
def cache_costs(identity: str, _found: running.Running) -> tuple[caching.CacheCost, ...]:
    texts = {name: text[:LETTERS] for name, text in read_texts(EVALUATION).items()}
    return caching.cache_costs(list(bench(_found.checkpoint, texts, CONTEXT).baselines.values()))


def cache_snippet(found: running.Running) -> str:
    return (
        "import quantlib as ql\nfrom quantlib.lm import EVALUATION, bench, read_texts\n"
        "from quantlib.lm.caching import cache_costs\n\n"
        f"checkpoint = ql.open_checkpoint({model.shown_path(found.checkpoint)!r})\n"
        f"texts = {{name: text[:{LETTERS}] for name, text in read_texts(EVALUATION).items()}}\n"
        f"bases = list(bench(checkpoint, texts, {CONTEXT}).baselines.values())\n"
        "for one in cache_costs(bases):\n"
        '    print(one.keys, one.values, f"{one.cost.kl:.2g} nats, {one.cost.changed_top:.1%} changed")'
    )


def snippet(found: running.Running, layer) -> str:
    return (
        "import quantlib as ql\nfrom quantlib.figures.dot import dot\n"
        "from quantlib.figures.layer import layer_at_work\n"
        "from quantlib.lm import CALIBRATION, Tokenizer, load, read_texts\n\n"
        + running.python_of(found, layer)
        + "found = dot(layer.weight[0, :256], layer.x[40, :256])\n"
        'print(f"from integers {found.value:.5g}, as trained {found.exact:.5g}")'
    )


main()
