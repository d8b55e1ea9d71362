"""Quantize jobs: one at a time on this server, the others waiting in line; they outlive reruns and page changes."""

import secrets
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

import quantlib as ql
from pages.ui import files

RUNNING_AT_ONCE = 1
MOST_WAITING = 20
KEPT = 40


@dataclass
class Job:
    """A run and what is known of it; written by its worker, read by pages."""

    plan: ql.Plan
    file_name: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    created: float = field(default_factory=time.time)
    progress: ql.Progress | None = None
    result: ql.RunResult | None = None
    error: str | None = None
    started: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    folder: Path | None = None

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None

    @property
    def path(self) -> Path | None:
        return self.result.path if self.result and self.result.path.exists() else None


class Registry:
    """All jobs of the server, by token; the token is the only key to a job and to its file."""

    def __init__(self):
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(RUNNING_AT_ONCE, thread_name_prefix="job")

    def submit(self, plan: ql.Plan, file_name: str) -> Job:
        """Put a run in line. Raises JobError where the line is full."""
        with self._lock:
            if sum(not job.done for job in self._jobs.values()) >= MOST_WAITING:
                raise ql.JobError(f"{MOST_WAITING} runs are waiting already; try again in a minute.")
            self._forget_old()
            job = Job(plan, file_name)
            self._jobs[job.token] = job
        self._workers.submit(self._work, job)
        return job

    def get(self, token: str | None) -> Job | None:
        return self._jobs.get(token or "")

    def ahead_of(self, job: Job) -> int:
        """How many unfinished jobs came before this one."""
        return sum(not other.done for other in list(self._jobs.values()) if other.created < job.created)

    def _work(self, job: Job) -> None:
        try:
            job.started = True
            job.folder = files.new_folder()

            def show(progress: ql.Progress) -> None:
                job.progress = progress

            job.result = ql.run(job.plan, job.folder / "model.gguf", show, job.stop.is_set)
        except ql.QuantlibError as error:
            job.error = str(error)
        except Exception:
            job.error = "The run met an error that it did not expect; nothing was written."
            raise
        finally:
            if job.error and job.folder:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _forget_old(self) -> None:
        finished = [job for job in self._jobs.values() if job.done]
        for job in finished[: max(0, len(finished) - KEPT)]:
            del self._jobs[job.token]
            if job.folder:
                shutil.rmtree(job.folder, ignore_errors=True)


@st.cache_resource(show_spinner=False)
def registry() -> Registry:
    """The one registry of this server."""
    return Registry()
