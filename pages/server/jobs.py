"""Jobs: long work that waits in line and outlives reruns, page changes and reloads.

A job knows nothing of Streamlit. Its worker writes what is known of it, pages read that, and the token in the address
is the only key to it and to its file.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pages.server import files
from pages.server.limits import LIMITS, Limits
from pages.server.visits import VISITS
from quantlib.errors import Cancelled, JobError, QuantlibError

NICE = 5  # workers give way to the threads that answer people


@dataclass
class Job:
    """One piece of work. work(job) returns the result; it calls `show` as it goes and asks `stop` where it can end.

    line: which line it waits in. nbytes: room on the disk that it needs. file_name: what its file is called when it
    is downloaded. about: what it is about, so that a page knows its own.
    """

    kind: str
    title: str
    work: Callable[["Job"], Any]
    visit: str
    line: str = "long"
    nbytes: int = 0
    file_name: str = ""
    about: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    created: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    fraction: float = 0.0
    words: str = ""
    result: Any = None
    error: str | None = None
    cancelled: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    folder: Path | None = None
    path: Path | None = None

    @property
    def done(self) -> bool:
        return self.ended is not None

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started

    @property
    def left(self) -> float | None:
        """Seconds until it ends, if it goes on as it went; None where nothing can be said yet."""
        return self.seconds * (1 / self.fraction - 1) if self.fraction > 0.01 and self.seconds > 1 else None

    def show(self, fraction: float, words: str) -> None:
        """Say how far it is."""
        self.fraction, self.words = fraction, words

    def new_file(self, name: str) -> Path:
        """A path in a folder of this job's own, which goes with it."""
        if self.folder is None:
            self.folder = files.new_folder()
        return self.folder / name


class Registry:
    """All jobs of the server, by token, and the lines they wait in."""

    def __init__(self, limits: Limits = LIMITS):
        self.limits = limits
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._lines = {
            "long": ThreadPoolExecutor(limits.jobs_at_once, thread_name_prefix="job", initializer=give_way),
            "short": ThreadPoolExecutor(1, thread_name_prefix="look", initializer=give_way),
        }

    def submit(self, job: Job) -> Job:
        """Put a job in line. Raises JobError where the line, this visit's share or the disk is full."""
        with self._lock:
            unfinished = [other for other in self._jobs.values() if not other.done]
            if sum(other.visit == job.visit for other in unfinished) >= self.limits.jobs_per_session:
                raise JobError(
                    f"You have {self.limits.jobs_per_session} unfinished jobs on this server; wait for one of them, "
                    "or cancel it."
                )
            neighbours = VISITS.of_same_address(job.visit)
            share = max(1, self.limits.jobs_waiting // 2)
            if len(neighbours) > 1 and sum(other.visit in neighbours for other in unfinished) >= share:
                raise JobError("Your network address has its share of the line already; wait for one of its jobs.")
            if len(unfinished) >= self.limits.jobs_waiting:
                raise JobError(f"{len(unfinished)} jobs are waiting already; try again in a few minutes.")
            if job.nbytes:
                files.check_room(job.nbytes, sum(other.nbytes for other in unfinished), self.limits)
            self._jobs[job.token] = job
        VISITS.keep(f"job/{job.token}", lambda: self.forget(job.token), job.visit)
        self._lines[job.line].submit(self._work, job)
        return job

    def get(self, token: str | None) -> Job | None:
        return self._jobs.get(token or "")

    def attach(self, visit: str, token: str | None) -> Job | None:
        """The job of a token in the address. A reload by its owner's browser holds it on; a guest only sees it."""
        job = self.get(token)
        if job is not None:
            VISITS.take_over(f"job/{job.token}", visit)
        return job

    def is_of(self, job: Job, visit: str) -> bool:
        """Whether this visit may cancel it: it submitted the job, or is its owner's browser after a reload."""
        return VISITS.holds(f"job/{job.token}", visit)

    def ahead_of(self, job: Job) -> int:
        """How many unfinished jobs of the same line came before this one."""
        return sum(not o.done and o.line == job.line and o.created < job.created for o in list(self._jobs.values()))

    def forget(self, token: str) -> None:
        """Stop a job if it still runs, and delete what it made."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            job.stop.set()
            if job.done:
                files.remove(job.folder)

    def expire(self, keep_seconds: float) -> None:
        """Forget the jobs that ended longer ago than that."""
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.ended is not None and now - job.ended > keep_seconds:
                self.forget(job.token)

    def _work(self, job: Job) -> None:
        job.started = time.monotonic()
        try:
            if job.stop.is_set():
                raise Cancelled("The job was cancelled before it began.")
            job.result = job.work(job)
        except Cancelled as error:
            job.error, job.cancelled = files.told(error), True
        except QuantlibError as error:
            job.error = files.told(error)
        except MemoryError:
            job.error = "The server ran out of memory; nothing was written."
        except BaseException:  # the panic of a library of another language is no Exception
            job.error = "The job met an error that it did not expect; nothing was written."
            raise
        finally:
            if job.error:
                files.remove(job.folder)
            job.ended = time.monotonic()
            if self.get(job.token) is None:  # forgotten while it ran; from here on `forget` itself removes the folder
                files.remove(job.folder)


def give_way() -> None:
    """Let this thread's work yield to that of other threads, where the system knows such a thing."""
    if hasattr(os, "setpriority") and hasattr(threading, "get_native_id"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            return


@cache
def pool() -> ThreadPoolExecutor:
    """The threads on which jobs quantize: fewer than there are cores, and giving way to those that answer people."""
    return ThreadPoolExecutor(LIMITS.threads, thread_name_prefix="work", initializer=give_way)


@cache
def registry() -> Registry:
    """The one registry of this server."""
    return Registry()
