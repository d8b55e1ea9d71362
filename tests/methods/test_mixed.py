"""GPTQ's codes in GGUF blocks: bytes that the format reads, and a smaller error of the layer's output."""

import numpy as np
import pytest

from quantlib.errors import MethodError
from quantlib.formats import FORMATS
from quantlib.methods.gptq import Settings
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.mixed import ACT_ORDER, ZEROS, gptq_blocks


@pytest.fixture(scope="module")
def layer():
    """A weight of 512 inputs and correlated activations of different size."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((1024, 40)) @ rng.standard_normal((40, 512)) / 6
    x = (rng.standard_normal((1024, 512)) + shared) * np.exp(0.7 * rng.standard_normal(512))
    return (rng.standard_t(5, (24, 512)) * 0.05).astype(np.float32), Gram.of(x.astype(np.float32))


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("how", [Settings(block=32), ACT_ORDER], ids=["in order", "act-order"])
def test_blocks_are_the_formats_own_and_lose_less(layer, name, how):
    weight, gram = layer
    form = FORMATS[name]
    done = gptq_blocks(weight, gram, form, how)
    assert done.data.shape == (24, form.row_bytes(512)) and done.data.dtype == np.uint8
    decoded = form.dequantize(done.data)
    assert np.array_equal(decoded, done.found.dequantized())
    importance = gram.mean_squares if form.uses_importance else None
    plain = form.dequantize(form.quantize(weight, importance))
    errors = [output_error(weight - x, gram.hessian) for x in (decoded, plain)]
    assert errors[0] < 0.8 * errors[1]


def test_what_cannot_be_done_is_said(layer):
    weight, gram = layer
    with pytest.raises(MethodError, match="evenly spaced levels, which IQ4_NL does not have"):
        gptq_blocks(weight, gram, FORMATS["IQ4_NL"])
    with pytest.raises(MethodError, match="act-order needs static groups"):
        gptq_blocks(weight, gram, FORMATS["Q4_0"], Settings(act_order=True))
    with pytest.raises(MethodError, match="Groups of 256 do not divide a layer of 96 inputs"):
        gptq_blocks(weight[:, :96], Gram.of(np.ones((200, 96), np.float32)), FORMATS["Q4_K"])
