"""Claims, each with a verdict and with numbers that are found anew, not written down; true and false in balance."""

import re
from collections import Counter
from itertools import groupby

import pytest

import quantlib as ql
from pages.ui import menu
from quantlib.figures import claims, evidence
from quantlib.figures.bars import Bar, bars_html
from quantlib.figures.claims import ACCOUNT, CLAIMS
from quantlib.fit.published import LLAMA_3_8B_BPW, SPEEDS


@pytest.fixture(scope="module")
def checkpoint(demo_model):
    return ql.open_checkpoint(demo_model)


def test_true_and_false_are_in_balance():
    counts = Counter(claim.verdict for claim in CLAIMS)
    assert len(CLAIMS) == len({c.key for c in CLAIMS}) == len({c.evidence for c in CLAIMS})
    assert set(counts) == set(claims.VERDICTS)
    assert abs(counts[claims.TRUE] - counts[claims.FALSE]) <= 1
    runs = [len(list(group)) for _, group in groupby(claim.verdict for claim in CLAIMS)]
    assert max(runs) <= 2, "nobody guesses from what came before"


def test_every_claim_of_the_usual_account_has_its_place():
    files = {entry.file.removesuffix(".py") for entry in menu.CHAPTERS} | {"machine"}
    assert len(ACCOUNT) == len({claim.text for claim in ACCOUNT}) == 19
    assert all(claim.chapters and set(claim.chapters) <= files and claim.verdict for claim in ACCOUNT)
    assert {claim.key for claim in ACCOUNT if claim.key} <= {claim.key for claim in CLAIMS}
    assert all(("claims" in claim.chapters) <= bool(claim.key) for claim in ACCOUNT)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.key)
def test_every_claim_has_numbers_and_a_source(checkpoint, claim):
    found = claim.evidence(checkpoint)
    assert re.search(r"\d", found.words)
    assert found.source
    assert found.picture.count("aria-label") == 1
    assert "nan" not in found.words


def test_two_bits_are_more_than_two(checkpoint):
    words = evidence.q2_k(checkpoint).words
    assert "**2.625**" in words
    assert "**3.16**" in words


def test_a_bit_costs_six_decibels(checkpoint):
    cost = float(re.search(r"\*\*([\d.]+) dB", evidence.six_decibels(checkpoint).words)[1])
    assert cost == pytest.approx(6.02, abs=0.8)  # few levels cost more than the law of many


def test_letters_add_tensors(checkpoint):
    bits = [float(b) for b in re.findall(r"([\d.]+) bits(?: per weight|;)", evidence.letters(checkpoint).words)]
    assert bits == sorted(set(bits))
    assert len(bits) == 3


def test_writing_hardly_gets_faster_below_four_bits(checkpoint):
    found = evidence.faster(checkpoint)
    assert set(SPEEDS) == set(LLAMA_3_8B_BPW), "the whole table of its source"
    assert found.picture.count("bars-row") == len(SPEEDS)
    writing = {name: write for name, (_, write) in SPEEDS.items()}
    low = sorted(write for name, write in writing.items() if LLAMA_3_8B_BPW[name] < 4)
    assert writing["Q4_K_M"] > 2 * writing["F16"]
    assert low[len(low) // 2] < 1.1 * writing["Q4_K_M"]
    assert "Below four bits it hardly gets faster" in found.words


def test_lessons_count_the_claims():
    assert f"{sum(c.verdict == claims.TRUE for c in CLAIMS)} are true" in claims.lessons()[0]


def test_bars_are_to_scale():
    widths = re.findall(r"width:([\d.]+)%", bars_html([Bar("a", 1, "1"), Bar("<b>", 4, "4")], "x"))
    assert widths == ["25.00", "100.00"]
    assert "<b>" not in bars_html([Bar("<b>", 0, "")], "x").replace("<b></b>", "")


def test_zero_lies_between_two_levels(checkpoint):
    svg = evidence.zero_point(checkpoint).picture
    places = [float(x) for x in re.findall(r'class="level" d="M([\d.]+) ', svg)]
    assert len(places) == 16 and min(abs(x - 300) for x in places) > 1


def test_the_score_counts_what_was_said():
    assert claims.score({"bits": claims.FALSE, "letters": claims.TRUE, "faster": None}) == (1, 2)
