"""Ten claims, each with a verdict and with numbers that are found anew, not written down."""

import re

import pytest

import quantlib as ql
from quantlib.figures import claims
from quantlib.figures.claims import CLAIMS


@pytest.fixture(scope="module")
def checkpoint(demo_model):
    return ql.open_checkpoint(demo_model)


def test_there_are_ten_and_not_all_are_false():
    assert len(CLAIMS) == len({c.key for c in CLAIMS}) == 10
    assert {c.verdict for c in CLAIMS} == set(claims.VERDICTS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.key)
def test_every_claim_has_numbers_and_a_source(checkpoint, claim):
    found = claim.evidence(checkpoint)
    assert re.search(r"\d", found.words)
    assert found.source
    assert "nan" not in found.words


def test_two_bits_are_more_than_two(checkpoint):
    words = claims.q2_k(checkpoint).words
    assert "**2.625**" in words
    assert "**3.16**" in words


def test_a_bit_costs_six_decibels(checkpoint):
    cost = float(re.search(r"\*\*([\d.]+) dB", claims.six_decibels(checkpoint).words)[1])
    assert cost == pytest.approx(6.02, abs=0.8)  # few levels cost more than the law of many


def test_letters_add_tensors(checkpoint):
    bits = [float(b) for b in re.findall(r"([\d.]+) bits(?: per weight|;)", claims.letters(checkpoint).words)]
    assert bits == sorted(set(bits))
    assert len(bits) == 3


def test_the_score_counts_what_was_said():
    assert claims.score({"bits": claims.FALSE, "letters": claims.TRUE, "faster": None}) == (1, 2)
