"""How large the inputs of a tensor's columns are: the importance of the model whose weights a chapter shows."""

from collections.abc import Sequence

import streamlit as st

import quantlib as ql
from pages.server.opened import Opened
from pages.ui import model
from pages.ui.measuring import check_run_on_pages
from quantlib.errors import QuantlibError
from quantlib.figures import inputs, weights

TOKENS, CONTEXT = 1024, 256
SENTENCE = "They walked along the road until"
QUESTION = "47x53="


def receipt(opened: Opened) -> str:
    """Over what the importance was measured."""
    read = "sums" if adds(opened) else f"the first {TOKENS:,} tokens of the evaluation texts"
    return f"Importance: the mean square of each input channel over {read}"


def python(opened: Opened) -> str:
    """The lines of a snippet that measure it; `checkpoint` and `tensor` are there."""
    if adds(opened):
        return (
            "from quantlib.figures.inputs import importance_of_sums\n\n"
            "importance = importance_of_sums(checkpoint)[tensor.name]\n"
        )
    return (
        "from quantlib.figures.inputs import column_importance\n\n"
        f'text = "".join(open(name, encoding="utf-8").read() for name in {model.EVALUATION})\n'
        f"importance = column_importance(checkpoint, text, {TOKENS}, {CONTEXT})[tensor.name]\n"
    )


def adds(opened: Opened) -> bool:
    """Whether this is the model that reads sums, not prose."""
    return opened is model.calculator()


def runs(opened: Opened) -> bool:
    """Whether pages run this model."""
    try:
        check_run_on_pages(opened.checkpoint)
    except QuantlibError:
        return False
    return True


def sentence(opened: Opened) -> str:
    """What the model reads where a chapter needs one input."""
    return QUESTION if adds(opened) else SENTENCE


def of_block(opened: Opened, tensor: ql.Tensor, values: int, index: int) -> Sequence[float] | None:
    """The importance of block number `index` of `values` weights, counted row by row; None where it is unknown."""
    columns = _all(opened.identity, opened).get(tensor.name)
    return None if columns is None else weights.columns_of_block(columns, values, index)


def input_of_row(opened: Opened, tensor: ql.Tensor) -> Sequence[float] | None:
    """What the rows of a tensor are multiplied with at the last token of its sentence, float32 (n,).

    None where the model is not run here.
    """
    return _inputs(opened.identity, opened).get(tensor.name)


@st.cache_resource(max_entries=4, show_spinner=False)
def _inputs(source: str, _opened: Opened) -> dict[str, Sequence[float]]:
    return inputs.last_inputs(_opened.checkpoint, sentence(_opened)) if runs(_opened) else {}


@st.cache_resource(max_entries=4, show_spinner="Running the model once, to see how large its inputs are …")
def _all(source: str, _opened: Opened) -> dict[str, Sequence[float]]:
    if not runs(_opened):
        return {}
    if adds(_opened):
        return inputs.importance_of_sums(_opened.checkpoint)
    text = "".join((model.ROOT / name).read_text(encoding="utf-8") for name in model.EVALUATION)
    return inputs.column_importance(_opened.checkpoint, text, TOKENS, CONTEXT)
