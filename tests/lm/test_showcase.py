"""What the first page shows: measured once, stored with its inputs, and marked where texts part."""

import json

import pytest

import quantlib as ql
from quantlib.errors import CheckpointError
from quantlib.figures import opening
from quantlib.lm import EVALUATION, read_texts
from quantlib.lm.showcase import PROMPTS, RECIPES, STORED, Showcase, Shown, showcase


@pytest.fixture(scope="module")
def found(demo_model, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("QUANTLIB_CACHE", str(tmp_path_factory.mktemp("kept")))
    text = {"story": read_texts(EVALUATION[:1])["story"][:2000]}
    yield showcase(ql.open_checkpoint(demo_model), text, ["Once upon"], ["F32", "Q8_0"], context=64, most=4)
    patch.undo()


def test_the_model_itself_keeps_every_token(found):
    whole, eight = found.shown
    assert (whole.recipe, whole.same_top, whole.kl, whole.gone) == ("F32", 1.0, 0.0, 0.0)
    assert eight.same_top > 0.9
    assert eight.gone == pytest.approx(1 - 8.5 / 32, abs=0.01)


def test_it_survives_its_file(found, tmp_path):
    found.write(tmp_path / "kept.json")
    assert Showcase.read(tmp_path / "kept.json") == found
    (tmp_path / "broken.json").write_text(json.dumps({"model": "x"}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        Showcase.read(tmp_path / "broken.json")


def test_the_stored_one_has_every_recipe_and_prompt():
    stored = Showcase.read(STORED)
    assert tuple(s.recipe for s in stored.shown) == RECIPES
    assert all(set(s.texts) == set(PROMPTS.values()) for s in stored.shown)


def test_texts_are_marked_from_where_they_part():
    texts = ("went <home> at once", "went <home> by sea")
    shown = tuple(Shown(name, 10, 4.0, 9, 0.5, 0.1, 9.0, {"He": text}) for name, text in zip("ab", texts, strict=True))
    html = opening.texts_html(Showcase("m", "t", 0.7, 1, shown), "He")
    assert html.count("<mark") == 1
    assert "went &lt;home&gt; <mark" in html and ">by sea</mark>" in html


def test_the_second_number_waits_for_the_guess(found):
    assert "?" in opening.hero_html(found.shown[1], False)
    assert "100" not in opening.hero_html(found.shown[1], False).split("?")[0]
    assert opening.nearest(0.96) == "more than 90"
