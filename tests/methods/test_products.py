"""Products with stored matrices: the kernel adds up what the reference does, and both ways stay near the floats."""

import numpy as np
import pytest

from quantlib import formats
from quantlib.errors import MethodError
from quantlib.methods.products import IN_INTEGERS, expanded, in_integers, in_integers_reference


@pytest.mark.parametrize("name", IN_INTEGERS)
@pytest.mark.parametrize("shape", [(1, 1, 32), (5, 3, 96), (40, 2, 256)])
def test_integers_are_the_reference_and_near_the_expanded_product(name, shape):
    rows, tokens, width = shape
    rng = np.random.default_rng(rows)
    form, weight = formats.get(name), rng.standard_normal((rows, width), np.float32)
    data, x = form.quantize(weight), rng.standard_normal((tokens, width), np.float32)
    found, reference, whole = (f(data, form, x) for f in (in_integers, in_integers_reference, expanded))
    assert found.shape == reference.shape == whole.shape == (tokens, rows)
    size = np.abs(reference).max()
    assert np.abs(found - reference).max() < 1e-5 * size
    assert np.allclose(whole, x @ form.dequantize(data).T, atol=1e-4)
    assert np.linalg.norm(found - whole) < 0.05 * np.linalg.norm(whole)


def test_what_does_not_fit_is_told():
    data = formats.get("Q8_0").quantize(np.zeros((2, 64), np.float32))
    with pytest.raises(MethodError, match="do not fit activations of 32"):
        in_integers(data, formats.get("Q8_0"), np.zeros((1, 32), np.float32))
    with pytest.raises(MethodError, match="not multiplied in integers"):
        in_integers(data, formats.get("Q5_0"), np.zeros((1, 64), np.float32))
