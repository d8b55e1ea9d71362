"""Measures of loss: their definitions, and that parts add up to the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.loss_kernel import sums
from quantlib.metrics import FEW, Loss, compare, sums_of_few


def test_definitions():
    x, xhat = np.array([3.0, -4.0], np.float32), np.array([3.0, -3.0], np.float32)
    loss = compare(x, xhat)
    assert loss.rms == pytest.approx(np.sqrt(12.5))
    assert loss.rmse == pytest.approx(np.sqrt(0.5))
    assert loss.relative == pytest.approx(0.2)
    assert loss.sqnr == pytest.approx(10 * np.log10(25))
    assert (loss.largest_error, loss.largest) == (1.0, 4.0)
    assert loss.cosine == pytest.approx(21 / np.sqrt(25 * 18))


def test_nothing_lost():
    x = np.ones(5, np.float32)
    assert compare(x, x).sqnr == np.inf
    assert compare(x, x).relative == 0
    assert compare(x, x).cosine == 1
    assert compare(x, -x).cosine == -1
    assert compare(x, 0 * x).cosine == 0
    assert compare(0 * x, 0 * x).cosine == 1
    assert compare(x[:0], x[:0]) == Loss()


@settings(deadline=None)  # the first example loads compiled code
@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_parts_add_up(n, cut, seed):
    x, xhat = np.random.default_rng(seed).standard_normal((2, n))
    cut = min(cut, n)
    parts = compare(x[:cut], xhat[:cut]) + compare(x[cut:], xhat[cut:])
    whole = compare(x, xhat)
    assert parts.count == whole.count
    assert parts.rmse == pytest.approx(whole.rmse)
    assert parts.largest_error == whole.largest_error


@pytest.mark.parametrize("size", [0, 1, 511, FEW, FEW + 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_sums_are_the_plain_ones(size, dtype):
    x, xhat = np.random.default_rng(size).standard_normal((2, size)).astype(dtype)
    assert sums(x, xhat) == pytest.approx(sums_of_few(x, xhat), rel=1e-12)


@pytest.mark.parametrize("of", [sums, sums_of_few])
def test_what_is_no_number_spreads(of):
    x, xhat = np.ones((2, 600), np.float32)
    xhat[577] = np.nan
    assert np.isnan(of(x, xhat)).tolist() == [False, True, True, False, True]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        compare(np.zeros(3), np.zeros(4))
