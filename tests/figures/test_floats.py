import json

import numpy as np
import pytest

from quantlib.figures import floats, weights
from quantlib.formats import FORMATS

SIXTEEN = [FORMATS["BF16"], FORMATS["FP16"]]


def test_exponents_count_every_weight_once():
    x = np.array([0, -0.0, 1, 1.99, -2, 2**-149, np.inf, np.nan, 3e38], np.float32)
    counted = floats.exponents(x)
    table = dict(zip(counted.powers.tolist(), counted.counts.tolist(), strict=True))
    assert {k: n for k, n in table.items() if n} == {-149: 1, 0: 2, 1: 1, 127: 1}
    assert (counted.zeros, counted.strange) == (2, 2)
    assert counted.counts.sum() + counted.zeros + counted.strange == x.size


def test_exponents_of_nothing_but_zeros():
    counted = floats.exponents(np.zeros(5, np.float32))
    assert counted.counts.sum() == 0 and counted.zeros == 5


def test_kept_counts_what_rounding_did():
    x = np.array([1.0, 1 + 2**-8, 1e-9, 1e6, 0.0], np.float32)
    bf16, fp16 = floats.kept(x, SIXTEEN)
    assert (fp16.vanished, fp16.overflowed) == (1, 1)
    assert (bf16.vanished, bf16.overflowed) == (0, 0)
    assert fp16.changed == 2 and bf16.changed == 3
    assert fp16.finer == 2 and bf16.finer == 3  # FP16's grid never gets finer than 2^-24, and ends below 1e6


@pytest.mark.parametrize("fmt", SIXTEEN, ids=lambda f: f.name)
def test_relative_error_stays_within_half_a_step(fmt):
    x = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    x = x[np.abs(x) > fmt.smallest_normal]
    (one,) = floats.kept(x, [fmt])
    assert 0 < one.relative <= fmt.epsilon / 2


def test_gap_is_the_distance_to_the_next_storable_value():
    x = np.array([1.0, 1.5, -3e-5, 1e-7, 100.0], np.float32)
    for fmt in SIXTEEN:
        steps = [fmt.spacing(int(fmt.encode(v))) for v in x]
        assert floats._gap(fmt, x).tolist() == steps


def test_the_number_line_gets_every_count_and_every_format():
    counted = floats.exponents(np.array([0.5, 0.25, 0.3], np.float32))
    said = json.loads(json.dumps(floats.line_message(counted, SIXTEEN, "t", 0x3F800000, 1, [("ten", 10.0, 4)])))
    assert dict(zip(said["powers"], said["counts"], strict=True)) == {-2: 2, -1: 1}
    assert [f["name"] for f in said["formats"]] == ["BF16", "FP16"]
    assert said["presets"] == [{"label": "ten", "value": 0x41200000, "window": 4}]


def test_sample_takes_all_of_a_small_tensor_and_whole_rows_of_a_large_one():
    class Ramp:
        shape, n, nrows = (100, 8), 8, 100

        def rows(self, start=0, stop=None):
            return np.arange(800, dtype=np.float32).reshape(100, 8)[start:stop]

    assert weights.sample(Ramp()).values.tolist() == list(range(800))
    few = weights.sample(Ramp(), limit=80)
    assert (few.seen, few.total, few.whole) == (80, 800, False)
    assert few.values[0] == 0 and few.values[-1] == 799
    assert weights.sample(Ramp(), limit=3).seen == 8
    assert weights.weight_at(Ramp(), 3, 5) == 29
    assert weights.block_at(Ramp(), 4, 7).tolist() == [28, 29, 30, 31]


@pytest.mark.parametrize("text", ["", None, "xyz", "123456789", "-1", "0x1", "1 2"])
def test_text_that_is_no_bit_pattern(text):
    assert weights.parse_bits(text) is None


@pytest.mark.parametrize("bits", [0, 1, 0x7FC00000, 0x80000000, 0xFFFFFFFF, 0x3D2C0000])
def test_bit_patterns_survive_the_way_to_the_browser_and_back(bits):
    x = np.uint32(bits).view(np.float32)
    assert int(weights.fp32_bits(np.atleast_1d(x))[0]) == bits
    assert weights.parse_bits(f"{bits:08x}") == bits


def test_range_and_digits_follow_from_the_declaration():
    wide, half = FORMATS["FP32"], FORMATS["FP16"]
    assert floats.powers_of_ten(wide) == pytest.approx(83.4, abs=0.1) and floats.digits(wide) == pytest.approx(
        7.2, abs=0.1
    )
    assert floats.powers_of_ten(half) == pytest.approx(np.log10(65504 * 2**24), abs=1e-6)


@pytest.mark.parametrize(
    ("value", "name"), [(70000.0, "BF16"), (448.0, "FP8_E4M3"), (3.0, "FP4_E2M1"), (2e-9, "BF16"), (0.1, "FP16")]
)
def test_the_narrowest_format_keeps_a_value_and_no_narrower_one_does(value, name):
    offered = [FORMATS[n] for n in ("FP32", "BF16", "FP16", "FP8_E4M3", "FP4_E2M1")]
    best = floats.narrowest(value, offered)
    assert best.name == name
    assert floats.kept_in_words(value, best).endswith(".")
    assert "exactly" not in floats.kept_in_words(0.1, FORMATS["FP32"]), "0.1 cannot be stored"
    assert floats.narrowest(1e38, [FORMATS["FP16"]]) is None


def test_conclusions_compare_what_was_measured():
    x = np.random.default_rng(2).normal(0, 0.05, 4096).astype(np.float32)
    found = floats.kept(x, [FORMATS["BF16"], FORMATS["FP16"]])
    said = floats.conclusions(found, [FORMATS[n] for n in ("FP32", "BF16", "FP16", "FP8_E4M3")])
    assert (
        "For these weights FP16 is" in said[1]
        and "448" in said[2]
        and "65,504" in said[2].replace("6.55e+04", "65,504")
    )
    exact = floats.kept(x.astype(np.float16).astype(np.float32), [FORMATS["BF16"], FORMATS["FP16"]])
    assert "FP16 keeps these weights exactly" in floats.conclusions(exact, [FORMATS["FP32"]])[1]
