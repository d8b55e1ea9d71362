"""The edge of knowledge: what the page concludes of the stored sums follows from them, and the opposite is said too."""

import json
import re
from dataclasses import replace

import pytest

from quantlib.figures import costs, edge, ladder
from quantlib.lm import Sensitivity, Sweep
from quantlib.lm.answering import STORED, Answers
from quantlib.lm.sums import GRADES, Score
from quantlib.lm.texts import ASSETS


@pytest.fixture(scope="module")
def answers():
    return Answers.read(STORED)


@pytest.fixture(scope="module")
def sweep():
    return Sweep.from_document(json.loads((ASSETS / "measurements" / "sweep.json").read_text()))


def altered(answers, at, rights):
    """The same measurement with other counts of right answers from one recipe."""
    found = list(answers.found)
    scores = tuple(replace(s, right=r) for s, r in zip(found[at].scores, rights, strict=True))
    found[at] = replace(found[at], scores=scores)
    return replace(answers, found=tuple(found))


def test_every_grade_and_recipe_has_its_point(answers):
    svg = edge.edge_svg(answers)
    assert svg.count("data-words") == len(GRADES) * len(answers.found)
    assert all(f">{one.recipe}</text>" in svg for one in answers.found)
    heights = [float(y) for y in re.findall(r'class="name" x="[\d.]+" y="([\d.-]+)"', svg)]
    assert len(heights) == len(GRADES)
    assert min(b - a for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False)) >= edge.APART - 0.11
    assert min(heights) > 0 and max(heights) < edge.HEIGHT


def test_what_was_known_least_falls_first(answers):
    fall = edge.first_to_fall(answers)
    weakest = min(answers.found[0].scores, key=lambda s: s.share)
    assert weakest.grade in fall.grades
    assert "the edge of its knowledge goes first" in edge.edge_words(answers)
    assert fall.recipe.recipe == "Q3_K_M" and "3.9 bits" in edge.edge_words(answers)


def test_a_fall_is_one_beyond_both_intervals():
    original = [Score("a", 1990, 2000), Score("b", 1900, 2000)]
    assert edge.fallen(original, original) == []
    assert edge.fallen(original, [Score("a", 1989, 2000), Score("b", 1700, 2000)]) == ["b"]


def test_the_opposite_is_said_where_it_is_so(answers):
    rights = [s.right for s in answers.found[0].scores]
    rights[0] = 1000  # the easiest falls first
    words = edge.edge_words(altered(answers, 1, rights))
    assert GRADES[0].name in words and "yet it did not fall first" in words
    firm = replace(answers, found=(answers.found[0],) * 3)
    assert "No kind of sum falls" in edge.edge_words(firm)
    assert edge.surprise(firm) == ""


def test_firm_knowledge_falls_too(answers):
    assert "6 + 6 digits" in edge.surprise(answers) and "80%" in edge.surprise(answers)


def test_the_puzzle_has_both_kinds_and_is_scored(answers):
    found = edge.puzzle(answers)
    assert len(found.sums) == len(set(found.sums)) == edge.PUZZLED
    assert sum(found.wrong) == edge.PUZZLED // 2
    wrong = [one for one, is_wrong in zip(found.sums, found.wrong, strict=True) if is_wrong]
    assert found.score(wrong) == edge.PUZZLED
    assert found.score([]) == edge.PUZZLED - len(wrong)
    assert found.score(set(found.sums) - set(wrong)) == 0
    assert edge.puzzle_html(found, wrong).count("✓") == edge.PUZZLED


def test_lessons_are_those_of_the_stored_measurements(answers, sweep):
    fall, tail, bit = costs.lessons(answers, sweep)
    assert "3 × 1 digits and 2 × 2 digits" in fall
    total = sweep.of("Q4_K_M").total
    assert f"{total.kl_largest / total.kl:,.0f} times" in tail and total.kl_largest > 10 * total.kl
    here, there = ladder.measured_by_a_bit(sweep), ladder.published_by_a_bit()
    assert f"{here.overall:.1f} in the demo model and {there.overall:.1f} in Llama-3-8B" in bit
    assert len(costs.lessons(answers, None)) == 2


def test_a_bit_multiplies_the_loss_and_most_at_the_low_end(sweep):
    here, there = ladder.measured_by_a_bit(sweep), ladder.published_by_a_bit()
    for found in (here, there):
        assert 1 < found.least < found.overall < found.most
    assert 3 < here.overall < 4.5 and (round(there.least), round(there.most, 1)) == (2, 5.8)
    steps = [(sweep.of(name).bpw, sweep.of(name).total.kl) for name in ("Q3_K_M", "Q2_K")]
    assert ladder.by_a_bit(steps).overall == pytest.approx(here.most), "the last step costs most"
    assert ladder.by_a_bit([(4, 1.0), (3, 4.0), (1, 64.0)]).overall == pytest.approx(4)


def test_what_is_said_of_sensitive_tensors_is_measured():
    found = Sensitivity.from_document(json.loads((ASSETS / "measurements" / "sensitivity.json").read_text()))
    words = costs.sensitivity_words(found)
    share, calm = (int(n) for n in re.findall(r"(\d+)%", words))
    assert "`output`" in words and share > 50 > 10 > calm
