"""Nothing is lost: a run killed at any moment leaves no output or a complete one, and the next goes on from there."""

import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from small_model import model_weights, write_model

import quantlib as ql
from quantlib.jobs.journal import Journal, beside
from quantlib.jobs.running import _Run

KILLS = int(os.environ.get("QUANTLIB_KILLS", 50))


@pytest.fixture
def folder(tmp_path) -> Path:
    write_model(tmp_path / "model", model_weights())
    return tmp_path / "model"


def planned(folder: Path, recipe: str = "Q4_K_M") -> ql.Plan:
    return ql.plan(ql.open_checkpoint(folder), recipe)


def stopped(plan: ql.Plan, out: Path, after: int, monkeypatch) -> None:
    """A run that ends as if killed after so many tensors: neither cleaned up nor told."""

    class Killed(BaseException):
        pass

    def add(self, written, add=Journal.add):
        add(self, written)
        nonlocal after
        after -= 1
        if after == 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", add)
        patch.setattr(Journal, "remove", Journal.close)
        with pytest.raises(Killed):
            ql.run(plan, out)


def whole(plan: ql.Plan, path: Path) -> bytes:
    ql.run(plan, path)
    return path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_at_random_moments(folder, tmp_path):
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killing.py"), folder, tmp_path / "out" / "o.gguf", str(KILLS), "1"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["left"] == ["o.gguf"]
    assert seen["killed"] > KILLS // 2
    assert max(seen["resumed"], default=0) > 0  # some run did go on from a killed one


def test_a_second_run_goes_on(folder, tmp_path, monkeypatch):
    plan, out = planned(folder), tmp_path / "o.gguf"
    expected = whole(plan, tmp_path / "whole.gguf")
    stopped(plan, out, 5, monkeypatch)
    assert not out.exists()
    seen = []
    result = ql.run(plan, out, seen.append)
    assert result.resumed == 5
    assert out.read_bytes() == expected
    assert seen[0].weights_done > seen[0].resumed > 0
    assert seen[-1].fraction == 1
    assert [t.loss.count for t in result.tensors] == [np.prod(t.shape) for t in plan.tensors]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "o.gguf", "whole.gguf"]


def test_a_changed_plan_starts_over(folder, tmp_path, monkeypatch):
    out = tmp_path / "o.gguf"
    stopped(planned(folder), out, 5, monkeypatch)
    result = ql.run(planned(folder, "Q5_K_M"), out)
    assert (result.resumed, out.read_bytes()) == (0, whole(planned(folder, "Q5_K_M"), tmp_path / "whole.gguf"))


def test_another_effort_starts_over(folder, tmp_path, monkeypatch):
    out = tmp_path / "o.gguf"
    stopped(planned(folder), out, 5, monkeypatch)
    best = ql.plan(ql.open_checkpoint(folder), "Q4_K_M", effort="best")
    result = ql.run(best, out)
    assert (result.resumed, out.read_bytes()) == (0, whole(best, tmp_path / "whole.gguf"))


def test_a_changed_input_starts_over(folder, tmp_path, monkeypatch):
    out = tmp_path / "o.gguf"
    stopped(planned(folder), out, 5, monkeypatch)
    write_model(tmp_path / "other", model_weights(seed=1))
    os.replace(tmp_path / "other" / "model.safetensors", folder / "model.safetensors")
    result = ql.run(planned(folder), out)
    assert (result.resumed, out.read_bytes()) == (0, whole(planned(folder), tmp_path / "whole.gguf"))


@pytest.mark.parametrize("damage", ["a byte of the second tensor", "cut", "header", "journal", "no partial"])
def test_what_the_disk_lost_is_done_again(folder, tmp_path, monkeypatch, damage):
    plan, out = planned(folder), tmp_path / "o.gguf"
    stopped(plan, out, 5, monkeypatch)
    partial, journal = beside(out, "partial"), beside(out, "journal")
    data = bytearray(partial.read_bytes())
    match damage:
        case "a byte of the second tensor":
            data[-sum(t.nbytes for t in plan.tensors[1:5])] ^= 1
        case "cut":
            del data[-plan.tensors[4].nbytes :]
        case "header":
            data[9] ^= 1
        case "journal":
            journal.write_bytes(journal.read_bytes()[:-20])
    partial.write_bytes(data)
    if damage == "no partial":
        partial.unlink()
    result = ql.run(plan, out)
    expected = {"a byte of the second tensor": 1, "cut": 4, "header": 0, "journal": 4, "no partial": 0}
    assert result.resumed == expected[damage]
    assert out.read_bytes() == whole(plan, tmp_path / "whole.gguf")


def test_two_runs_to_one_file_do_not_meet(folder, tmp_path):
    plan, out = planned(folder), tmp_path / "o.gguf"
    first = Journal(out)
    with pytest.raises(ql.JobError, match="Another run is writing"):
        ql.run(plan, out)
    first.close()
    assert ql.run(plan, out).nbytes == out.stat().st_size


@pytest.mark.parametrize("what", ["cut", "gone"])
def test_an_input_that_goes_away_is_told_in_a_sentence(folder, tmp_path, what):
    plan = planned(folder)
    weights = folder / "model.safetensors"

    def lose(progress) -> None:
        if what == "cut":
            os.truncate(weights, 5000)
        elif weights.exists():
            weights.unlink()

    with pytest.raises(ql.QuantlibError, match="was cut to" if what == "cut" else "was changed while") as caught:
        ql.run(plan, tmp_path / "o.gguf", lose)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_long_names_have_a_place_beside_them(folder, tmp_path):
    out = tmp_path / ("ü" * 120 + ".gguf")
    assert ql.run(planned(folder, "Q8_0"), out).path == out
    assert beside(out, "partial") != beside(tmp_path / ("ü" * 121 + ".gguf"), "partial")


def test_processes_give_the_same_bytes(folder, tmp_path):
    plan = planned(folder)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        ql.run(plan, tmp_path / "o.gguf", executor=pool)
    assert (tmp_path / "o.gguf").read_bytes() == whole(plan, tmp_path / "whole.gguf")


def test_a_worker_that_dies_is_told_in_a_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.jobs.running.quantize_piece", os._exit)
    monkeypatch.setattr(_Run, "_pieces", lambda *_: iter([(1,)] * 100))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(ql.JobError, match="worker"):
        ql.run(planned(folder), tmp_path / "o.gguf", executor=pool)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
