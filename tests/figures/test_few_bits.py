"""The first picture's message: what it says follows from the measurement."""

import pytest

from quantlib.figures import few_bits
from quantlib.lm.answering import RECIPES, STORED, Answers
from quantlib.lm.sums import Sum


def test_the_large_models_sizes_are_those_of_its_plans():
    assert few_bits.Large.read() == few_bits.planned()


def test_sizes_and_bits_fall_from_stop_to_stop():
    message = few_bits.message(Answers.read(STORED), few_bits.Large.read())
    stops = message["stops"]
    assert [stop["name"] for stop in stops] == list(RECIPES)
    for key in ("bits", "large"):
        values = [stop[key] for stop in stops]
        assert values == sorted(values, reverse=True) and len(set(values)) == len(values)
    assert len(message["sums"]) == 100 == 10 * len(message["rows"])
    assert all(len(stop["answers"]) == 100 and len(stop["weights"]) == 32 for stop in stops)


@pytest.mark.parametrize(
    ("written", "read"),
    [("64", "46"), ("0", "0"), ("00", "00"), ("0001", "1,000"), ("", ""), ("10", "01"), ("4=", "=4")],
)
def test_an_answer_is_turned_round(written, read):
    assert few_bits.read(written) == read


def test_a_sum_is_written_as_people_write_it():
    assert few_bits.written(Sum(1234, "x", 5)) == "1,234 × 5"
