"""A real model's answers: the message follows the survey, and the sentences follow whatever it found."""

from dataclasses import replace

import pytest

from quantlib.figures import asked
from quantlib.lm.asking import QUESTIONS
from quantlib.lm.surveying import ORIGINAL, STORED, Survey

RIGHT = tuple(q.accepted[0] for q in QUESTIONS)


@pytest.fixture(scope="module")
def stored():
    return Survey.read(STORED)


@pytest.mark.parametrize("alone", [True, False])
def test_the_message_has_every_stop_and_its_verdicts(stored, alone):
    message = asked.asked_message(stored, alone)
    assert [stop["name"] for stop in message["stops"]] == [one.name for one in stored.ladder(alone)]
    assert all(message["stops"][0]["right"])  # the questions were chosen so
    for stop in message["stops"]:
        assert len(stop["answers"]) == len(stop["right"]) == len(message["questions"]) == len(QUESTIONS)
        assert all(0 <= changed <= 1000 for changed in stop["changed"])


def test_the_first_page_asks_what_is_right_at_four_bits_and_wrong_at_two(stored):
    stops = asked.asked_message(stored, True, asked.FEW)["stops"]
    by_name = {stop["name"]: sum(stop["right"]) for stop in stops}
    assert by_name["Q4_K"] == len(asked.FEW) and 0 < by_name["Q3_K"] < len(asked.FEW) and by_name["IQ1_M"] == 0


def answered(stored, counts, kls=None):
    """The stored survey's formats with so many answers right, and such divergences in every register."""
    ladder = stored.ladder(alone=True)
    changed = [ladder[0]]
    for i, (one, count) in enumerate(zip(ladder[1:], counts, strict=False)):
        registers = one.registers
        if kls:
            registers = {name: replace(moved, kl=kls[i], kl_stderr=0.01 * kls[i]) for name, moved in registers.items()}
        answers = tuple(a if k < count else "?" for k, a in enumerate(RIGHT))
        changed.append(replace(one, answers=answers, registers=registers))
    return Survey(stored.source, stored.model, tuple(changed))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([20, 19, 7, 0, 0], "Down to Q3_K (3.4 bits), at least 19 of the 20 answers stay right. Then it is 7 with "
         "Q2_K (2.6 bits) and none from IQ2_XXS (2.1 bits) on."),
        ([20, 20, 20, 20, 18], "Down to IQ1_M (1.8 bits), at least 18 of the 20 answers stay right. "),
        ([3, 9], "Right are 3 with Q4_K (4.5 bits) and 9 with Q3_K (3.4 bits)."),
        ([20, 0], "Down to Q4_K (4.5 bits), all 20 answers stay right. Then it is none with Q3_K (3.4 "
         "bits)."),
    ],
)  # fmt: skip
def test_words_follow_the_answers(stored, counts, words):
    assert asked.asked_words(answered(stored, counts), True) == words


def test_more_bits_that_move_further_are_said_and_only_then(stored):
    calm = answered(stored, [20] * 4, [0.01, 0.02, 0.3, 2])
    assert asked.unequal_words(calm, True) == ""
    low = asked.unequal_words(answered(stored, [20] * 4, [0.01, 0.02, 2, 1]), True)
    assert "Q2_K moves the predictions further than IQ2_XXS" in low and "16 levels" not in low
    files = asked.unequal_words(stored, False)  # as measured
    assert "Q5_K_M moves the predictions further than Q4_K_M" in files and "16 levels" in files


def test_who_had_the_importance_matrix_is_said(stored):
    def weighed(names):
        return replace(stored, found=tuple(replace(one, weighted=one.name in names) for one in stored.found))

    everyone = {one.name for one in stored.found}
    assert "Every format" in asked.matrix_words(weighed(everyone - {ORIGINAL, "Q8_0"}))
    assert asked.matrix_words(weighed(everyone - {"Q2_K"})).endswith("and not Q2_K alone and Q2_K")


def test_two_groups_are_told_apart(stored):
    alone = answered(stored, [20] * 4)
    mixed = replace(alone, found=tuple(replace(one, weighted=one.name == "Q2_K") for one in alone.found))
    assert asked.apart_words(mixed, True).startswith("Q2_K had an importance matrix and the others had none")
    equal = replace(alone, found=tuple(replace(one, weighted=True) for one in alone.found))
    assert asked.apart_words(equal, True) == ""


def test_what_the_chapter_remembers_follows_the_survey(stored):
    said = asked.lesson(answered(stored, [20, 19, 7, 0]))
    assert "20 of 20 plain questions with all its matrices in Q4_K, 19 in Q3_K, 7 in Q2_K and none in IQ2_XXS." in said
    assert "**code** moves most" in asked.registers_words(stored)


def test_the_picture_has_a_point_for_everything(stored):
    drawn = asked.beside_svg(stored, True, None)
    assert drawn.count("<title>prose, ") == len(stored.ladder(True)) - 1
    assert "Llama-3-8B, published" in drawn and "demo model, " not in drawn
