"""Quantize's third way: the job that chooses codes on a text, what it shows, and the commands of all three."""

import shlex

import pytest
import tiny_models

import quantlib as ql
from pages.server.jobs import Job
from pages.server.opened import Opened
from pages.ui import ways
from pages.ui.recipes import Wanted
from quantlib import lm
from quantlib.cli import parsers
from quantlib.errors import Cancelled
from quantlib.figures.runs import chosen_html
from quantlib.jobs.ways import ON_A_TEXT, WAYS

TEXTS = {"mixed": lm.read_texts([lm.CALIBRATION])[lm.CALIBRATION.stem][:5000]}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tiny_models.write("llama_bpe", tmp_path_factory.mktemp("models") / "tiny")
    return Opened("token", ql.open_checkpoint(folder), "tiny", "tiny", "tiny-on-text", str(folder))


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(ways, "compile_apart", lambda code: None)  # other tests have compiled it, or it compiles here
    return Job("quantize", "a title", lambda job: None, "visit", folder=tmp_path)


def fill(job: Job, opened: Opened):
    plan = ql.plan(opened.checkpoint, "Q4_0")
    return ways.fill(job, opened, plan, Wanted("Q4_0", "Q4_0"), TEXTS, "a command")


def test_the_job_makes_the_file_and_tells_what_it_was_made_on(job, opened):
    made = fill(job, opened)
    with ql.open_checkpoint(job.path) as written:
        assert written.tensors["blk.0.ffn_up.weight"].format == "Q4_0"
        assert written.metadata["quantize.calibration.text"].value == "mixed"
        tokens = written.metadata["quantize.calibration.tokens"].value
    shown = chosen_html(made.plan, made.file, made.sha256, made.command)
    for said in (made.sha256, f"{tokens:,} tokens", f"{job.path.stat().st_size:,} bytes", "a command"):
        assert said in shown
    assert job.fraction == 1 and "layer" in job.words.lower()


def test_a_cancelled_job_leaves_nothing(job, opened, tmp_path):
    job.stop.set()
    with pytest.raises(Cancelled, match="nothing was written"):
        fill(job, opened)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_commands_and_snippets_are_those_of_the_way(way, opened):
    chosen, wanted = ways.Chosen(way), Wanted("Q4_K_M", "Q4_K_M")
    assert chosen.waits == (way is ON_A_TEXT)
    line = shlex.split(f"quantize a b.gguf{wanted.flags}{chosen.flags}")
    said = parsers(line)[0].parse_args(line)
    assert (said.method or "ggml") == way.name
    snippet = ways.snippet(opened, wanted, chosen, False, "b.gguf")
    compile(snippet, "snippet", "exec")
    assert ("write_gptq" in snippet) == (way is ON_A_TEXT) and ('effort="best"' in snippet) == (way.name == "best")
