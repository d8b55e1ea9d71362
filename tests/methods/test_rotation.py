"""Rotation: Q is orthogonal, the product unchanged before rounding, and a spike in one channel spread evenly."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError, MethodError
from quantlib.methods.rotation import factors_of, hadamard, rotate, rotation, rotation_trace
from quantlib.methods.smoothquant import int8_rows, multiply, relative_error

# What widths of real models are made of: powers of two, and Paley's orders of both kinds (12, 20, 60, 108, 140, 148 of
# the first; 28, 36, 76 of the second).
ORDERS = (1, 2, 4, 8, 16, 64, 12, 20, 24, 28, 36, 40, 60, 76, 108, 140, 148)
WIDTHS = {64: 64, 256: 256, 576: 576, 896: 896, 960: 960, 1536: 1536, 4864: 4864, 5120: 5120, 14336: 14336}


@pytest.mark.parametrize("order", ORDERS)
def test_hadamard_matrices_are_orthogonal_and_of_ones(order):
    h = hadamard(order)
    assert np.array_equal(np.abs(h), np.ones((order, order)))
    assert np.array_equal(h @ h.T, order * np.eye(order))


@pytest.mark.parametrize("order", [3, 6, 10, 92, 172])
def test_orders_without_a_matrix_are_told(order):
    with pytest.raises(MethodError, match="Hadamard matrix of order"):
        hadamard(order)


@pytest.mark.parametrize(("width", "mixed"), [*WIDTHS.items(), (11008, 256), (7, 1), (1000, 1000), (1, 1)])
def test_factors_mix_all_channels_where_matrices_are_known(width, mixed):
    factors = factors_of(width)
    assert prod(factors) == mixed
    for factor in factors:
        hadamard(factor)


@given(width=st.sampled_from([1, 7, 24, 48, 64, 96, 144, 172, 256, 576]), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_fast_product_is_the_matrix_product_and_is_undone(width, seed):
    turn, rng = rotation(width, seed=seed), np.random.default_rng(seed)
    x, q = rng.standard_normal((5, width), np.float32), turn.matrix()
    assert np.allclose(q @ q.T, np.eye(width), atol=1e-5)
    assert np.allclose(turn(x), x @ q, atol=1e-4)
    assert np.allclose(turn.inverse(turn(x)), x, atol=1e-4)


@pytest.mark.parametrize("width", [64, 172, 576])
def test_the_product_is_unchanged_before_rounding(width):
    rng = np.random.default_rng(1)
    x, w, turn = rng.standard_normal((9, width)), rng.standard_normal((30, width)), rotation(width)
    assert relative_error(turn(x) @ turn(w).T, x @ w.T) < 1e-5


def test_a_spike_is_spread_evenly_over_its_block():
    x = np.zeros((1, 576), np.float32)
    x[0, 247] = 24
    assert np.allclose(np.abs(rotation(576)(x)), 1)
    part = np.abs(rotation(576, (4, 12))(x))
    assert np.allclose(part[part > 0], 24 / np.sqrt(48)) and np.count_nonzero(part) == 48


@pytest.mark.parametrize("bits", [8, 4])
def test_rotation_helps_a_layer_with_a_spike(bits):
    """A layer whose channel 5 is 30 times the others, as activations of language models are."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((64, 144)).astype(np.float32), rng.standard_normal((32, 144)).astype(np.float32)
    x[:, 5] *= 30
    plain = relative_error(multiply(int8_rows(x, bits), int8_rows(w, bits)), x @ w.T)
    layer = rotate(w, bits=bits)
    assert relative_error(layer(x), x @ w.T) < 0.6 * plain
    assert relative_error(layer.dequantized(), w) < 0.02 if bits == 8 else 0.2
    trace = rotation_trace(x, w, bits, shown=3)
    assert trace.blocks == (1, *np.cumprod(factors_of(144)).tolist())
    assert trace.errors[-1] == pytest.approx(relative_error(layer(x), x @ w.T))
    assert trace.activations.shape == trace.weights.shape == (len(trace.blocks), 144)
    assert trace.tokens.shape == (len(trace.blocks), 3, 144)
    assert trace.activations[-1].max() < trace.activations[0].max() / 3


def test_wrong_shapes_and_values_are_told():
    with pytest.raises(MethodError, match="64 channels"):
        rotation(64)(np.zeros((2, 32), np.float32))
    with pytest.raises(MethodError, match="do not divide 100 channels"):
        rotation(100, (16,))
    with pytest.raises(MethodError, match="2 to 8 bits"):
        rotate(np.zeros((2, 64), np.float32), bits=9)
    with pytest.raises(FormatError):
        rotate(np.full((2, 64), np.nan, np.float32))
