"""SmoothQuant: the authors' scales and codes, and the product that must not change before rounding."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError, MethodError
from quantlib.methods.awq import fold
from quantlib.methods.smoothquant import (
    Int8Rows,
    channel_largest,
    int8_rows,
    multiply,
    smooth_trace,
    smoothing_scales,
    smoothquant,
)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "methods" / "smoothquant.npz") as data:
        return dict(data)


@pytest.mark.parametrize(("case", "alpha"), [("a50", 0.5), ("a85", 0.85)])
def test_scales_are_the_references(golden, case, alpha):
    weights = [golden[f"{name}_largest"] for name in ("Wq", "Wk", "Wv")]  # the largest of each channel is what counts
    scales = smoothing_scales(golden["act_scales"], weights, alpha)
    assert np.allclose(scales, golden[f"{case}_scales"], rtol=1e-6)  # a power differs in its last bit
    assert np.allclose(fold(golden["ln"], scales), golden[f"{case}_ln"], rtol=1e-6)


def test_codes_and_product_are_the_references(golden):
    scales = golden["a50_scales"]
    weight, x = int8_rows(golden["Wq"] * scales), int8_rows(golden["X_f16"].astype(np.float32) / scales)
    for ours, codes, factors in ((weight, "qw_i8", "sw"), (x, "qx_i8", "sx")):
        assert np.array_equal(ours.codes, golden[codes])
        assert np.array_equal(ours.scales, golden[factors])
    assert np.allclose(multiply(x, weight), golden["y_w8a8"], atol=2e-5, rtol=1e-6)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.floats(0, 1))
def test_the_product_is_unchanged_before_rounding(seed, alpha):
    x, weight = outliers(seed)
    scales = smoothing_scales(channel_largest(x), [weight], alpha)
    exact = x.astype(float) @ weight.T.astype(float)
    moved = (x / scales).astype(float) @ (weight * scales).T.astype(float)
    assert np.allclose(exact, moved, atol=1e-5 * np.abs(exact).max())
    done = smoothquant([weight], channel_largest(x), alpha)[0]
    assert (np.abs(done.dequantized() - weight) <= done.weight.scales / scales * 0.5001).all()


def outliers(seed: int, tokens: int = 64, inputs: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Activations with two channels that are forty times the others', and an even weight."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((tokens, inputs)).astype(np.float32)
    x[:, [5, 20]] *= 40
    return x, (rng.standard_normal((16, inputs)) * 0.1).astype(np.float32)


def test_integers_multiply_exactly():
    rng = np.random.default_rng(0)
    a, b = (Int8Rows(rng.integers(-127, 128, (5, 4096), np.int8), np.ones((5, 1), np.float32)) for _ in "ab")
    assert np.array_equal(multiply(a, b), a.codes.astype(int) @ b.codes.T.astype(int))


def test_trace_shows_both_sides_and_that_smoothing_pays():
    x, weight = outliers(0)
    trace = smooth_trace(x, weight)
    activations, weights, plain = trace.untouched
    assert trace.activations.shape == trace.weights.shape == (len(trace.alphas), 48)
    assert np.allclose(trace.activations * trace.weights, activations * weights, rtol=1e-5)  # moved, not removed
    spread = trace.activations.max(1) / np.median(trace.activations, axis=1)
    assert (np.diff(spread) < 0).all() and spread[-1] == pytest.approx(1, rel=1e-5)
    assert trace.errors[trace.winner] < plain / 2


def test_what_cannot_be_done_is_said():
    x, weight = outliers(1)
    with pytest.raises(MethodError, match="alpha lies between 0 and 1, not at"):
        smoothquant([weight], channel_largest(x), 1.5)
    with pytest.raises(MethodError, match="48 calibrated channels"):
        smoothquant([weight[:, :32]], channel_largest(x))
    with pytest.raises(FormatError, match="NaN"):
        int8_rows(x * np.nan)
    assert not int8_rows(np.zeros((2, 3), np.float32)).decode().any()
