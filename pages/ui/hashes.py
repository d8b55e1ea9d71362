"""By what a file is known again: SHA-256 of its bytes, and the fingerprint of its structure."""

from functools import partial

import streamlit as st

from pages.server import visits
from pages.server.jobs import Job
from pages.server.opened import Opened, check_fetchable
from pages.ui import captions, jobview, model
from quantlib.checkpoints.digests import Digests, digests, structure_digest
from quantlib.errors import Cancelled

JOB = "hashes"


def show(opened: Opened) -> None:
    """A closed box with both; the bytes are read when somebody asks."""
    captions.folded("SHA-256 and structure", "hashes", partial(draw, opened))


def draw(opened: Opened) -> None:
    job = jobview.job_of(JOB)
    if job is not None and job.about != opened.identity:
        job = None
    lines = [f"{structure_digest(opened.checkpoint)}  (structure: names, shapes and formats)"]
    found = jobview.outcome(job)
    if found is not None:
        lines = [*(f"{digest}  {model.plain(name)}" for name, digest in found.files.items()), *lines]
    st.code("\n".join(lines), language=None, wrap_lines=True)
    st.caption("Two files with one SHA-256 are the same. One structure says that two models are of one make.")
    if (job is None or job.error) and st.button("Hash the files", key="inspect-hash"):
        work = partial(hashed, opened=opened)
        made = Job("hashes", f"Hashes of {opened.name}", work, visits.current(), line="short", about=opened.identity)
        jobview.launch(JOB, made)


def hashed(job: Job, opened: Opened) -> Digests:
    """The work of the job."""
    check_fetchable(opened.checkpoint)
    opened.checkpoint.download()

    def show(fraction: float, name: str) -> None:
        job.show(fraction, name)
        if job.stop.is_set():
            raise Cancelled("The hashing was cancelled.")

    return digests(opened.checkpoint, tensors=False, threads=1, progress=show)
