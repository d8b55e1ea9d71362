"""How large the inputs of a tensor's columns are: the importance of the model that the chapters look at."""

from collections.abc import Sequence

import streamlit as st

import quantlib as ql
from pages.ui import model
from quantlib.figures import inputs, weights

TOKENS, CONTEXT = 1024, 256
SENTENCE = "They walked along the road until"
RECEIPT = f"importance: mean squares of each input channel over the first {TOKENS:,} tokens of the evaluation texts"
PYTHON = (
    f'text = "".join(open(name, encoding="utf-8").read() for name in {model.EVALUATION})\n'
    f"importance = column_importance(checkpoint, text, {TOKENS}, {CONTEXT})[tensor.name]\n"
)


def of_columns(tensor: ql.Tensor) -> Sequence[float] | None:
    """The importance of every column of a tensor, float32 (n,); None where it is unknown."""
    return _all(model.current().identity, model.current_checkpoint()).get(tensor.name)


def of_block(tensor: ql.Tensor, values: int, index: int) -> Sequence[float] | None:
    """The importance of block number `index` of `values` weights, counted row by row; None where it is unknown."""
    columns = of_columns(tensor)
    return None if columns is None else weights.columns_of_block(columns, values, index)


def input_of_row(tensor: ql.Tensor) -> Sequence[float] | None:
    """What the rows of a tensor are multiplied with at the last token of SENTENCE, float32 (n,).

    None where the model is not run here.
    """
    return _inputs(model.current().identity, model.current_checkpoint()).get(tensor.name)


@st.cache_resource(max_entries=4, show_spinner=False)
def _inputs(source: str, _checkpoint: ql.Checkpoint) -> dict[str, Sequence[float]]:
    return inputs.last_inputs(_checkpoint, SENTENCE)


@st.cache_resource(max_entries=4, show_spinner="Running the model once, to see how large its inputs are …")
def _all(source: str, _checkpoint: ql.Checkpoint) -> dict[str, Sequence[float]]:
    text = "".join((model.ROOT / name).read_text(encoding="utf-8") for name in model.EVALUATION)
    return inputs.column_importance(_checkpoint, text, TOKENS, CONTEXT)
