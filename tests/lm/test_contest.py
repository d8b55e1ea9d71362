"""Methods against each other: the rows there must be, the document, and texts that must be kept apart."""

import json

import pytest

import quantlib as ql
from quantlib import tables
from quantlib.cli import main
from quantlib.errors import CheckpointError, MethodError
from quantlib.lm.contest import Contest, check_apart, contest
from quantlib.lm.texts import CALIBRATION, EVALUATION, read_texts
from quantlib.methods.catalogue import K_QUANTS, gptq_block, nearest

TEXTS = {name: text[:1800] for name, text in read_texts(EVALUATION[:1]).items()}


def three(bits: int, group: int):
    return nearest(bits), nearest(bits, group), gptq_block(K_QUANTS[bits])


@pytest.fixture(scope="module")
def found(demo_model, tmp_path_factory):
    """Three methods at 2 bits, calibrated on the project's text."""
    patch = pytest.MonkeyPatch()
    patch.setenv("QUANTLIB_CACHE", str(tmp_path_factory.mktemp("kept")))
    with ql.open_checkpoint(demo_model) as checkpoint:
        calibration = read_texts([CALIBRATION])
        yield contest(checkpoint, calibration, TEXTS, bits=[2], context=128, contestants=three)
    patch.undo()


def test_what_is_measured(found):
    channel, group = (m.output_error for m in found.measured if m.family == "round to nearest")
    assert channel > group
    for m in found.measured:
        assert 2 < m.bpw < 3 and m.total.kl > 0 and m.output_error > 0


def test_it_survives_as_a_document_and_makes_tables(found):
    assert Contest.from_document(json.loads(json.dumps(found.document()))) == found
    with pytest.raises(CheckpointError, match="stored comparison of methods cannot be read"):
        Contest.from_document({"measured": []})
    rows = tables.methods(found)
    lines = tables.as_markdown(rows).splitlines()
    assert len(lines) == len(rows) + 2 and len({line.count("|") for line in lines}) == 1


def test_texts_must_be_apart(demo_model, capsys):
    story = read_texts(EVALUATION[:1])["story"]
    with pytest.raises(MethodError, match="'b' is judged on and shares a passage with the calibration text 'a'"):
        check_apart({"a": "Something else. " + story}, {"b": story[400:2000]})
    check_apart(read_texts([CALIBRATION]), read_texts(EVALUATION))
    assert main(["compare", str(demo_model), "--text", str(EVALUATION[0]), "--bits", "4"]) == 1
    assert "shares a passage" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["compare", str(demo_model), "--bits", "9"])
    assert "'9' is not a list of numbers from 2 to 8" in capsys.readouterr().err
