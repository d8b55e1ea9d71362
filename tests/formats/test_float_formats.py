"""Float formats against ml_dtypes and numpy: every pattern, and a million numbers."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.errors import FormatError
from quantlib.formats import FORMATS, FloatFormat, FloatParts

FLOATS = [form for form in FORMATS.values() if form.kind == "float"]
SMALL = [form for form in FLOATS if form.bits <= 16]


def declared(name: str, exponent: int, fraction: int, specials: str) -> FloatFormat:
    """A format of ml_dtypes that the catalogue need not have: one declaration must be enough."""
    dtype = np.dtype(getattr(ml_dtypes, name))
    return FloatFormat(name, exponent, fraction, "Declared by a test.", dtype=dtype, specials=specials)


OTHERS = [
    declared("float8_e5m2", 5, 2, "ieee"),
    declared("float8_e4m3", 4, 3, "ieee"),
    declared("float8_e3m4", 3, 4, "ieee"),
    declared("float8_e4m3fn", 4, 3, "nan"),
    declared("float6_e3m2fn", 3, 2, "none"),
    declared("float6_e2m3fn", 2, 3, "none"),
    declared("float4_e2m1fn", 2, 1, "none"),
]
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
    assert same(form.decode(every), every.view(form.dtype).astype(np.float32))


@pytest.mark.parametrize("form", SMALL + OTHERS, **named)
def test_encode_undoes_decode_on_every_pattern(form):
    every = patterns(form)
    value = form.decode(every)
    keep = ~np.isnan(value)
    assert np.array_equal(form.encode(value)[keep], every[keep])
    assert np.isnan(form.decode(form.encode(value[~keep]))).all()


@pytest.mark.parametrize("form", FLOATS + OTHERS, **named)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_encode_of_a_million_numbers(form):
    x = numbers()
    if form.specials == "none":
        x = x[~np.isnan(x)]  # no NaN to give back
    if form.name == "FP32":
        assert same(form.decode(form.encode(x)), x)
    else:
        assert same(form.encode(x).view(form.dtype).astype(np.float32), x.astype(form.dtype).astype(np.float32))


@pytest.mark.parametrize("form", FLOATS, **named)
def test_rows_hold_the_same_bits_as_encode(form):
    x = numbers()[: 900_000 // 8 * 8].reshape(-1, 4, 8)
    data = form.quantize(x)
    assert data.dtype == np.uint8 and data.shape == (*x.shape[:-1], form.row_bytes(8))
    value = form.dequantize(data)
    assert value.shape == x.shape
    assert same(value, form.decode(form.encode(x)))
    number = ~np.isnan(x)
    assert np.array_equal(data.view(form.storage)[number], form.encode(x)[number])


@pytest.mark.parametrize("form", FLOATS, **named)
def test_limits_are_those_of_the_type(form):
    info = ml_dtypes.finfo(form.dtype)
    assert form.max == float(info.max)
    assert form.smallest_normal == float(info.smallest_normal)
    assert form.smallest_subnormal == float(info.smallest_subnormal)
    assert form.epsilon == float(info.eps)
    assert form.bits == info.bits == 8 * form.nbytes == form.bpw


@pytest.mark.parametrize("form", FLOATS, **named)
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
    bits = form.encode(x)
    if form.kind_of(bits) != "infinity":
        assert abs(float(form.decode(bits)) - x) <= form.spacing(bits) / 2
        magnitude = int(bits) & (1 << form.bits - 1) - 1
        larger = float(form.decode(magnitude + 1))
        assert np.isinf(larger) or larger - float(form.decode(magnitude)) == form.spacing(bits)


def test_wrong_input_is_refused():
    form = FORMATS["FP16"]
    with pytest.raises(FormatError, match="Only floating-point numbers"):
        form.quantize(np.arange(4))
    with pytest.raises(FormatError, match="not a whole number of FP16 units"):
        form.dequantize(np.zeros(5, np.uint8))
    with pytest.raises(FormatError, match="hold 2 weights each, not 3"):
        form.dequantize(np.zeros(4, np.uint8), 3)
