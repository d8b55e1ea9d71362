"""The pictures of outliers show what methods found."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.figures import outliers, super_weights
from quantlib.lm import Tokenizer, activations, load

TEXT = "The ferry left in the morning, and nobody on the pier knew when it would be back again. " * 40


@pytest.fixture(scope="module")
def model(demo_model):
    return load(ql.open_checkpoint(demo_model))


@pytest.fixture(scope="module")
def tokens(demo_model):
    return Tokenizer.of(ql.open_checkpoint(demo_model)).encode(TEXT)[:512]


def test_clipping_by_least_squares_never_loses(model):
    rows = outliers.clipping(model.weight("blk.0.ffn_down.weight")[:64], 4)
    assert rows[0]["clipped"] == 0
    assert rows[-1]["relative error"] <= min(row["relative error"] for row in rows[:1])


def test_every_matrix_and_channel_is_on_the_maps(model, tokens):
    rows = outliers.weight_map(model)
    assert len(rows) == 7 * model.shape.layers
    figure = outliers.weight_map_figure(rows)
    assert np.shape(figure.data[0].z) == (7, model.shape.layers)
    seen = activations(model, tokens, 256)
    channels = outliers.channel_figure(seen, "ffn_down", "dark")
    assert np.shape(channels.data[0].z) == (model.shape.layers, model.weight("blk.0.ffn_down.weight").shape[1])
    assert outliers.outlier_csv(seen).count("\n") > 1000


def test_without_a_weight_only_that_weight_is_gone(model, tokens):
    product, name, row, column = super_weights.candidates(model, np.asarray(tokens), 1)[0]
    changed = super_weights.without(model, name, row, column)
    difference = model.weight(name) != changed.weight(name)
    assert difference.sum() == 1
    assert difference[row, column]
    assert product > 0
