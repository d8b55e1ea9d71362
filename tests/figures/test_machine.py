"""What the machine does: sentences follow the figures, and the registers hold the block's own product."""

import numpy as np
import pytest

from quantlib.figures import machine
from quantlib.lm.caching import read_back
from quantlib.lm.surveying import STORED, Survey


def test_published_speeds_say_what_the_chapter_says():
    """Fewer bits write faster by less than the bits alone would give, and read a prompt more slowly."""
    found = machine.speeds()
    assert [s.bits for s in found] == sorted((s.bits for s in found), reverse=True)
    assert [s.writing for s in found[:-1]] == sorted(s.writing for s in found[:-1])
    assert found[-1].writing <= found[-2].writing
    assert all(s.writing < found[0].writing * found[0].bits / s.bits for s in found[1:])
    assert found[-1].reading < found[0].reading
    assert "slower" in machine.speeds_in_words(machine.READING)
    for at_once in (machine.READING, machine.WRITING):
        assert machine.speeds_svg(at_once).count('class="bar"') == len(found)


def test_the_registers_add_up_to_the_blocks_product():
    rng = np.random.default_rng(5)
    w, x = rng.standard_normal(32, np.float32), rng.standard_normal(32, np.float32)
    decoded = [read_back(v, name) for v, name in ((w, "Q4_0"), (x, "Q8_0"))]
    said = machine.registers_svg(w, x).replace("−", "-")
    assert f"= {float(decoded[0] @ decoded[1].astype(np.float64)):.4g}," in said


def test_words_on_the_matrix_follow_the_times():
    def timed(few, many):
        return [
            machine.Timed("Q4_0", way, 1, tokens, seconds)
            for tokens, pair in ((1, few), (64, many))
            for way, seconds in zip(("expanded", "in integers"), pair, strict=True)
        ]

    words = machine.matrix_in_words(timed((2.0, 1.0), (1.0, 3.0)))
    assert "2.0 times less time" in words and "3.0 times more time" in words
    assert len(machine.matrix_rows(timed((2.0, 1.0), (1.0, 3.0)))) == 2


@pytest.mark.parametrize(("name", "most"), [("Q8_0", 0.006), ("Q4_0", 0.1)])
def test_a_cache_keeps_what_its_format_leaves(name, most):
    x = np.random.default_rng(1).standard_normal((2, 4, 5, 64)).astype(np.float32)
    assert 0 < np.linalg.norm(read_back(x, name) - x) / np.linalg.norm(x) < most


def test_the_stored_survey_is_whole():
    """The original answers all twenty right, two bits answer none, and files of narrow models stay above four bits."""
    from quantlib.lm.asking import QUESTIONS

    found = Survey.read(STORED)
    right = {v.label: sum(q.is_right(a) for q, a in zip(QUESTIONS, v.answers, strict=True)) for v in found.found}
    assert right["original"] == 20 and right["IQ2_XXS alone"] == 0
    assert all(v.bpw > 4 for v in found.ladder(alone=False))
    assert {name for v in found.found for name in v.registers} == {"prose", "code", "arithmetic"}
