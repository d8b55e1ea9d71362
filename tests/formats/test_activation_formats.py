"""What ggml makes of activations: sums that are those of the codes, and the error of rounding to 255 levels."""

import numpy as np
import pytest
from families import FAMILIES, draw

from quantlib.errors import FormatError, RecipeError
from quantlib.formats import FORMATS
from quantlib.recipes.choosing import check_storable

every_format = pytest.mark.parametrize(
    "form", [f for f in FORMATS.values() if f.kind == "activation"], ids=lambda f: f.name
)
FINITE = [family for family in FAMILIES if family not in ("huge", "end of range")]  # their squares are infinite


@every_format
@pytest.mark.parametrize("family", FAMILIES)
def test_kernel_equals_reference(form, family):
    x, _ = draw(family, "none", (9, 768), seed=3)
    assert np.array_equal(form.ggml_bytes(x), form.ggml_bytes_reference(x))


@every_format
@pytest.mark.parametrize("family", FINITE)
def test_sums_are_those_of_the_codes(form, family):
    x, _ = draw(family, "none", (9, 768), seed=4)
    codes = form.unpack(form.ggml_bytes(x).reshape(-1, form.nbytes))
    count = codes["s"].shape[1]
    sums = codes["q"].reshape(-1, count, form.values // count).sum(axis=-1, dtype=np.int64)
    if codes["s"].dtype == np.int16:
        assert np.array_equal(codes["s"], sums)
    else:
        d = np.abs(x.reshape(-1, form.values)).max(axis=-1, keepdims=True) / np.float32(127)
        with np.errstate(over="ignore"):  # a family's sums are beyond half precision: infinite on both sides
            assert np.array_equal(codes["s"], (sums.astype(np.float32) * d).astype(np.float16))


@every_format
def test_a_value_moves_by_half_a_step_at_most(form):
    x, _ = draw("normal", "none", (16, 4096), seed=5)
    data = form.quantize(x)
    step = np.abs(x.reshape(-1, form.values)).max(axis=-1) / 127
    miss = np.abs(form.dequantize(data) - x).reshape(-1, form.values).max(axis=-1)
    # Half a step, and where the scale is stored in half precision what that moves 127 steps by: 2⁻¹¹ of them.
    assert (miss <= step * (0.5 + (127 * 2.0**-11 if form.name == "Q8_1" else 1e-5))).all()
    codes = form.unpack(data.reshape(-1, form.nbytes))
    assert np.allclose(form.decode(codes).reshape(x.shape), form.dequantize(data), rtol=0, atol=0)


@every_format
def test_no_file_holds_weights_so(form):
    with pytest.raises(RecipeError, match="no file stores weights so"):
        check_storable(form.name)
    with pytest.raises(FormatError):
        form.quantize(np.full(256, np.nan, np.float32))
