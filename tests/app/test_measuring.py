"""A model runs in the memory that a server allows: held decoded, or decoded matrix by matrix, with the same answers."""

import json
from dataclasses import replace

import pytest

import quantlib as ql
from pages.server.jobs import Job
from pages.ui import measuring
from quantlib import tables
from quantlib.errors import JobError

TEXT = {"a": "They walked along the road until the sun went down, and nobody said a word about the house. " * 20}


@pytest.fixture
def demo(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


def allow(monkeypatch, nbytes: int) -> None:
    monkeypatch.setattr(measuring, "LIMITS", replace(measuring.LIMITS, run_bytes=nbytes))


def evaluated(checkpoint, other):
    job = Job("evaluation", "", lambda job: None, "visit")
    return measuring.evaluate(job, checkpoint, other, TEXT, 128, "Once upon a time"), job


def test_a_model_beyond_the_memory_is_read_as_it_is_stored_with_the_same_answers(demo, monkeypatch):
    monkeypatch.setattr(measuring, "NEW_TOKENS", 4)
    plan = ql.plan(demo, "Q4_K_M")
    held, job = evaluated(demo, plan)
    assert job.folder is None, "nothing was written"
    allow(monkeypatch, 4 * demo.size)  # one copy fits, two do not
    stored, job = evaluated(demo, plan)
    assert (job.folder / "other.gguf").exists()
    assert stored.total.kl == pytest.approx(held.total.kl, rel=1e-3)
    assert stored.total.perplexity == pytest.approx(held.total.perplexity, rel=1e-4)
    document = json.loads(tables.as_json(tables.answers(stored.total, stored.texts, stored.worst)))
    assert document["texts"]["a"]["tokens"] == stored.total.tokens and document["worst"]


def test_the_largest_matrix_is_what_must_fit(demo, monkeypatch):
    largest = 4 * max(tensor.size for tensor in demo)
    allow(monkeypatch, largest)
    assert not measuring.held_decoded(demo)
    allow(monkeypatch, largest - 1)
    with pytest.raises(JobError, match="The largest matrix of this model takes"):
        measuring.held_decoded(demo)
    allow(monkeypatch, 8 * demo.size)
    assert measuring.held_decoded(demo, 2) and not measuring.held_decoded(demo, 3)
