"""The commands that measure: what they print, save and answer as JSON."""

import csv
import json
import xml.etree.ElementTree as ET

import pytest

from quantlib.checkpoints import read_imatrix
from quantlib.cli import main

TEXT = "The old king looked out of the window and said that the sea was very quiet that night. " * 6


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTLIB_CACHE", str(tmp_path / "kept"))
    (tmp_path / "king.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path / "king.txt")


def answer(capsys, *arguments) -> dict:
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_perplexity(demo_model, text, capsys):
    found = answer(capsys, "perplexity", demo_model, "--text", text, "--context", 48)
    assert found["perplexity"] > 1 and found["stderr"] > 0 and found["tokens"] == found["texts"][0]["tokens"]
    assert main(["perplexity", str(demo_model), "--text", text, "--context", "48"]) == 0
    assert f"perplexity {found['perplexity']:.4f}" in capsys.readouterr().out


def test_weights_may_stay_as_they_are_stored(demo_model, text, capsys):
    reading = ("perplexity", demo_model, "--text", text, "--context", 48)
    stored, decoded = (answer(capsys, *reading, *extra)["perplexity"] for extra in (["--as-stored"], []))
    assert stored == pytest.approx(decoded, rel=1e-5)  # matrices are multiplied in pieces: sums in another order
    writing = ("generate", demo_model, "The old king", "--tokens", 4)
    assert answer(capsys, *writing, "--as-stored") == answer(capsys, *writing)


def test_perplexity_against_a_baseline(demo_model, text, capsys):
    same = ("perplexity", demo_model, "--baseline", demo_model, "--text", text, "--context", 48)
    found = answer(capsys, *same)
    assert (found["kl"], found["changed_top"], found["difference"]) == (0, 0, 0)
    assert len(found["worst"]) == 5 and set(found["texts"]) == {"king"}
    assert main([*map(str, same)]) == 0
    out = capsys.readouterr().out
    assert all(words in out for words in ("KL divergence", "changed top tokens 0.000%", "Where it moved furthest"))


def test_a_sweep_is_printed_and_saved(demo_model, text, tmp_path, capsys):
    arguments = ("perplexity", demo_model, "--text", text, "--context", 48, "--sweep", "Q8_0,q4_0")
    found = answer(capsys, *arguments, "--out", tmp_path / "sweep")
    assert [m["recipe"] for m in found["measured"]] == ["Q8_0", "Q4_0"]
    assert json.loads((tmp_path / "sweep.json").read_text()) == {"made_by": "quantlib"} | found
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [row["recipe"] for row in rows] == ["Q8_0", "Q4_0"]
    assert float(rows[1]["kl"]) == found["measured"][1]["total"]["kl"]
    assert ET.parse(tmp_path / "sweep.svg").getroot().tag.endswith("svg")
    assert main([*map(str, arguments)]) == 0
    assert "Q4_0" in capsys.readouterr().out


def test_sensitivity(demo_model, text, tmp_path, capsys):
    arguments = ("perplexity", demo_model, "--text", text, "--context", 48, "--sensitivity", "q4_0", "--by", "kind")
    found = answer(capsys, *arguments, "--out", tmp_path / "parts")
    assert found["format"] == "Q4_0" and len(found["parts"]) == 9
    assert len(list(csv.DictReader((tmp_path / "parts.csv").open()))) == 9
    assert not (tmp_path / "parts.svg").exists()


def test_imatrix(demo_model, text, tmp_path, capsys):
    out = tmp_path / "imatrix.gguf"
    found = answer(capsys, "imatrix", demo_model, "--text", text, "--context", 48, "-o", out)
    assert found["tokens"] == 48 * found["chunks"]
    assert len(read_imatrix(out).entries) == found["entries"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--text", "nowhere.txt"), "cannot be read as UTF-8"),
        (("--context", 4096), "longer than this model's"),
        (("--sweep", "Q9"), "Q9"),
        (("--sensitivity", "Q9"), "Q9"),
    ],
)
def test_what_cannot_be_done_is_told(demo_model, text, capsys, arguments, says):
    given = ("perplexity", demo_model, "--text", text, "--context", 48, *arguments)
    assert main([*map(str, given)]) == 1
    assert says in capsys.readouterr().err
