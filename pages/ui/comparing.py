"""Long looks at whole checkpoints, as jobs: statistics of every tensor, and two checkpoints side by side."""

import shlex
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

import quantlib as ql
from pages.server import jobs, visits
from pages.server.jobs import Job
from pages.server.opened import Opened, check_fetchable, shelf
from pages.ui import captions, charts, drawing, jobview, model
from pages.ui.looking import COMPARE_AT_ONCE
from quantlib import inspection, tables
from quantlib.errors import Cancelled
from quantlib.figures.report import html_report

if TYPE_CHECKING:  # loaded where two are compared: it needs what runs models, which a first look does without
    from quantlib.figures import differences

STATISTICS, COMPARISON = "stats", "comparison"


def show_statistics(opened: Opened) -> None:
    """Statistics of every tensor, computed in the background."""
    st.markdown("Every weight is read once, in the background. You may leave this page meanwhile.")
    job = jobview.job_of(STATISTICS)
    if job is not None and job.about != opened.identity:
        job = None
    if (job is None or job.error) and st.button("Read all tensors", type="primary"):
        work = partial(read_all, checkpoint=opened.checkpoint)
        title = f"Statistics of {opened.name}"
        made = Job("statistics", title, work, visits.current(), line="short", about=opened.identity)
        jobview.launch(STATISTICS, made)
    found = jobview.outcome(job)
    if found is not None:
        show_rows(
            opened,
            [tables.statistics(one) for one in found],
            "Statistics of every tensor",
            "statistics",
            f"inspect {shlex.quote(opened.source)} --statistics",
        )


def read_all(job: Job, checkpoint: ql.Checkpoint) -> list[inspection.Statistics]:
    """The work of the job: the statistics of every tensor, of all its weights."""
    check_fetchable(checkpoint)
    rows, total, done = [], max(1, checkpoint.nbytes), 0
    for found in inspection.all_statistics(checkpoint, jobs.pool()):
        rows.append(found)
        done += found.nbytes
        job.show(done / total, f"Tensor {len(rows)} of {len(checkpoint.tensors)}")
        if job.stop.is_set():
            raise Cancelled("The reading was cancelled.")
    return rows


def all_read(opened: Opened) -> list[inspection.Statistics] | None:
    """What the job found that read every weight of this checkpoint; None where none has."""
    job = jobview.job_of(STATISTICS)
    return job.result if job is not None and job.about == opened.identity and job.done and not job.error else None


def show_comparison(opened: Opened) -> None:
    """This checkpoint and another one that was opened, tensor by tensor."""
    others = [o for o in [model.demo(), *shelf().of(visits.current())] if o is not opened]
    st.markdown(
        "How another checkpoint differs from this one: formats, sizes, and how far its weights are from these. "
        "Two quantizations of one model, or a quantized file and its original."
    )
    if not others:
        st.info("Open another checkpoint, or quantize this one and look at the result; then come back.", icon="🔀")
        return
    tokens = {o.token: o for o in others}
    token = st.selectbox(
        "Compare with", list(tokens), format_func=lambda t: model.plain(tokens[t].name), key="compared"
    )
    other, about = tokens[token], f"{opened.identity}/{tokens[token].identity}"
    job = jobview.job_of(COMPARISON)
    if job is not None and job.about != about:
        job = None
    pressed = (job is None or job.error) and st.button("Compare", type="primary")
    if pressed or (job is None and st.session_state.pop(COMPARE_AT_ONCE, False)):
        work = partial(compare_all, checkpoint=opened.checkpoint, other=other.checkpoint)
        title = f"{other.name} against {opened.name}"
        made = Job("comparison", title, work, visits.current(), line="short", about=about)
        jobview.launch(COMPARISON, made)
    found = jobview.outcome(job)
    if found is not None:
        show_verdict(opened, other, found)
        show_places(opened, other, found, about)
        rows = [tables.comparison(row) for row in found.rows]
        command = f"inspect {shlex.quote(opened.source)} --against {shlex.quote(other.source)}"
        show_rows(opened, rows, f"{other.name} against {opened.name}", "comparison", command, bar="relative")


VERDICT_ICONS = {"other": "🚫", "changed": "✏️", "stored": "📦", "same": "🟰"}


