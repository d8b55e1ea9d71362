"""Round-to-nearest: the bounds it must keep, and the codes of compressed-tensors and of bitsandbytes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, IntegerFormat, PerChannel, PerGroup, PerTensor
from quantlib.formats.floats import FP32
from quantlib.methods.rtn import AbsMax, LeastSquares, Percentile, round_to_nearest

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from drawn import drawn

GRIDS = [IntegerFormat(b, **kind) for b in (2, 3, 4, 8) for kind in ({}, {"restricted": False}, {"symmetric": False})]
GRANULARITIES = [PerTensor(), PerChannel(), PerChannel(1), PerGroup(32)]
CHOICES = [AbsMax(), Percentile(99), LeastSquares(steps=10)]
every_grid = pytest.mark.parametrize("form", GRIDS, ids=lambda form: form.name)
every_granularity = pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
every_choice = pytest.mark.parametrize("choice", CHOICES, ids=str)


@pytest.fixture(scope="module")
def golden():
    """Outputs of compressed-tensors 0.20, float32 scales, groups of 128 or whole rows."""
    with np.load(Path(__file__).parents[1] / "golden" / "methods" / "compressed_tensors.npz") as data:
        return dict(data)


def heavy_tailed(shape=(16, 128)) -> np.ndarray:
    return (np.random.default_rng(0).standard_t(3, shape) * 0.02).astype(np.float32)


@every_grid
@every_granularity
@every_choice
def test_result_is_consistent(form, granularity, choice):
    x = heavy_tailed()
    done = round_to_nearest(x, form, granularity, choice)
    assert done.codes.shape == done.decoded.shape == x.shape
    assert done.scales.size == done.zeros.size == granularity.scales(x.shape)
    assert form.lowest <= done.codes.min() and done.codes.max() <= form.highest
    codes = granularity.split(done.codes)
    decoded = granularity.join(form.value(codes, done.scales[..., None], done.zeros[..., None]), x.shape)
    assert np.array_equal(decoded, done.decoded)
    assert done.squared_error == pytest.approx(float(np.square(x.astype(float) - done.decoded).sum()), rel=1e-12)
    assert done.bpw == form.bits + (16 + 8 * (not form.symmetric)) * granularity.scales(x.shape) / x.size
    trace = done.trace
    assert trace.scales.shape == trace.errors.shape == (len(trace.errors), *done.scales.shape)
    assert np.array_equal(np.take_along_axis(trace.scales, trace.winner[None], 0)[0], done.scales)


@every_grid
@every_granularity
@settings(max_examples=30)
@given(x=drawn(4, 64))
def test_error_is_at_most_half_a_scale(form, granularity, x):
    done = round_to_nearest(x, replace(form, scale_format=FP32), granularity)
    error = granularity.split(np.abs(done.decoded.astype(float) - x))
    largest = np.abs(granularity.split(x)).max(-1, keepdims=True)
    assert (error <= done.scales[..., None] / 2 + 2.0**-21 * largest).all()
    assert not done.decoded[x == 0].any()


@every_grid
@every_granularity
@settings(max_examples=30)
@given(x=drawn(4, 64))
def test_least_squares_is_never_worse_than_covering_everything(form, granularity, x):
    covering = round_to_nearest(x, form, granularity)
    searched = round_to_nearest(x, form, granularity, LeastSquares(steps=6, smallest=0.4))
    assert len(searched.trace.errors) == 7
    assert np.array_equal(searched.trace.errors[0], covering.trace.errors[0])
    assert (searched.trace.errors.min(0) <= covering.trace.errors[0]).all()
    errors = [float(np.square(x.astype(float) - done.decoded).sum()) for done in (searched, covering)]
    assert errors[0] <= errors[1] * (1 + 1e-12)


@every_grid
@settings(max_examples=30)
@given(x=drawn(4, 64))
def test_smaller_groups_never_have_larger_scales(form, x):
    scales = [round_to_nearest(x, form, g).scales for g in (PerTensor(), PerChannel(), PerGroup(32), PerGroup(8))]
    assert (scales[1] <= scales[0]).all()
    assert (scales[2] <= scales[1][:, None]).all()
    assert (scales[3].reshape(4, 2, 4) <= scales[2][:, :, None]).all()


def test_an_outlier_ruins_a_row_but_only_one_group():
    x = np.random.default_rng(1).standard_normal((4, 256)).astype(np.float32)
    x[1, 7] = 60
    form = IntegerFormat(4)
    by_channel, by_group = (round_to_nearest(x, form, g) for g in (PerChannel(), PerGroup(32)))
    spoiled = np.square(x - by_channel.decoded)[1]
    assert not by_channel.decoded[1, x[1] < 4].any()  # everything but the outlier became 0
    assert np.square(x - by_group.decoded)[1, 32:].sum() < spoiled[32:].sum() / 50
    searched = round_to_nearest(x, form, PerChannel(), LeastSquares())
    assert searched.trace.winner.shape == (4,)


def test_percentile_clips_what_lies_outside():
    x = np.arange(-100, 101, dtype=np.float32)[None]
    done = round_to_nearest(x, IntegerFormat(8), PerTensor(), Percentile(90))
    assert float(done.scales) == float(np.float16(90 / 127))  # the 90th percentile of |x| is 90
    assert done.codes.max() == 127 and done.decoded.max() < 91
    shifted = round_to_nearest(x + 100, IntegerFormat(8, symmetric=False), PerTensor(), Percentile(90))
    assert float(shifted.scales) == pytest.approx(190 / 255, rel=1e-3)  # 0 must stay, whatever the percentile
    assert np.array_equal(
        round_to_nearest(x, IntegerFormat(8), PerTensor(), Percentile(100)).codes,
        round_to_nearest(x, IntegerFormat(8), PerTensor()).codes,
    )


@pytest.mark.parametrize("name", ["INT8", "INT5", "INT2"])
def test_stored_rows_are_round_to_nearest_per_group(name):
    x = heavy_tailed((8, 512))
    form = FORMATS[name]
    done = round_to_nearest(x, form)
    assert np.array_equal(form.dequantize(form.quantize(x)), done.decoded)
    assert form.bpw == done.bpw


def codes_of(packed: np.ndarray, bits: int, n: int) -> np.ndarray:
    """Codes of pack-quantized rows: int32 words, codes from the lowest bit on, 2^(bits−1) added."""
    raw = np.unpackbits(np.ascontiguousarray(packed).view(np.uint8), axis=-1, bitorder="little")
    return raw[:, : n * bits].reshape(len(packed), n, bits) @ (1 << np.arange(bits)) - (1 << bits - 1)


@pytest.mark.parametrize(("name", "bits"), [("w4a16_sym", 4), ("w8a16_sym", 8), ("w3a16_sym", 3), ("w4a16_asym", 4)])
def test_groups_as_compressed_tensors(golden, name, bits):
    form = IntegerFormat(bits, symmetric=not name.endswith("asym"), restricted=False, scale_format=FP32)
    done = round_to_nearest(golden["W"], form)
    used = done.scales > 0  # a group of zeros has the least float32 scale there, and 0 here
    assert (~used).sum() == 1
    assert np.array_equal(done.scales[used], golden[f"{name}_scale"][used])
    shift = 0 if form.symmetric else -8  # its asymmetric codes are signed
    theirs = codes_of(golden[f"{name}_packed"], bits, 512).reshape(32, 4, 128)
    assert np.array_equal(done.codes.reshape(32, 4, 128)[used] + shift, theirs[used])
    assert np.array_equal(done.decoded[:4], golden[f"{name}_decompressed"])
    if not form.symmetric:
        zeros = codes_of(golden["w4a16_asym_zero"].T, 4, 32).T
        assert np.array_equal(done.zeros[used] + shift, zeros[used])


def test_channels_as_compressed_tensors(golden):
    done = round_to_nearest(golden["W"], IntegerFormat(8, restricted=False, scale_format=FP32), PerChannel())
    assert np.array_equal(done.scales[:, None], golden["int8_scale"])
    assert np.array_equal(done.codes, golden["int8_weight"])


def test_eight_bit_floats_as_compressed_tensors(golden):
    """FP8 rows: scale = max|w| / 448, and every weight divided by it rounds as our FP8_E4M3 does."""
    x, form = golden["W"], FORMATS["FP8_E4M3"]
    scale = np.abs(x).max(-1, keepdims=True) / np.float32(form.max)
    assert np.array_equal(scale, golden["fp8_scale"])
    assert np.array_equal(form.encode(x / scale), golden["fp8_weight"])


def test_what_cannot_be_rounded_is_refused():
    form = IntegerFormat(4)
    with pytest.raises(FormatError, match=r"INT4 cannot store NaN, found at index \(1, 0\)"):
        round_to_nearest(np.float32([[0, 1], [np.nan, 1]]), form, PerTensor())
    with pytest.raises(FormatError, match="no weights"):
        round_to_nearest(np.zeros((0, 4), np.float32), form, PerTensor())
    with pytest.raises(FormatError, match="Groups of 128 do not divide a row of 96"):
        round_to_nearest(np.zeros((2, 96), np.float32), form)
    with pytest.raises(FormatError, match="at most 100, not 101"):
        Percentile(101)
    with pytest.raises(FormatError, match="at least one range"):
        LeastSquares(steps=0)
