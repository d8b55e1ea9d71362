"""How a page shows a job: its place in line, its progress, the way to cancel it. The address names it."""

from typing import Any

import streamlit as st

import quantlib as ql
from pages.server import visits
from pages.server.jobs import Job, registry
from pages.ui import model
from quantlib import tables


def job_of(key: str) -> Job | None:
    """The job that this page shows under `key`: of this visit, or named by the address (a reload, a link)."""
    token = st.query_params.get(key) or st.session_state.get(key)
    job = registry().attach(visits.current(), token)
    if job is None and st.query_params.pop(key, None):
        st.info("This link names a job that the server no longer knows: it was restarted, or too much time has passed.")
    if job is not None:
        st.session_state[key] = st.query_params[key] = job.token
    return job


def launch(key: str, job: Job) -> None:
    """Put a job in line and show it; a sentence where it is refused."""
    try:
        registry().submit(job)
    except ql.QuantlibError as error:
        st.error(model.told(error), icon="⚠️")
        return
    st.session_state[key] = st.query_params[key] = job.token
    st.rerun()


def forget(key: str) -> None:
    """Show no job under `key` any more; its file stays as long as the visit."""
    st.session_state.pop(key, None)
    st.query_params.pop(key, None)


@st.fragment(run_every=0.7)
def watch(token: str) -> None:
    """A living job; reruns the page once it is done."""
    job = registry().get(token)
    if job is None or job.done:
        st.rerun()
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    with left:
        if job.started is None:
            ahead = registry().ahead_of(job)
            st.progress(0.0, f"In line: {ahead} before you" if ahead else "About to start")
        else:
            rest = f", about {tables.duration(job.left)} left" if job.left is not None else ""
            st.progress(min(1.0, job.fraction), f"{job.words or 'Starting'}{rest}")
    if registry().is_of(job, visits.current()):
        right.button(
            "Cancel", key=f"cancel-{job.token}", on_click=job.stop.set, width="stretch", disabled=job.stop.is_set()
        )


def outcome(job: Job | None) -> Any | None:
    """What a job made once it is done; None until then, while it shows how far it is, or why nothing came of it."""
    if job is None:
        return None
    if not job.done:
        watch(job.token)
    elif job.error:
        show_failure(job)
    return job.result


def show_failure(job: Job) -> None:
    """Why there is no result, in one sentence."""
    if job.cancelled:
        st.info(job.error, icon="🛑")
    else:
        st.error(job.error, icon="⚠️")