def show_verdict(opened: Opened, other: Opened, found: inspection.Comparison) -> None:
    """What the comparison means; numbers only where the two are of one model."""
    with st.container(border=True, horizontal=True):
        st.text(f"{VERDICT_ICONS[found.verdict]} {model.plain(found.words)}")
    left, middle, right = st.columns(3)
    left.metric("Size", tables.size(other.checkpoint.nbytes), f"from {tables.size(opened.checkpoint.nbytes)}", "off")
    if found.verdict != "other":
        total = tables.loss(found.total)
        middle.metric("Relative error, all weights", f"{total['relative']:.2%}")
        right.metric("Signal to noise", "no error" if total["sqnr"] is None else f"{total['sqnr']:.1f} dB")


def show_places(opened: Opened, other: Opened, found: inspection.Comparison, about: str) -> None:
    """Where the two differ: a map of the model, and one tensor of it."""
    picture = map_of(about, opened.checkpoint, found)
    if picture is None or found.verdict in ("other", "same"):
        return
    st.markdown("**Where they differ.** Click a matrix to see the places in it.")
    drawing.draw(picture, key="compared-map", on_pick=lambda name: st.session_state.update({"compared-tensor": name}))
    name = st.session_state.get("compared-tensor")
    first, second = inspection.aligned(opened.checkpoint, other.checkpoint)
    if name in first and name in second:
        seen = difference_of(about, name, first[name], second[name])
        st.text(model.plain(name))
        from quantlib.figures import differences

        charts.chart("compared-places", differences.difference_figure, seen, about=(about, name))
        whole = "every weight" if seen.seen == seen.total else f"{seen.seen:,} of {seen.total:,} weights"
        captions.receipt(
            "measured", f"on {whole}; each cell is the largest difference under it, so none is averaged away"
        )


@st.cache_data(max_entries=32, show_spinner=False)
def map_of(about: str, _checkpoint: ql.Checkpoint, _found: inspection.Comparison) -> str | None:
    from quantlib.figures import differences

    return differences.model_map(_checkpoint, _found)


@st.cache_data(max_entries=64, show_spinner="Reading weights …")
def difference_of(about: str, name: str, _first: ql.Tensor, _second: ql.Tensor) -> "differences.Difference":
    from quantlib.figures import differences

    return differences.difference(_first, _second)


def compare_all(job: Job, checkpoint: ql.Checkpoint, other: ql.Checkpoint) -> inspection.Comparison:
    """The work of the job: every tensor of both, and what it means."""
    check_fetchable(checkpoint)
    check_fetchable(other)
    done, total = [0, 0], max(1, checkpoint.nbytes)

    def show(row: inspection.TensorComparison) -> None:
        done[0], done[1] = done[0] + 1, done[1] + (row.nbytes or 0)
        job.show(min(1.0, done[1] / total), f"Tensor {done[0]}")
        if job.stop.is_set():
            raise Cancelled("The comparison was cancelled.")

    return inspection.compare(checkpoint, other, jobs.pool(), show)


def show_rows(opened: Opened, rows: list[dict], title: str, name: str, command: str, bar: str = "nbytes") -> None:
    """The table, and the same as files to keep."""
    shown = [row | {"name": model.plain(row["name"]), "shape": " × ".join(map(str, row["shape"]))} for row in rows]
    st.dataframe(
        shown,
        hide_index=True,
        height=min(560, 80 + 35 * len(shown)),
        column_config={
            "nbytes": st.column_config.NumberColumn("bytes", format="localized"),
            "other nbytes": st.column_config.NumberColumn("other bytes", format="localized"),
            "relative": st.column_config.NumberColumn("relative error", format="percent"),
            "sqnr": st.column_config.NumberColumn("SQNR, dB", format="%.1f"),
        },
    )
    captions.receipt("measured", "on every weight, decoded from the bytes in the files")
    facts = [(key, str(value)) for key, value in tables.checkpoint(opened.checkpoint).items() if key != "metadata"]
    left, right = st.columns([1, 4])
    with left:
        captions.data(lambda: tables.as_csv(rows), f"{name}.csv")
    with right:
        st.download_button(
            "Report (HTML)", lambda: html_report(title, facts, rows, bar), f"{name}.html", "text/html",
            on_click="ignore", key=f"html-{name}",
        )  # fmt: skip
    st.code(f"python -m quantlib {command} --report {name}.html", language="bash")
