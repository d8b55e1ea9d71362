"""Quantize: a checkpoint, a recipe, the plan with its reasons, the run, the file."""

import shlex
from functools import partial

import streamlit as st

import quantlib as ql
from pages.ui import captions, drawing, files, jobs, jobview, looking, menu, model, routes, uploads, visits
from pages.ui.jobs import Job
from pages.ui.opened import Opened, shelf
from pages.ui.uploader import uploader
from quantlib import tables
from quantlib.checkpoints import ImportanceMatrix, read_imatrix
from quantlib.figures import runs
from quantlib.recipes import RECIPES

JOB = "job"


def main() -> None:
    st.title("Quantize")
    st.markdown(
        "Choose a recipe. You get a GGUF file that llama.cpp and Ollama load, and you see what each tensor lost."
    )
    opened = model.current()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"From: {model.plain(opened.name)}")
        menu.OPEN.link()
    recipe = choose_recipe()
    imatrix = choose_imatrix()
    plan = model.plan_of(opened.checkpoint, recipe, imatrix)
    show_plan(plan, model.plans(opened.checkpoint, {*model.LADDER, recipe}))
    file_name = f"{opened.stem}-{recipe}.gguf"
    show_job(opened, plan, file_name)
    with_imatrix = ', imatrix="imatrix.gguf"' if imatrix else ""
    captions.show_python(
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({opened.source!r})\n"
        f"plan = ql.plan(checkpoint, recipe={recipe!r}{with_imatrix})\n"
        f"result = ql.run(plan, {file_name!r})\n"
        "for t in result.tensors:\n"
        '    print(f"{t.name:32} {t.source} -> {t.target:5} error {t.loss.relative:.2%}")',
        shell=f"python -m quantlib quantize {shlex.quote(opened.source)} {file_name} --recipe {recipe}"
        + (" --imatrix imatrix.gguf" if imatrix else ""),
    )


def choose_recipe() -> str:
    names = list(RECIPES)
    name = st.selectbox("Recipe", names, index=names.index("Q4_K_M"), key="recipe", bind="query-params")
    st.caption(RECIPES[name].summary[0].upper() + RECIPES[name].summary[1:] + ".")
    return name


def choose_imatrix() -> ImportanceMatrix | None:
    """An importance matrix, if the reader brings one; kept for the visit."""
    with st.expander("Importance matrix (optional)"):
        st.markdown(
            "The mean square of each input channel's activations. With it, errors on channels that carry much "
            "weigh more. `llama-imatrix` makes such files; recipes of about 2 bits need one."
        )
        held = st.session_state.get("imatrix")
        if held is None:
            token = uploader(
                "bring-imatrix", "imatrix", "Bring an imatrix file", ".gguf or .dat, as llama-imatrix writes"
            )
            if token is None:
                return None
            held = st.session_state["imatrix"] = read_upload(token)
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.text(f"In use: {held.chunks} chunks, {len(held.entries)} tensors")
        right.button("Without it", on_click=st.session_state.pop, args=("imatrix",), width="stretch")
        return held


def read_upload(token: str) -> ImportanceMatrix:
    path, _ = uploads.registry().take(token)
    try:
        return read_imatrix(path)
    finally:
        files.remove(path.parent)


def show_plan(plan: ql.Plan, plans: list[ql.Plan]) -> None:
    """Sizes of all recipes to scale, then the chosen plan tensor by tensor."""
    st.subheader("The plan")
    for warning in plan.warnings:
        st.warning(warning, icon="⚠️")
    st.html(runs.size_bars(plans, plan.recipe.name))
    captions.receipt("exact", "sizes follow from the plan: every header byte and every block is counted")
    st.markdown(f"Which matrix gets which format in **{plan.recipe.name}**. Point at one to read why.")
    drawing.draw(runs.format_map(plan), key="format-map")
    rows = tables.plan(plan)["tensors"]
    with st.expander(f"All {len(rows)} tensors, and why each gets its format"):
        st.dataframe(
            rows,
            column_order=["name", "shape", "source", "target", "bpw", "nbytes", "reason"],
            column_config={"nbytes": st.column_config.NumberColumn("bytes", format="localized")},
            hide_index=True,
        )


def show_job(opened: Opened, plan: ql.Plan, file_name: str) -> None:
    """The button, then the job that it started: in line, running, done or failed."""
    job = jobview.job_of(JOB)
    busy = job is not None and not job.done
    if st.button("Quantize", type="primary", disabled=bool(plan.lacking) or busy):
        work = partial(quantize, plan=plan)
        title = f"{opened.name} to {plan.recipe.name}"
        made = Job("quantize", title, work, visits.current(), nbytes=plan.nbytes, file_name=file_name)
        jobview.launch(JOB, made)
    if busy:
        st.text(model.plain(job.title))
        jobview.watch(job.token)
    elif job is not None:
        show_outcome(job)


def quantize(job: Job, plan: ql.Plan) -> ql.RunResult:
    """The work of the job: the run, with its progress in words."""

    def show(p: ql.Progress) -> None:
        speed = p.weights_done / p.seconds if p.seconds else 0
        words = f"Tensor {p.index + 1} of {p.count}, {tables.count(int(speed))} weights a second"
        job.show(p.fraction, words if p.weights_done < p.weights else "Reading the file back and verifying it")

    result = ql.run(plan, job.new_file("model.gguf"), show, job.stop.is_set, jobs.pool())
    job.path = result.path
    return result


def show_outcome(job: Job) -> None:
    """The file, and what each tensor lost; or why there is none."""
    st.subheader(job.file_name, anchor=False)
    if job.error:
        jobview.show_failure(job)
        return
    result = job.result
    st.success(f"{tables.size(result.nbytes)}, written in {result.seconds:.1f} s, read back and verified.", icon="✅")
    left, right = st.columns(2)
    left.link_button("Download the GGUF file", routes.address(job.token), type="primary", icon="⬇️", width="stretch")
    right.button("Look at it on every page", on_click=look_at_result, args=(job,), icon="🔎", width="stretch")
    st.markdown(
        "**What each tensor lost**: the root mean square of what changed, as a share of a typical weight. "
        "Each bit less doubles it, which is 6 dB of SQNR."
    )
    drawing.draw(runs.error_map(result.tensors), key="error-map")
    captions.receipt("measured", "on every weight of this run, decoded from the bytes in the file")
    with st.expander("As a table"):
        st.dataframe(
            tables.result(result)["tensors"],
            column_order=["name", "source", "target", "relative", "sqnr", "rmse", "largest_error", "nbytes"],
            column_config={
                "relative": st.column_config.NumberColumn("relative error", format="percent"),
                "sqnr": st.column_config.NumberColumn("SQNR, dB", format="%.1f"),
                "rmse": st.column_config.NumberColumn("rmse", format="%.2e"),
                "largest_error": st.column_config.NumberColumn("largest error", format="%.2e"),
                "nbytes": st.column_config.NumberColumn("bytes", format="localized"),
            },
            hide_index=True,
        )


def look_at_result(job: Job) -> None:
    looking.look_at(shelf().result(visits.current(), job.token, job.path, job.file_name))


main()
