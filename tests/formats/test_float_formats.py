"""Float formats against ml_dtypes and numpy: every pattern, and a million numbers."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, FloatFormat, FloatParts

FLOATS = [form for form in FORMATS.values() if form.kind == "float"]
SMALL = [form for form in FLOATS if form.bits <= 16]  # all of them have a type in numpy or ml_dtypes


def declared(name: str, exponent: int, fraction: int) -> FloatFormat:
    """A format of ml_dtypes that the catalogue does not have: one declaration must be enough."""
    dtype = np.dtype(getattr(ml_dtypes, name))
    return FloatFormat(name, exponent, fraction, "Declared by a test.", dtype=dtype)


OTHERS = [declared("float8_e4m3", 4, 3), declared("float8_e3m4", 3, 4)]
TYPED = [form for form in FLOATS + OTHERS if form.name != "TF32"]


def oracle(form: FloatFormat) -> np.dtype:
    """The type of numpy or ml_dtypes that has the same numbers."""
    return form.dtype or {"FP8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu)}[form.name]


named = {"ids": lambda form: form.name}


def patterns(form: FloatFormat) -> np.ndarray:
    return np.arange(1 << form.bits).astype(form.storage)


def numbers() -> np.ndarray:
    """A million float32: random patterns (subnormals, infinities, NaN among them), ordinary sizes, and exact ties."""
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 1 << 32, 600_000, np.uint32).view(np.float32)
    ordinary = rng.standard_normal(300_000).astype(np.float32)
    ties = rng.integers(0, 1 << 16, 50_000, np.uint32) << 16
    ties_bf16 = (ties | 0x8000).view(np.float32)
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties_fp16 = (finite[1:] + finite[:-1]) / 2
    edges = [0, -0.0, np.inf, -np.inf, np.nan, 65504, 65519.996, 65520, 3.4028235e38, 3.3961775e38]
    return np.concatenate([anything, ordinary, ties_bf16, ties_fp16, -ties_fp16, np.float32(edges)])


def same(ours: np.ndarray, expected: np.ndarray) -> bool:
    """Equal bit for bit, any NaN equal to any other."""
    bits = f"u{ours.dtype.itemsize}"
    return bool(((ours.view(bits) == expected.view(bits)) | (np.isnan(ours) & np.isnan(expected))).all())


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_decode_of_every_pattern(form):
    every = patterns(form)
    assert same(form.decode(every), every.view(oracle(form)).astype(np.float32))


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_encode_undoes_decode_on_every_pattern(form):
    every = patterns(form)
    value = form.decode(every)
    keep = ~np.isnan(value)
    assert np.array_equal(form.encode(value)[keep], every[keep])
    assert np.isnan(form.decode(form.encode(value[~keep]))).all()


def expected_bits(form: FloatFormat, x: np.ndarray) -> np.ndarray:
    """Bits by the oracle: ml_dtypes or numpy; for TF32 rounding of an FP32's bits to their upper 19, ties to even."""
    if form.name != "TF32":
        bits = x.astype(oracle(form)).view(form.storage)
        # ml_dtypes rounds everything between its two smallest numbers up; below the middle the smaller is nearer.
        return bits - ((x > 2.0**-127) & (x < 1.5 * 2.0**-127)) if form.name == "FP8_E8M0" else bits
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0xFFF) + (bits >> 13 & 1)) >> 13
    return np.where(np.isnan(x), np.where(np.signbit(x), 0x7FE00, 0x3FE00), rounded).astype(np.uint32)


def check_encode(form: FloatFormat, x: np.ndarray) -> None:
    ours, expected = form.encode(x), expected_bits(form, x)
    if form.bits > 8:  # which NaN it is differs between numpy and us
        expected = np.where(np.isnan(x), ours, expected)
        assert np.isnan(form.decode(ours[np.isnan(x)])).all()
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize("form", FLOATS + OTHERS, **named)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_encode_of_a_million_numbers(form):
    check_encode(form, numbers())


@pytest.mark.parametrize("form", FLOATS + OTHERS, **named)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_encode_at_every_tie_and_beside_it(form):
    """Halfway between any two neighbours (of every thousandth pair in wide formats), and one ulp of FP32 aside."""
    if form.bits <= 16:
        ordered = form.numbers()
    else:
        magnitude = np.arange(0, form.infinities[0], 65_521 if form.name == "FP32" else 7).astype(form.storage)
        ordered = np.unique(form.decode(np.concatenate([magnitude, magnitude + 1])))
    middle = ((ordered[1:].astype(float) + ordered[:-1]) / 2).astype(np.float32)
    ends = np.float32([form.max, form.max * (1 + 2.0 ** -(form.fraction_bits + 2)), np.inf])
    x = np.concatenate([middle, ordered, ends, -ends])
    check_encode(form, np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))]))


