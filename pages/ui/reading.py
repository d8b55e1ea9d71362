"""A model that reads the evaluation texts as it is and from a recipe: measured once for everybody, and kept."""

import streamlit as st

import quantlib as ql
from pages.ui import model, running
from quantlib.figures import costs
from quantlib.lm import (
    EVALUATION,
    SEED,
    TEMPERATURE,
    Bench,
    Comparison,
    Model,
    applied,
    bench,
    generate,
    read_texts,
)

CONTEXT = 256
OWN_CONTEXT = 64  # windows of a text of the reader's own, which is short


@st.cache_resource(show_spinner="Letting the model read, as it is …", max_entries=2)
def _reading(identity: str, _found: running.Running) -> Bench:
    return bench(_found.checkpoint, costs.beginnings(read_texts(EVALUATION)), CONTEXT)


@st.cache_resource(show_spinner="Quantizing every weight …", max_entries=4)
def _changed(identity: str, recipe: str, _found: running.Running) -> Model:
    return applied(_found.model, ql.plan(_found.checkpoint, recipe))


@st.cache_resource(show_spinner="Letting the model read with these weights …", max_entries=64)
def _compared(identity: str, recipe: str, _found: running.Running) -> dict[str, Comparison]:
    return _reading(identity, _found).against(_changed(identity, recipe, _found))


@st.cache_data(show_spinner="Writing …", max_entries=200)
def _written(identity: str, recipe: str, prompt: str, _found: running.Running) -> str:
    used = _changed(identity, recipe, _found) if recipe else _found.model
    tokenizer = _found.tokenizer
    tokens = generate(used, tokenizer.encode(prompt), 48, TEMPERATURE, SEED, tokenizer.eos)
    return tokenizer.decode(list(tokens))


def compared(found: running.Running, recipe: str) -> dict[str, Comparison]:
    """Each evaluation text's beginning: the predictions from a recipe beside the original's."""
    return _compared(found.identity, recipe, found)


def compared_on(found: running.Running, recipe: str, text: str) -> Comparison:
    """The same on a text of the reader's own, which is not kept. Raises QuantlibError where it is too short."""
    judge = bench(found.checkpoint, {"your text": text}, OWN_CONTEXT)
    return judge.against(_changed(found.identity, recipe, found))["your text"]


def written(found: running.Running, recipe: str, prompt: str) -> str:
    """What the model writes after the prompt, with the weights of a recipe or, where it is empty, its own."""
    return _written(found.identity, recipe, prompt, found)


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


def shell(found: running.Running, recipe: str) -> str:
    """The same figures from the command line."""
    path = model.shown_path(found.checkpoint)
    return f"python -m quantlib perplexity {path} --sweep {recipe} --context {CONTEXT} --characters {costs.CHARACTERS}"
