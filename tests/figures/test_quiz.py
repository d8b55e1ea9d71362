"""Questions of puzzles: each has its right answer among its choices, and follows what was measured."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from quantlib import fit
from quantlib.figures import channels, edge, few_bits, fitting, machine, quiz, skyline
from quantlib.fit.published import SPEEDS
from quantlib.lm.answering import STORED, Answers


@pytest.fixture(scope="module")
def answers():
    return Answers.read(STORED)


@pytest.fixture(scope="module")
def studies():
    return channels.Studies.read()


def of_sums(answers, studies):
    return edge.questions(answers)


def of_ways(answers, studies):
    return skyline.questions(studies.matrices)


def of_speeds(answers, studies):
    return machine.questions()


def of_machines(answers, studies):
    found = [fit.ask("SmolLM2-1.7B", name, 4096) for name in ("GeForce RTX 3060, 12 GB", "Apple M1, 8 GB")]
    return fitting.questions(found, ("BF16", "F16", "Q8_0"))


@pytest.mark.parametrize("made", [of_sums, of_ways, of_speeds, of_machines])
def test_the_right_answer_is_among_the_choices(answers, studies, made):
    found = made(answers, studies)
    assert found
    for one in found:
        assert one.right in one.choices and len(set(one.choices)) == len(one.choices) > 1
        wrong = next(choice for choice in one.choices if choice != one.right)
        assert one.verdict(one.right).startswith("✅") and one.verdict(wrong).startswith(f"It is {one.right}.")
    assert quiz.score(found, [one.right for one in found]) == len(found)
    assert quiz.score(found, [None] * len(found)) == 0


def test_the_smallest_recipe_is_able_and_the_next_is_not(answers):
    kinds = [score.grade for score in answers.found[0].scores]
    for one in edge.questions(answers):
        shares = {name: answers.of(name).scores[kinds.index(one.text)].share for name in edge.OFFERED}
        below = edge.OFFERED[edge.OFFERED.index(one.right) + 1 :]
        assert shares[one.right] >= edge.ABLE and all(shares[name] < edge.ABLE for name in below)
    assert len({one.right for one in edge.questions(answers)}) > 1  # no single answer is always right


def test_half_of_the_sums_are_wrong_where_it_says(answers):
    right, sentence = edge.half_wrong(answers)
    assert right == "about 2" and "From TQ1_0" in sentence


def test_speeds_are_the_tables(answers):
    for one in machine.questions():
        at = int(machine.WRITING in one.text)
        assert SPEEDS[one.right][at] == max(SPEEDS[name][at] for name in one.choices)


def test_the_way_that_wins_follows_the_errors(studies):
    one = studies.matrices[0]
    assert skyline.agrees(replace(one, smooth=one.smooth * 0)) == "yes"
    assert skyline.agrees(replace(one, int8=one.int8 * 0)) == "no"  # a way for 8 bits alone


def test_whoever_minds_more_is_named():
    def cost(keys, values, kl):
        return SimpleNamespace(keys=keys, values=values, cost=SimpleNamespace(kl=kl))

    for keys, values, said in ((2, 1, "the keys"), (1, 2, "the values")):
        assert machine.minds_more([cost("Q4_0", "Q8_0", keys), cost("Q8_0", "Q4_0", values)]) == said


def test_the_first_pages_lessons_are_its_measurements(answers):
    size, sums = few_bits.lessons(answers, few_bits.Large.read())
    assert "282 GB" in size and "TQ1_0" in sums
