"""HQQ: no group ends worse than it began, zero points are as stored, and outliers are forgiven."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError, MethodError
from quantlib.methods.awq import AffineGroups
from quantlib.methods.hqq import Schedule, hqq, shrink


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8), group=st.sampled_from([16, 64]), size=st.floats(1e-3, 1e3))
def test_no_group_ends_worse(seed, bits, group, size):
    w = (np.random.default_rng(seed).standard_t(3, (6, 128)) * size).astype(np.float32)
    done = hqq(w, AffineGroups(bits, group))
    trace = done.trace
    assert trace.zeros.shape == trace.errors.shape == (21, 6, 128 // group)
    steps = np.abs(w - done.dequantized()).reshape(6, -1, group) / done.scales[..., None]
    assert np.allclose((steps**0.7).sum(-1), trace.errors.min(0), rtol=0.02, atol=0.02 * group)
    assert (trace.errors.min(0) <= trace.errors[0]).all()
    assert done.codes.max() < 2**bits
    for stored in (done.scales, done.zeros):
        assert np.array_equal(stored, stored.astype(np.float16).astype(np.float32))


def test_it_beats_its_start_on_ordinary_weights():
    w = np.random.default_rng(0).standard_normal((32, 256)).astype(np.float32)
    errors = hqq(w, AffineGroups(3, 64)).trace.errors
    assert errors.min(0).sum() < 0.98 * errors[0].sum()


def test_shrinking_drops_small_errors_and_keeps_large_ones():
    x = np.float32([-3, -0.1, 0, 0.1, 3])
    assert np.array_equal(shrink(x, 1, 0.7) == 0, [False, True, True, True, False])
    assert np.allclose(shrink(x, 1e6, 0.7), x, atol=1e-5)


def test_constant_and_zero_groups():
    w = np.zeros((2, 64), np.float32)
    w[1] = 0.5
    assert np.allclose(hqq(w).dequantized(), w, atol=0.5 / 1000)


def test_what_cannot_be_done_is_said():
    with pytest.raises(MethodError, match="Groups of 48 do not divide"):
        hqq(np.ones((2, 64), np.float32), AffineGroups(4, 48))
    with pytest.raises(FormatError, match="NaN"):
        hqq(np.full((2, 64), np.nan, np.float32))
    with pytest.raises(MethodError, match="between 0 and 1, not 2"):
        Schedule(p=2)
    with pytest.raises(MethodError, match="at least one step"):
        Schedule(steps=0)
