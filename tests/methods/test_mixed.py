"""Blocks chosen for a layer's output: bytes that the format reads, kernel = reference, and a smaller output error."""

from dataclasses import replace

import numpy as np
import pytest

from quantlib.errors import FormatError, MethodError
from quantlib.formats import FORMATS
from quantlib.methods import grid_descent
from quantlib.methods.descent import REFERENCE, compiled, descended, eliminated
from quantlib.methods.grid_descent import GRIDS
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.mixed import USUAL, Effort, Inputs, fitted_blocks, usual
from quantlib.methods.storing import STORED_BY_WEIGHT, storing

KINDS = ("Q4_0", "Q4_1", "Q2_K", "Q6_K", "IQ4_XS", "NVFP4", "TQ1_0")  # one of each way of storing


@pytest.fixture(scope="module")
def layer():
    """A weight of 512 inputs, one of them dead, and correlated activations of different size."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((1024, 40)) @ rng.standard_normal((40, 512)) / 6
    x = (rng.standard_normal((1024, 512)) + shared) * np.exp(0.7 * rng.standard_normal(512))
    x[:, 77] = 0
    gram = Gram.of(x.astype(np.float32))
    ready = {how: Inputs.of(gram, how) for how in (usual(FORMATS["Q4_0"]), usual(FORMATS["IQ3_S"]))}
    return (rng.standard_t(5, (24, 512)) * 0.05).astype(np.float32), gram, ready


@pytest.mark.parametrize("name", [*STORED_BY_WEIGHT, *GRIDS])
def test_blocks_are_the_formats_own_and_lose_less(layer, name):
    weight, gram, ready = layer
    form = FORMATS[name]
    data = fitted_blocks(weight, ready[usual(form)], form, usual(form))
    assert data.shape == (24, form.row_bytes(512)) and data.dtype == np.uint8
    importance = gram.mean_squares if form.uses_importance else None
    plain = form.dequantize(form.quantize(weight, importance))
    errors = [output_error(weight - x, gram.hessian) for x in (form.dequantize(data), plain)]
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("name", STORED_BY_WEIGHT)
def test_numbers_read_from_blocks_are_those_of_the_format(layer, name):
    form = FORMATS[name]
    data = form.quantize(layer[0])
    kind = storing(form)
    stored = kind.read(data)
    assert np.array_equal(kind.decode(stored), form.dequantize(data))
    assert np.array_equal(kind.write(stored), data)


@pytest.mark.parametrize("name", KINDS)
def test_compiled_loops_are_what_is_read(layer, name):
    """One of each kind: minima or none, sub-scales or none, even levels or not, scales of its own or none."""
    weight, inputs, kind = layer[0][:1], layer[2][USUAL], storing(FORMATS[name])
    start = kind.read(FORMATS[name].quantize(weight))
    codes = [eliminated(weight, kind, start, inputs.factor, loops) for loops in (REFERENCE, compiled())]
    ends = [descended(weight, kind, codes[0], inputs.hessian, loops, 1) for loops in (REFERENCE, compiled())]
    for one, other in (codes, ends):
        for part, same in zip(one.parts, other.parts, strict=True):
            assert np.array_equal(part, same)


@pytest.mark.parametrize("name", KINDS)
def test_descent_never_raises_the_error(layer, name):
    weight, inputs, kind = layer[0][:6], layer[2][USUAL], storing(FORMATS[name])
    found, errors = kind.read(FORMATS[name].quantize(weight)), []
    for _ in range(4):
        miss = weight - kind.decode(found)
        errors.append(np.einsum("ri,ij,rj->r", miss, inputs.hessian, miss, dtype=np.float64))
        found = descended(weight, kind, found, inputs.hessian, compiled(), 1)
    assert (np.diff(errors, axis=0) <= 1e-4 * errors[0]).all()
    assert np.sum(errors[-1]) < 0.9 * np.sum(errors[0])


@pytest.mark.parametrize("name", GRIDS)
def test_points_read_from_blocks_are_those_of_the_format(layer, name):
    form = FORMATS[name]
    data = form.quantize(layer[0], layer[1].mean_squares)
    stored = grid_descent.read(form, data)
    assert np.array_equal(grid_descent.decode(stored, grid_descent.points_of(name)), form.dequantize(data))
    assert np.array_equal(grid_descent.write(form, stored), data)


@pytest.mark.parametrize("name", ["IQ2_XS", "IQ3_S"])  # eight weights a point and even signs; four, and all signs
def test_compiled_search_of_points_is_what_is_read(layer, name):
    weight, form = layer[0][:1], FORMATS[name]
    how = replace(usual(form), sweeps=1)
    inputs = layer[2][usual(form)]
    fast, read = (fitted_blocks(weight, inputs, form, how, reference) for reference in (False, True))
    assert np.array_equal(fast, read)


def test_rows_do_not_touch_each_other(layer):
    weight, inputs = layer[0], layer[2][USUAL]
    form = FORMATS["Q4_K"]
    whole = fitted_blocks(weight, inputs, form)
    assert np.array_equal(whole[8:16], fitted_blocks(weight[8:16], inputs, form))


def test_what_cannot_be_done_is_said(layer):
    weight, inputs = layer[0], layer[2][USUAL]
    with pytest.raises(MethodError, match="IQ1_S has no code for each weight; choose one of Q4_0"):
        fitted_blocks(weight, inputs, replace(FORMATS["IQ1_S"], uses_importance=False, requires_importance=False))
    with pytest.raises(MethodError, match="IQ3_S stand for eight weights"):
        fitted_blocks(weight, inputs, FORMATS["IQ3_S"])
    with pytest.raises(FormatError, match="blocks of 256, and a row of 96 is not a multiple"):
        fitted_blocks(weight[:, :96], inputs, FORMATS["Q4_K"])
    with pytest.raises(MethodError, match=r"shape \(24, 256\) does not fit inputs of 512 channels"):
        fitted_blocks(weight[:, :256], inputs, FORMATS["Q4_K"])
    with pytest.raises(FormatError, match="Q8_0 cannot store NaN"):
        fitted_blocks(np.full_like(weight, np.nan), inputs, FORMATS["Q8_0"])
    with pytest.raises(MethodError, match="singular"):
        Inputs.of(Gram.of(np.ones((2, 512), np.float32)), Effort(damping=0.0))
