"""Sums: what is asked, what is right, and what a model answers, token by token."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.lm import Tokenizer, load
from quantlib.lm.answering import CALCULATOR, RECIPES, STORED, TENSOR, WALL_ROWS, Answers, answering, wall
from quantlib.lm.keeping import digest_of_model
from quantlib.lm.sums import GRADES, Score, Sum, answers, importance, listed, parse, score, solved


@pytest.fixture(scope="module")
def calculator():
    checkpoint = ql.open_checkpoint(CALCULATOR)
    return load(checkpoint), Tokenizer.of(checkpoint)


@given(st.integers(0, 999_999), st.sampled_from("+-x"), st.integers(0, 999_999))
def test_what_is_typed_is_read(left, sign, right):
    one = parse(f" {left} {'−' if sign == '-' else sign}{right} = ")
    if sign == "-" and right > left:
        assert one is None
    else:
        assert one == Sum(left, sign, right)
        assert int(one.answer[::-1]) == {"+": left + right, "-": left - right, "x": left * right}[sign]


@pytest.mark.parametrize("text", ["", "1", "1+", "1+2+3", "1234567+1", "a+b", "1/2", "١+٢", "1+2;", "-1+2", "1e3+1"])
def test_what_is_no_sum_is_none(text):
    assert parse(text) is None


@pytest.mark.parametrize("grade", GRADES, ids=lambda g: g.name)
def test_a_grade_draws_numbers_of_its_digits(grade):
    sums = listed(grade, 300)
    assert sums == listed(grade, 300)
    sizes = {(len(str(s.left)), len(str(s.right))) for s in sums}
    assert sizes == {grade.digits}
    assert all(s.result >= 0 for s in sums)


def test_the_wall_has_a_hundred_sums_from_easy_to_hard():
    assert len(wall()) == 100 == 10 * sum(WALL_ROWS)
    assert wall()[0].sign == "+" and wall()[-1].sign == "x"


def test_an_answer_is_what_greedy_writing_gives(calculator):
    """Sums run together as each does alone: the likeliest token after each beginning."""
    model, tokenizer = calculator
    sums = [one for grade in GRADES for one in listed(grade, 3)]
    together = answers(model, tokenizer, sums)
    for one, said in zip(sums, together, strict=True):
        tokens = tokenizer.encode(one.question)
        start = len(tokens)
        while len(tokens) < start + 14:
            nearest = int(model(np.array(tokens))[-1].argmax())
            if nearest == tokenizer.eos:
                break
            tokens.append(nearest)
        assert said == tokenizer.decode(tokens[start:])
    assert solved(model, tokenizer, sums) == [said == one.answer for one, said in zip(sums, together, strict=True)]


def test_the_shipped_model_can_do_sums(calculator):
    scores = {s.grade: s for s in score(*calculator, count=100)}
    assert all(scores[name].share >= 0.95 for name in ("1 + 1 digits", "2 + 2 digits"))


def test_an_importance_matrix_has_every_matrix_of_the_layers(calculator):
    model, tokenizer = calculator
    matrix = importance(model, tokenizer, GRADES[:1], count=20)
    assert matrix.entries[TENSOR].shape == (1, model.shape.hidden)
    inside = {n for n, w in model.weights.items() if n.startswith("blk.") and w.ndim == 2}
    assert set(matrix.entries) == inside
    assert all((values > 0).any() and (values >= 0).all() for values in matrix.entries.values())


def test_an_interval_holds_its_share_and_narrows():
    few, many = Score("", 9, 10), Score("", 900, 1000)
    for one in (few, many, Score("", 0, 10), Score("", 10, 10)):
        low, high = one.interval
        assert 0 <= low <= one.share <= high <= 1
    assert many.interval[1] - many.interval[0] < few.interval[1] - few.interval[0]


def test_the_stored_measurement_is_of_the_shipped_model(tmp_path):
    stored = Answers.read(STORED)
    assert stored.model == digest_of_model(ql.open_checkpoint(CALCULATOR))
    assert tuple(one.recipe for one in stored.found) == RECIPES
    stored.write(tmp_path / "again.json")
    assert Answers.read(tmp_path / "again.json") == stored


@pytest.mark.parametrize("recipe", ["F32", "Q4_K_M"])
def test_the_stored_measurement_is_made_again(recipe):
    """A part of it, on fewer sums: the wall's answers and the weights, to the last bit."""
    stored = Answers.read(STORED).of(recipe)
    again = answering(ql.open_checkpoint(CALCULATOR), [recipe], count=10).of(recipe)
    assert (again.answers, again.weights, again.bpw) == (stored.answers, stored.weights, stored.bpw)
