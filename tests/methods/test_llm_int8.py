"""LLM.int8(): the codes and products of bitsandbytes on a processor, and what the threshold does at its ends."""

from pathlib import Path

import numpy as np
import pytest

from quantlib.errors import FormatError, MethodError
from quantlib.methods.llm_int8 import int8_weight, multiply, outlier_trace


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "methods" / "llm_int8.npz") as data:
        return dict(data)


def test_weight_is_bitsandbytes(golden):
    stored = int8_weight(golden["W_f16"])
    assert np.array_equal(stored.codes, golden["CB"])
    assert np.array_equal(stored.largest, golden["SCB"])
    assert np.array_equal(stored.decode(), golden["W_deq_f32"])


@pytest.mark.parametrize("threshold", [0, 6])
def test_product_is_bitsandbytes(golden, threshold):
    done = multiply(golden["X_f16"], int8_weight(golden["W_f16"]), threshold)
    assert np.array_equal(done.codes, golden[f"thr{threshold}_CA"])
    assert np.array_equal(done.largest, golden[f"thr{threshold}_SCA"])
    if threshold:
        assert np.array_equal(done.columns, golden["thr6_cols"])
    theirs = golden[f"thr{threshold}_Y_f16"]
    step = np.spacing(np.abs(theirs))  # the FP16 product of outlier columns sums in another order
    assert (np.abs(done.output.astype(float) - theirs) <= (step if threshold else 0)).all()
    assert np.mean(done.output != theirs) <= 0.005


def test_no_outlier_and_all_outliers(golden):
    x, stored = golden["X_f16"].astype(np.float32), int8_weight(golden["W_f16"])
    none, off = multiply(x, stored, float("inf")), multiply(x, stored, 0)
    assert np.array_equal(none.output, off.output) and not len(none.columns) and off.share == 0
    every = multiply(x, stored, float(np.abs(x).max(0).min()))  # each column reaches it somewhere
    assert every.share == 1 and not every.codes.any()
    assert np.allclose(every.output, x @ stored.decode().T, rtol=2e-3, atol=2e-2)


def test_trace_shows_that_few_columns_carry_the_error(golden):
    x, weight = golden["X_f16"].astype(np.float32), golden["W_f16"].astype(np.float32)
    trace = outlier_trace(x, weight)
    assert trace.thresholds[0] == 0 and not len(trace.columns[0])
    assert (np.diff(trace.shares[1:]) <= 0).all()
    for threshold, columns in zip(trace.thresholds[1:], trace.columns[1:], strict=True):
        assert np.array_equal(columns, np.flatnonzero(trace.magnitudes >= threshold))
    assert trace.errors[5] < trace.errors[0]


def test_what_cannot_be_done_is_said():
    stored = int8_weight(np.ones((2, 8), np.float32))
    with pytest.raises(MethodError, match=r"Activations of shape \(3, 4\) do not fit"):
        multiply(np.ones((3, 4), np.float32), stored)
    with pytest.raises(MethodError, match="a magnitude, or 0 for none, not -1"):
        multiply(np.ones((3, 8), np.float32), stored, -1)
    with pytest.raises(MethodError, match="above its 65,504"):
        multiply(np.full((3, 8), 1e6, np.float32), stored)
    with pytest.raises(FormatError, match="NaN"):
        int8_weight(np.full((2, 8), np.nan, np.float32))
    assert not multiply(np.zeros((3, 8), np.float32), stored).output.any()
