"""Integer grids and granularities: what must hold for every bit width, kind of range and format of scales."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, IntegerFormat, PerChannel, PerGroup, PerTensor
from quantlib.formats.floats import BF16, FP8_E4M3, FP16, FP32

CATALOGUE = [form for form in FORMATS.values() if form.kind == "integer"]
KINDS = [{}, {"restricted": False}, {"symmetric": False}]
GRIDS = [IntegerFormat(bits, **kind) for bits in range(2, 9) for kind in KINDS]
STORED = [replace(form, scale_format=scale, group=32) for form in GRIDS for scale in (FP32, BF16)] + GRIDS
named = {"ids": lambda form: f"{form.name} {form.scale_format.name} {form.group}"}
numbers = st.floats(-1e4, 1e4, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)


def test_the_catalogue_has_the_symmetric_grids():
    assert [form.name for form in CATALOGUE] == ["INT8", "INT7", "INT6", "INT5", "INT4", "INT3", "INT2"]
    assert [FORMATS[f"INT{bits}"].bpw for bits in (8, 4, 2)] == [8.125, 4.125, 2.125]


@pytest.mark.parametrize("form", GRIDS, **named)
def test_range_of_codes(form):
    levels = form.highest - form.lowest + 1
    assert levels == 2**form.bits - (form.symmetric and form.restricted)
    assert form.lowest <= 0 < form.highest
    assert form.symmetric or form.lowest == 0
    assert not (form.symmetric and form.restricted) or form.lowest == -form.highest


@pytest.mark.parametrize("form", GRIDS, **named)
@settings(max_examples=50)
@given(x=drawn(24))
def test_error_is_at_most_half_a_scale(form, x):
    """Inside the range |x − x̂| ≤ scale / 2; with FP32 scales every weight of the covered group is inside."""
    form = replace(form, scale_format=FP32)
    scale, zero = form.scale_and_zero(x.min(), x.max())
    decoded = form.value(form.encode(x, scale, zero), scale, zero).astype(float)
    assert (np.abs(decoded - x) <= scale / 2 + 2.0**-21 * np.abs(x).max()).all()


@pytest.mark.parametrize("form", GRIDS, **named)
@settings(max_examples=50)
@given(x=drawn(24))
def test_clipping_goes_to_the_ends(form, x):
    """Whatever the scale, a weight inside the range is off by half a scale at most, one outside goes to its end."""
    scale, zero = form.scale_and_zero(x.min() / 3, x.max() / 3)
    decoded = form.value(form.encode(x, scale, zero), scale, zero)
    ends = form.value(np.array([form.lowest, form.highest]), scale, zero)
    inside = (x >= ends[0] - scale / 2) & (x <= ends[1] + scale / 2)
    assert (np.abs(decoded - x)[inside] <= scale / 2 + 2.0**-21 * np.abs(x).max()).all()
    assert (decoded[x > ends[1] + scale] == ends[1]).all() and (decoded[x < ends[0] - scale] == ends[0]).all()


@pytest.mark.parametrize("form", GRIDS, **named)
@settings(max_examples=50)
@given(ends=st.tuples(numbers, numbers))
def test_zero_is_stored_exactly(form, ends):
    low, high = sorted(ends)
    scale, zero = form.scale_and_zero(low, high)
    assert form.lowest <= zero <= form.highest
    assert float(form.value(form.encode(np.float32(0), scale, zero), scale, zero)) == 0


@pytest.mark.parametrize("form", STORED, **named)
def test_rows_hold_what_the_layout_says(form):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 3, 4 * form.group)) * 0.02 + 0.01).astype(np.float32)
    x[0, 0, : form.group] = 0
    data = form.quantize(x)
    assert data.dtype == np.uint8 and data.shape == (2, 3, form.row_bytes(4 * form.group))
    groups = x.reshape(2, 3, 4, form.group)
    scale, zero = form.scale_and_zero(groups.min(-1, keepdims=True), groups.max(-1, keepdims=True))
    codes = form.encode(groups, scale, zero)
    unpacked = form.unpack(data.reshape(2, 3, 4, form.nbytes))
    assert np.array_equal(unpacked["d"].astype(np.float32), scale)
    assert np.array_equal(unpacked["q"].astype(int) - form.offset, codes)
    assert form.symmetric or np.array_equal(unpacked["z"], zero)
    assert np.array_equal(form.pack(unpacked), data.reshape(2, 3, 4, form.nbytes))
    decoded = form.dequantize(data)
    assert np.array_equal(decoded, form.value(codes, scale, zero).reshape(x.shape))
    assert np.array_equal(decoded, form.decode(unpacked).reshape(x.shape))
    assert not decoded[0, 0, : form.group].any()


@pytest.mark.parametrize("form", STORED, **named)
def test_addresses_tile_the_group_and_size_counts_everything(form):
    addresses = np.concatenate([field.bits.ravel() for field in form.layout.fields])
    assert sorted(addresses) == list(range(8 * form.nbytes))
    assert form.bpw == 8 * form.nbytes / form.values == form.bits + form.overhead / form.group
    assert form.overhead == form.scale_format.bits + 8 * (not form.symmetric)
    assert form.summary.endswith(".")


@pytest.mark.parametrize("form", CATALOGUE, **named)
def test_a_stored_grid_is_a_fixed_point(form):
    """What was decoded is stored again without loss, for the largest code is in use in every group."""
    x = np.random.default_rng(2).standard_normal((50, 256)).astype(np.float32)
    once = form.dequantize(form.quantize(x))
    assert np.array_equal(form.dequantize(form.quantize(once)), once)


def test_scales_too_small_or_too_large_for_half_precision():
    form = FORMATS["INT2"]
    tiny = np.full(128, 1e-9, np.float32)
    assert not form.dequantize(form.quantize(tiny)).any()
    huge = np.full(128, 1e30, np.float32)
    with pytest.raises(FormatError, match=r"INT2 needs a scale of 1e\+30 here, too large for FP16"):
        form.quantize(huge)
    wide = replace(form, scale_format=FP32)
    assert np.array_equal(wide.dequantize(wide.quantize(huge)), huge)


def test_what_makes_no_integer_format_is_refused():
    for bits in (1, 9):
        with pytest.raises(FormatError, match=f"2 to 8 bits, not {bits}"):
            IntegerFormat(bits)
    with pytest.raises(FormatError, match="not FP8_E4M3"):
        IntegerFormat(4, scale_format=FP8_E4M3)
    with pytest.raises(FormatError, match="multiple of 8 weights, not of 12"):
        IntegerFormat(4, group=12)
    with pytest.raises(FormatError, match="INT4 stores weights in blocks of 128, and a row of 64"):
        FORMATS["INT4"].quantize(np.zeros(64, np.float32))
    with pytest.raises(FormatError, match="INT4 cannot store infinity"):
        FORMATS["INT4"].quantize(np.full(128, np.inf, np.float32))


GRANULARITIES = [PerTensor(), PerChannel(), PerChannel(1), PerChannel(-1), PerGroup(1), PerGroup(4), PerGroup(8)]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize("shape", [(6, 8), (2, 3, 16), (5, 3, 8)])
def test_join_undoes_split_and_scales_counts(granularity, shape):
    x = np.random.default_rng(3).standard_normal(shape)
    groups = granularity.split(x)
    assert np.prod(groups.shape[:-1], dtype=int) == granularity.scales(shape)
    assert np.array_equal(granularity.join(groups, shape), x)


def test_what_shares_a_scale():
    x = np.arange(24).reshape(4, 6)
    assert PerTensor().split(x).tolist() == list(range(24))
    assert PerChannel().split(x)[1].tolist() == x[1].tolist()
    assert PerChannel(1).split(x)[2].tolist() == x[:, 2].tolist()
    assert PerGroup(3).split(x)[1].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert [str(g) for g in (PerTensor(), PerChannel(), PerGroup(3))] == ["per tensor", "per channel", "per group of 3"]


def test_granularities_that_do_not_fit_are_refused():
    x = np.zeros((4, 6), np.float32)
    with pytest.raises(FormatError, match="Groups of 4 do not divide a row of 6"):
        PerGroup(4).split(x)
    with pytest.raises(FormatError, match=r"shape \(4, 6\) has no axis 2"):
        PerChannel(2).split(x)
    with pytest.raises(FormatError, match="at least one weight, not 0"):
        PerGroup(0)


def test_values_are_equal_where_their_declarations_are():
    assert IntegerFormat(4) == FORMATS["INT4"] and hash(IntegerFormat(4)) == hash(FORMATS["INT4"])
    assert IntegerFormat(4, scale_format=FP16) != IntegerFormat(4, scale_format=BF16)
