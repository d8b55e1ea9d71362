"""An encoder is opened: Evaluate compares embeddings, with the numbers of the command line."""

import json
from dataclasses import replace
from pathlib import Path

import arch_models
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.server.jobs import Job
from pages.server.opened import Opened, identity
from pages.ui import embeddings, jobview, measuring, model
from quantlib.cli import main
from quantlib.lm.embedding import is_encoder, read_sentences

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Opened:
    folder = arch_models.write("bert_classifier", tmp_path_factory.mktemp("page") / "bert_classifier")
    checkpoint = ql.open_checkpoint(folder)
    return Opened("token", checkpoint, folder.name, str(folder), identity(checkpoint), "directory")


@pytest.fixture
def run(monkeypatch, encoder):
    """run(): the page while the encoder is open."""

    def of(**state) -> AppTest:
        monkeypatch.setattr(model, "current", lambda: encoder)
        monkeypatch.setattr(st, "page_link", lambda *_, **__: None)
        running = AppTest.from_file(str(ROOT / "pages" / "evaluate.py"), default_timeout=300)
        running.run()
        assert not running.exception, running.exception
        return running

    return of


def test_the_page_offers_to_compare_embeddings_and_no_perplexity(run):
    page = run()
    said = "\n".join(each.value for kind in ("markdown", "text") for each in page.get(kind))
    assert "nearest neighbour" in said and "Perplexity" not in said
    assert page.button(key="evaluate-compare").label == "Compare" and not page.button(key="evaluate-compare").disabled


def test_the_page_shows_the_numbers_of_the_command_line(run, monkeypatch, encoder, tmp_path, capsys):
    job = Job("evaluation", "", lambda job: None, "visit")
    plan = ql.plan(encoder.checkpoint, "Q4_K_M")
    found = embeddings.compared(job, encoder.checkpoint, plan, read_sentences())
    ql.run(plan, tmp_path / "q.gguf")
    assert main(["embeddings", str(tmp_path / "q.gguf"), "--baseline", encoder.source, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert found.figures() == pytest.approx({key: told[key] for key in found.figures()})
    monkeypatch.setattr(jobview, "outcome", lambda job: found)
    page = run()
    assert [metric.value for metric in page.metric][:2] == [f"{told['cosine']:.4f}", f"{told['cosine_lowest']:.4f}"]
    assert page.dataframe[0].value["sentence"][0] == told["worst"][0]["text"]


def test_what_makes_no_embeddings_is_refused_in_a_sentence(encoder, demo_model):
    assert is_encoder(encoder.checkpoint)
    with ql.open_checkpoint(demo_model) as other:
        assert not is_encoder(other)
        job = Job("evaluation", "", lambda job: None, "visit")
        with pytest.raises(ql.CheckpointError, match="makes no embeddings"):
            embeddings.compared(job, encoder.checkpoint, other, read_sentences())


def test_a_model_too_large_for_the_server_is_refused_before_it_is_written(encoder, monkeypatch):
    monkeypatch.setattr(measuring, "LIMITS", replace(measuring.LIMITS, run_bytes=1000))
    job = Job("evaluation", "", lambda job: None, "visit")
    with pytest.raises(ql.errors.JobError, match="this server allows"):
        embeddings.compared(job, encoder.checkpoint, ql.plan(encoder.checkpoint, "Q8_0"), read_sentences())