def test_wide_numbers_are_rounded_once():
    """Just above a tie in double precision: by way of FP32 it would fall on the tie and then to the even side."""
    form = FORMATS["FP8_E4M3"]
    assert float(form.decode(form.encode(1.0625 + 2.0**-40))) == 1.125
    assert float(form.decode(form.encode(1.0625))) == 1.0


@pytest.mark.parametrize("form", FLOATS, **named)
@pytest.mark.filterwarnings("ignore:invalid")
def test_rows_hold_the_same_bits_as_encode(form):
    x = numbers()[: 900_000 // 8 * 8].reshape(-1, 4, 8)
    if form.specials == "none":
        x = np.where(np.isnan(x), np.float32(0.3), x)
    data = form.quantize(x)
    assert data.dtype == np.uint8 and data.shape == (*x.shape[:-1], form.row_bytes(8))
    value = form.dequantize(data)
    assert value.shape == x.shape
    assert same(value, form.decode(form.encode(x)))
    fields = form.layout.unpack(data.reshape(*x.shape[:-1], -1, form.nbytes))  # {field: (..., units, values)}
    sign = fields.get("sign", np.int64(0)) * np.int64(1 << (form.bits - 1))
    bits = sign + fields["exponent"].astype(np.int64) * (1 << form.fraction_bits) + fields.get("fraction", 0)
    number = ~np.isnan(value)
    assert np.array_equal(bits.reshape(x.shape)[number], form.encode(x)[number])


@pytest.mark.parametrize("form", TYPED, **named)
def test_limits_are_those_of_the_type(form):
    info = ml_dtypes.finfo(oracle(form))
    assert form.max == float(info.max)
    assert form.smallest_normal == float(info.smallest_normal)
    assert form.smallest_subnormal == float(info.smallest_subnormal)
    assert form.epsilon == float(info.eps)
    assert form.bits == info.bits == form.bpw == 8 * form.nbytes / form.values


def test_limits_of_tf32():
    form = FORMATS["TF32"]
    assert (form.bits, form.nbytes, form.bpw) == (19, 4, 32)  # nothing is saved in memory
    assert form.max == (2 - 2.0**-10) * 2.0**127
    assert (form.smallest_normal, form.epsilon) == (2.0**-126, 2.0**-10)
    assert same(form.dequantize(np.full(4, 0xFF, np.uint8)), np.float32([np.nan]))
    x = np.float32([1.5, -3.25, 1e30])
    assert np.array_equal(form.quantize(x).view(np.float32), form.dequantize(form.quantize(x)))  # an FP32 as it is


@pytest.mark.parametrize("form", SMALL, **named)
def test_numbers_are_all_finite_values_in_order(form):
    value = patterns(form).view(oracle(form)).astype(np.float32)
    assert np.array_equal(form.numbers(), np.unique(value[np.isfinite(value)]))
    assert len(form.numbers()) == form.finite_count


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_infinities_and_nans_are_the_patterns_that_decode_to_them(form):
    value = patterns(form).view(oracle(form)).astype(np.float32)
    assert list(form.infinities) == np.nonzero(np.isinf(value))[0].tolist()
    assert [bits for part in form.nans for bits in part] == np.nonzero(np.isnan(value))[0].tolist()


def test_known_formats_have_their_known_sizes():
    """OCP 8-bit Floating Point Specification, table 1, and OCP Microscaling Formats, tables 1 and 5."""
    assert [FORMATS[name].max for name in ("FP8_E4M3", "FP8_E5M2", "FP6_E2M3", "FP6_E3M2", "FP4_E2M1")] == [
        448, 57344, 7.5, 28, 6,
    ]  # fmt: skip
    assert FORMATS["FP4_E2M1"].numbers()[7:].tolist() == [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    assert FORMATS["FP8_E8M0"].numbers()[[0, 127, -1]].tolist() == [2.0**-127, 1, 2.0**127]
    assert {name: FORMATS[name].nans for name in ("FP8_E4M3", "FP8_E8M0", "FP4_E2M1")} == {
        "FP8_E4M3": (range(0x7F, 0x80), range(0xFF, 0x100)),
        "FP8_E8M0": (range(0xFF, 0x100),),
        "FP4_E2M1": (),
    }
    with pytest.raises(FormatError, match="FP32 has 4,278,190,079 numbers, too many to list"):
        FORMATS["FP32"].numbers()


@pytest.mark.parametrize("source", SMALL, **named)
@pytest.mark.parametrize("target", FLOATS, **named)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_conversion_rounds_once(source, target):
    bits = patterns(source)
    value = bits.view(oracle(source)).astype(np.float32)
    number = ~np.isnan(value)
    assert np.array_equal(source.convert(bits, target)[number], expected_bits(target, value)[number])
    if target.finite_count > source.finite_count and target.max >= source.max and source.signed:
        back = target.convert(source.convert(bits, target), source)
        finite = np.isfinite(value) & (target.smallest_subnormal <= source.smallest_subnormal)
        finite &= target.fraction_bits >= source.fraction_bits
        assert np.array_equal(back[finite], bits[finite])


def test_small_floats_are_packed_from_the_lowest_bits():
    four, six = FORMATS["FP4_E2M1"], FORMATS["FP6_E2M3"]
    assert four.quantize(np.float32([0.5, -6])).tolist() == [0xF1]
    codes = [0b000001, 0b100010, 0b111111, 0b010000]
    word = sum(code << 6 * i for i, code in enumerate(codes))
    assert six.quantize(six.decode(np.array(codes))).tobytes() == word.to_bytes(3, "little")
    with pytest.raises(FormatError, match="FP6_E2M3 stores weights in blocks of 4, and a row of 6"):
        six.quantize(np.zeros(6, np.float32))
    with pytest.raises(FormatError, match=r"FP4_E2M1 cannot store NaN, found at index \(1, 2\)"):
        four.quantize(np.float32([[0, 0, 0, 0], [0, 0, np.nan, 0]]))
    assert four.dequantize(four.quantize(np.float32([np.inf, -np.inf]))).tolist() == [6, -6]


@pytest.mark.parametrize("form", [form for form in FLOATS if form.signed], **named)
def test_fields_of_one_and_of_a_negative_number(form):
    assert form.fields(form.encode(1.0)) == FloatParts(0, form.bias, 0)
    assert form.fields(form.encode(-1.5)) == FloatParts(1, form.bias, 1 << (form.fraction_bits - 1))
    assert float(form.decode(form.encode(-1.5))) == -1.5


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_kind_of_every_pattern(form):
    for bits, value in zip(patterns(form).tolist(), form.decode(patterns(form)).astype(float), strict=True):
        expected = (
            "nan" if np.isnan(value)
            else "infinity" if np.isinf(value)
            else "zero" if value == 0
            else "normal" if abs(value) >= form.smallest_normal
            else "subnormal"
        )  # fmt: skip
        assert form.kind_of(bits) == expected


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_neighbours_are_the_adjacent_values(form):
    value = form.decode(patterns(form)).astype(float)
    ordered = np.unique(value[~np.isnan(value)])
    for bits in patterns(form)[:: max(1, (1 << form.bits) >> 10)].tolist():
        below, above = (float(form.decode(near)) for near in form.neighbours(bits))
        if np.isnan(value[bits]):
            assert np.isnan(below) and np.isnan(above)
            continue
        place = int(np.searchsorted(ordered, value[bits]))
        assert below == ordered[max(place - 1, 0)]
        assert above == ordered[min(place + 1, len(ordered) - 1)]


@given(st.integers(0, (1 << 32) - 1))
def test_neighbours_of_single_precision_are_nextafter(bits):
    form = FORMATS["FP32"]
    value = np.uint32(bits).view(np.float32)
    below, above = (np.uint32(near).view(np.float32) for near in form.neighbours(bits))
    for near, end in ((below, -np.inf), (above, np.inf)):
        expected = np.nextafter(value, np.float32(end))
        assert near == expected or (np.isnan(near) and np.isnan(expected))


@pytest.mark.parametrize("form", FLOATS, **named)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_error_is_at_most_half_the_spacing(form, x):
    if not form.signed:
        x = max(abs(x), form.smallest_normal)
    x = min(max(x, -form.max), form.max)
    bits = form.encode(x)
    assert abs(float(form.decode(bits)) - x) <= form.spacing(bits) / 2
    size = abs(float(form.decode(bits)))
    larger = float(form.decode(int(form.encode(size)) + 1))
    assert size == form.max or larger - size == form.spacing(bits)


def test_wrong_input_is_refused():
    form = FORMATS["FP16"]
    with pytest.raises(FormatError, match="Only floating-point numbers"):
        form.quantize(np.arange(4))
    with pytest.raises(FormatError, match="not a whole number of FP16 units"):
        form.dequantize(np.zeros(5, np.uint8))
    with pytest.raises(FormatError, match="hold 2 weights each, not 3"):
        form.dequantize(np.zeros(4, np.uint8), 3)
