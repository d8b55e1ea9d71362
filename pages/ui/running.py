"""The model that chapters run: what this visit opened where it can be run, else the demo model, and its layers."""

from dataclasses import dataclass, replace

import streamlit as st

import quantlib as ql
from pages.ui import captions, model
from pages.ui.measuring import check_run_on_pages
from quantlib.figures.layer import Layer, layers_at_work, matrices
from quantlib.lm import CALIBRATION, Model, Tokenizer, load, read_texts
from quantlib.recipes import layer_of


@dataclass(frozen=True)
class Running:
    """A model that runs. identity: the key of what is cached of it. note: why it is not the opened one, or empty."""

    model: Model
    tokenizer: Tokenizer
    identity: str
    checkpoint: ql.Checkpoint
    note: str = ""

    @property
    def weights(self) -> int:
        return sum(w.size for w in self.model.weights.values())


def running() -> Running:
    """The opened model, or the demo model with a note on why."""
    opened = model.current()
    if opened is model.demo():
        return _demo()
    try:
        check_run_on_pages(opened.checkpoint)
        return replace(_loaded(opened.identity, opened.checkpoint), checkpoint=opened.checkpoint)
    except ql.QuantlibError as error:
        return replace(_demo(), note=f"The demo model is shown instead. {error}")


def python_of(found: Running, layer: Layer) -> str:
    """The lines of a snippet that open the model that was run, and let it read, for `layer`."""
    return (
        f"checkpoint = ql.open_checkpoint({model.shown_path(found.checkpoint)!r})\n"
        "tokens = Tokenizer.of(checkpoint).encode(read_texts([CALIBRATION])[CALIBRATION.stem])\n"
        f"layer = layer_at_work(load(checkpoint), tokens, {layer.name!r})\n"
    )


def show_note(found: Running) -> None:
    if found.note:
        st.info(found.note, icon="🔎")


def _demo() -> Running:
    return _loaded(model.demo().identity, model.demo_checkpoint())


@st.cache_resource(show_spinner="Loading the model …", max_entries=2)
def _loaded(identity: str, _checkpoint: ql.Checkpoint) -> Running:
    return Running(load(_checkpoint), Tokenizer.of(_checkpoint), identity, _checkpoint)


@st.cache_data(show_spinner=False, max_entries=4)
def calibration_text() -> str:
    """Text for calibration: other than what is measured on."""
    return read_texts([CALIBRATION])[CALIBRATION.stem]


@st.cache_data(show_spinner=False, max_entries=4)
def evaluation_text() -> str:
    """Text to judge by: other than what is calibrated on."""
    return "\n\n".join(read_texts([model.ROOT / name for name in model.EVALUATION]).values())


@st.cache_resource(show_spinner="Letting the model read …", max_entries=8)
def layers(identity: str, number: int, _found: Running) -> dict[str, Layer]:
    """The matrices of one of the model's layers with what they read of the calibration text."""
    names = [name for name in matrices(_found.model) if layer_of(name) == number]
    return layers_at_work(_found.model, _found.tokenizer.encode(calibration_text()), names)


def layer_like(found: Running, wanted: str) -> Layer:
    """The matrix of this name, or of its kind in the first layer that has one, or the first there is."""
    names = matrices(found.model)
    kind = wanted.split(".", 2)[-1]
    name = wanted if wanted in names else next((n for n in names if n.endswith(kind)), names[0])
    return layers(found.identity, layer_of(name), found)[name]


def layer_picker(found: Running, key: str, default: str) -> Layer:
    """A select box over the matrices inside the layers; the address keeps it."""
    names = matrices(found.model)
    index = names.index(default) if default in names else 0
    name = st.selectbox("Matrix", names, index=index, key=key, bind="query-params")
    captions.glossed(name)
    return layers(found.identity, layer_of(name), found)[name]
