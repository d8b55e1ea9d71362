"""The browser's float arithmetic against the catalogue's formats, which other tests hold against hardware."""

import javascript
import numpy as np
import pytest

from quantlib.formats import FORMATS

WIDE = [FORMATS[name] for name in ("FP32", "BF16", "FP16")]
FLOATS = [f for f in FORMATS.values() if f.kind == "float" and f.signed]

HARNESS = """
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const {format, wide, patterns, bits} = JSON.parse(Buffer.concat(chunks));
const view = new DataView(new ArrayBuffer(8));
const asDouble = (low, high) => { view.setUint32(0, high); view.setUint32(4, low); return view.getFloat64(0); };
console.log(JSON.stringify({
  encoded: patterns.map(([low, high]) => encode(format, asDouble(low, high))),
  truncated: patterns.map(([low, high]) => changedByRounding(format, asDouble(low, high))),
  kinds: bits.map((b) => kindOf(format, b)),
  fields: bits.map((b) => Object.values(fieldsOf(format, b))),
  widened: bits.map((b) => convert(format, wide, b)),
  neighbours: bits.map((b) => { const n = neighbours(format, b); return [n.below, n.above]; }),
  nine: bits.map((b) => encode(format, Number(nine(decode(format, b)).replace("−", "-").replace(/×10(.*)/, (_, p) =>
    "e" + [...p].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(c) - 1).map((d) => (d < 0 ? "-" : d)).join(""))))),
}));
"""


def run(fmt, doubles: np.ndarray, bits: np.ndarray) -> dict:
    from pages.ui.component import bundle

    halves = np.ascontiguousarray(doubles, "<f8").view("<u4").reshape(-1, 2).tolist()
    told = {
        "format": {"e": fmt.exponent_bits, "m": fmt.fraction_bits, "specials": fmt.specials},
        "wide": {"e": 8, "m": 23},
        "patterns": halves,
        "bits": bits.tolist(),
    }
    script = bundle("float_math.js") + HARNESS
    return javascript.said(script, told)


def edge_bits(fmt) -> np.ndarray:
    """Both zeros, both ends of every kind, and a spread of everything between."""
    top = fmt.max
    last = int(fmt.encode(np.inf if fmt.specials == "ieee" else top))
    ends = [
        0,
        1,
        2,
        int(fmt.encode(fmt.smallest_normal)) - 1,
        int(fmt.encode(fmt.smallest_normal)),
        int(fmt.encode(top)),
    ]
    ends += [int(fmt.encode(1.0)) - 1, int(fmt.encode(1.0)), last]
    spread = np.random.default_rng(0).integers(0, last, 300)
    magnitude = np.concatenate([ends, spread])
    return np.concatenate([magnitude, magnitude + 2 ** (fmt.bits - 1)]).astype(np.uint32)


def edge_doubles(fmt) -> np.ndarray:
    """The format's values, the ties between them, and what lies a hair to either side of a tie."""
    magnitude = edge_bits(fmt).astype(np.int64)
    magnitude = magnitude[magnitude < int(fmt.encode(fmt.max))]
    low, high = (fmt.decode(m).astype(np.float64) for m in (magnitude, magnitude + 1))
    tie = (low + high) / 2
    last = fmt.spacing(int(fmt.encode(fmt.max)))
    over = fmt.max + last * np.array([0.25, 0.5, 0.75, 1.0, 1e6])
    hairs = [np.nextafter(tie, 0), tie, np.nextafter(tie, np.inf), np.nextafter(over, 0)]
    doubles = np.concatenate([low, *hairs, over, [0.0, 5e-324, 1e-310, 1e308, np.inf]])
    return np.concatenate([doubles, -doubles])


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_encoding_rounds_as_the_format_does(fmt):
    doubles = edge_doubles(fmt)
    assert run(fmt, doubles, np.array([0]))["encoded"] == fmt.encode(doubles).tolist()


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_decoding_widens_exactly(fmt):
    bits = edge_bits(fmt)
    assert run(fmt, np.array([0.0]), bits)["widened"] == fmt.decode(bits).view(np.uint32).tolist()


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_fields_and_kinds(fmt):
    nans = [n for part in fmt.nans for n in (part[0], part[-1])]
    bits = np.concatenate([edge_bits(fmt), nans]).astype(np.uint32)
    said = run(fmt, np.array([0.0]), bits)
    assert said["kinds"] == [fmt.kind_of(int(b)) for b in bits]
    parts = [fmt.fields(int(b)) for b in bits]
    assert said["fields"] == [[p.sign, p.exponent, p.fraction] for p in parts]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_neighbours(fmt):
    bits = np.array([b for b in edge_bits(fmt).tolist() if fmt.kind_of(b) != "infinity"], np.uint32)
    said = run(fmt, np.array([0.0]), bits)["neighbours"]
    for b, pair in zip(bits, said, strict=True):
        at = float(fmt.decode(b))
        values = [at if n is None else float(fmt.decode(n)) for n in pair]  # an end of the range is its own neighbour
        assert values == [float(fmt.decode(n)) for n in fmt.neighbours(int(b))]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_nine_digits_lead_back(fmt):
    bits = np.array([b for b in edge_bits(fmt).tolist() if fmt.kind_of(b) in ("normal", "subnormal")], np.uint32)
    assert run(fmt, np.array([0.0]), bits)["nine"] == bits.tolist()


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_marked_bits_are_those_that_cutting_would_leave_otherwise(fmt):
    doubles = edge_doubles(fmt)
    doubles = doubles[np.abs(doubles) <= fmt.max]
    cut = np.where(
        np.abs(fmt.decode(fmt.encode(doubles)).astype(float)) > np.abs(doubles), 1, 0
    )  # rounded away from zero
    rounded = fmt.encode(doubles).astype(np.int64)
    assert run(fmt, doubles, np.array([0]))["truncated"] == (rounded ^ (rounded - cut)).tolist()


def test_nan_stays_nan_with_its_sign_in_every_direction():
    for fmt in WIDE:
        top = int(fmt.encode(np.inf))
        bits = np.array([top + 1, 2 ** (fmt.bits - 1) + top + 1], np.uint32)
        wide = np.array(run(fmt, np.array([np.nan]), bits)["widened"], np.uint32)
        assert np.isnan(wide.view(np.float32)).all()
        assert (wide >> 31).tolist() == [0, 1]


@pytest.mark.parametrize("fmt", FLOATS, ids=lambda f: f.name)
def test_nan_and_infinities_become_what_the_format_has_for_them(fmt):
    doubles = np.array([np.nan, np.inf, -np.inf])
    assert run(fmt, doubles, np.array([0]))["encoded"] == fmt.encode(doubles).tolist()
