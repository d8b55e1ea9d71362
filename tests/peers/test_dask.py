"""A run on a Dask cluster of real worker processes, one of them killed midway: the bytes of a local run."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import quantlib as ql
from quantlib.jobs import PlannedTensor, pieces
from quantlib.jobs.pool import scheduler_pool, window_of

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))
from small_model import model_weights, write_model

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def cluster(peer):
    distributed = peer("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, protocol="tcp"
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.fixture
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "model"
    write_model(path, model_weights())
    return path


def test_the_same_bytes_though_a_worker_is_killed(cluster, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "CHUNK_WEIGHTS", 1 << 15)  # more pieces than are under way at once
    with ql.open_checkpoint(folder) as source:
        plan = ql.plan(source, "Q4_K_M")
        ql.run(plan, tmp_path / "local.gguf")
        victim = next(iter(cluster.workers.values())).pid
        killed = threading.Event()

        def kill(progress: ql.Progress) -> None:
            if progress.fraction > 0.3 and not killed.is_set():
                killed.set()
                os.kill(victim, signal.SIGKILL)

        with scheduler_pool(cluster.scheduler_address) as executor:
            assert window_of(executor) == 8
            result = ql.run(plan, tmp_path / "remote.gguf", kill, executor=executor)
    assert killed.is_set()
    with pytest.raises(ProcessLookupError):
        _wait_until_gone(victim)
    assert (tmp_path / "remote.gguf").read_bytes() == (tmp_path / "local.gguf").read_bytes()
    assert result.nbytes == plan.nbytes


def test_a_worker_s_error_is_told_as_ever(cluster, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(PlannedTensor, "importance_of", lambda *_: np.full(1, np.nan, np.float32))
    with (
        ql.open_checkpoint(folder) as source,
        scheduler_pool(cluster.scheduler_address) as executor,
        pytest.raises(ql.QuantlibError, match="importance"),
    ):
        ql.run(ql.plan(source, "Q4_K_M"), tmp_path / "o.gguf", executor=executor)
    assert not list(tmp_path.iterdir())


def _wait_until_gone(pid: int) -> None:
    for _ in range(100):
        os.kill(pid, 0)
        time.sleep(0.1)
