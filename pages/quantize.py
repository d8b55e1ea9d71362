"""Quantize: a checkpoint, a recipe, the plan with its reasons, the run, the file."""

import shlex
from collections.abc import Callable
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import files, jobs, routes, uploads, visits
from pages.server.jobs import Job
from pages.server.opened import Opened, check_fetchable, shelf
from pages.server.warmup import compile_apart
from pages.ui import batch, captions, drawing, jobview, looking, measuring, menu, model, recipes, ways
from pages.ui.uploader import uploader
from quantlib import lm, tables
from quantlib.architectures.diffusion import Family
from quantlib.cards import Made, model_card
from quantlib.checkpoints import ImportanceMatrix, gguf_view, read_imatrix
from quantlib.checkpoints.image_models import image_family
from quantlib.figures import runs
from quantlib.jobs.coverage import adequacy
from quantlib.jobs.standing_in import stand_in_words
from quantlib.jobs.ways import BETTER, ON_A_TEXT, with_effort
from quantlib.recipes import RECIPES
from quantlib.recipes.diffusion import OFFERED as IMAGE_RECIPES

JOB, MATRIX, MEASURED = "job", "imatrix", "measured"
NONE, FILE, TEXT = "none", "a file", "computed here"


def main() -> None:
    st.title("Quantize", anchor=False)
    opened = model.current()
    family = image_family(opened.checkpoint)
    loaders = "ComfyUI loads (with the nodes of ComfyUI-GGUF)" if family else "llama.cpp and Ollama load"
    st.markdown(f"Choose a recipe. You get a GGUF file that {loaders}, and you see what each tensor lost.")
    left, right = st.columns([5, 1], vertical_alignment="center")  # in one row by their width, not once it is measured
    left.text(f"From: {model.plain(opened.name)}")
    with right:
        menu.OPEN.link()
    names = IMAGE_RECIPES if family else tuple(RECIPES)
    how = st.segmented_control(
        "Formats by", recipes.WAYS, default=recipes.BY_RECIPE, key="by", bind="query-params", required=True
    )
    several = how == recipes.SEVERAL
    wanted = None if several else recipes.choose(how, opened, names)
    if wanted is None and not several:
        return
    imatrix = choose_imatrix(opened) if family is None else say_of_images(family)
    if several:
        batch.show(opened, names, imatrix)
        return
    plan = planned(opened, wanted, imatrix)
    if plan is None:
        return
    show_plan(plan, by_size(opened, plan))
    chosen = ways.choose(opened, plan)
    file_name = f"{opened.stem}-{wanted.label}.gguf"
    reads = chosen.way is ON_A_TEXT
    waits = family is None and imatrix is None and st.session_state["importance"] != NONE and not reads
    flags = wanted.flags + (" --imatrix imatrix.gguf" if imatrix and not reads else "") + chosen.flags
    command = f"quantlib quantize {opened.stem} {file_name}{flags}"
    if reads:
        work = partial(ways.fill, opened=opened, plan=plan, wanted=wanted, texts=chosen.texts or {}, command=command)
    else:
        plan = with_effort(plan, "best") if chosen.way is BETTER else plan
        work = partial(quantize, plan=plan, command=command)
    show_job(opened, plan, file_name, waits, chosen.waits, work)
    captions.show_python(
        ways.snippet(opened, wanted, chosen, imatrix is not None, file_name),
        shell=f"python -m quantlib quantize {shlex.quote(opened.source)} {file_name}{flags}",
    )


def say_of_images(family: Family) -> None:
    """What is different for an image model; there is no importance matrix."""
    st.caption(
        f"An image or video model ({family.title}): what leads in and out of it and what steers all of it stay in 16 "
        "or 32 bits. An importance matrix comes from reading a text, which such a model does not do, so there is none. "
        "The recipes are those whose formats ComfyUI-GGUF unpacks fast."
    )


def planned(opened: Opened, wanted: recipes.Wanted, imatrix: ImportanceMatrix | None) -> ql.Plan | None:
    """The plan; of a budget, once the job has measured what formats cost this checkpoint."""
    if not wanted.recipe.startswith("auto:"):
        return model.plan_of(opened.checkpoint, wanted.recipe, imatrix, wanted.pure, wanted.overrides)
    about = f"{opened.identity}/{imatrix.source if imatrix else ''}"
    job = jobview.job_of(MEASURED)
    if job is None or job.about != about or job.error:
        if job is not None and job.error:
            jobview.show_failure(job)
        if st.button("Measure what formats cost", type="primary"):
            work = partial(measuring.measure_formats, checkpoint=opened.checkpoint, imatrix=imatrix)
            title = f"Formats tried on {opened.name}"
            jobview.launch(MEASURED, Job("measure", title, work, visits.current(), about=about))
        return None
    if not job.done:
        jobview.watch(job.token)
        return None
    try:
        return ql.plan(opened.checkpoint, wanted.recipe, imatrix, overrides=wanted.overrides, measured=job.result)
    except ql.RecipeError as error:  # a budget that is too small
        st.info(model.told(error), icon="🪙")
        return None


def by_size(opened: Opened, plan: ql.Plan) -> list[ql.Plan]:
    """The plan among those of the usual recipes, the largest file first."""
    others = [p for p in model.plans(opened.checkpoint) if p.recipe.name != plan.recipe.name]
    return sorted([plan, *others], key=lambda p: -p.nbytes)


def choose_imatrix(opened: Opened) -> ImportanceMatrix | None:
    """An importance matrix: brought, or computed here from a text; kept for the visit."""
    with st.expander("Importance matrix (optional)", expanded="importance" in st.query_params):
        st.markdown(
            "The mean square of each input channel's activations. With it, errors on channels that carry much "
            "weigh more. Recipes of about 2 bits need one."
        )
        kind = st.segmented_control(
            "Importance matrix", [NONE, FILE, TEXT], default=NONE, key="importance", bind="query-params", required=True
        )
        found = from_file() if kind == FILE else from_text(opened) if kind == TEXT else None
        if found is not None:
            for sentence in adequacy(found, gguf_view(opened.checkpoint)):
                st.text(model.plain(sentence))
        return found


def from_file() -> ImportanceMatrix | None:
    held = st.session_state.get("imatrix-file")
    token = uploader("bring-imatrix", "imatrix", "Bring an imatrix file", ".gguf or .dat, as llama-imatrix writes")
    if token:
        held = st.session_state["imatrix-file"] = read_upload(token)
    if held:
        st.text(f"In use: {held.chunks} chunks, {len(held.entries)} tensors")
    return held


def read_upload(token: str) -> ImportanceMatrix:
    path, _, _ = uploads.registry().take(token)
    try:
        return read_imatrix(path)
    finally:
        files.remove(path.parent)


def from_text(opened: Opened) -> ImportanceMatrix | None:
    texts = measuring.text_choice("calibration", calibration(), "Text")
    about = f"{opened.identity}/{lm.digest_of_texts(texts)}"
    job = jobview.job_of(MATRIX)
    if job is None or job.about != about or job.error:
        if job is not None and job.error:
            jobview.show_failure(job)
        if st.button("Compute it", disabled=not texts):
            work = partial(measuring.collect, checkpoint=opened.checkpoint, texts=texts)
            title = f"Importance matrix of {opened.name}"
            made = Job("imatrix", title, work, visits.current(), file_name="imatrix.gguf", about=about)
            jobview.launch(MATRIX, made)
        return None
    if not job.done:
        jobview.watch(job.token)
        return None
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.text(f"In use: {job.result.chunks} windows, {len(job.result.entries)} tensors")
    right.link_button("Download it", routes.address(job.token), width="stretch")
    return job.result


@st.cache_data(max_entries=1, show_spinner=False)
def calibration() -> dict[str, str]:
    return lm.read_texts([lm.CALIBRATION])


def show_plan(plan: ql.Plan, plans: list[ql.Plan]) -> None:
    """Sizes of all recipes to scale, then the chosen plan tensor by tensor."""
    st.header("The plan")
    for warning in plan.warnings:
        st.warning(warning, icon="⚠️")
    if said := stand_in_words(plan):
        st.warning(model.plain(said), icon="📏")
    with st.container(key="plan-sizes"):
        st.html(runs.size_bars(plans, plan.recipe.name))
    captions.receipt("exact", "sizes follow from the plan: every header byte and every block is counted")
    st.markdown(f"Which matrix gets which format in **{plan.recipe.name}**. Point at one to read why.")
    drawing.draw(runs.format_map(plan), key="format-map")
    rows = tables.plan(plan)["tensors"]
    table = partial(
        st.dataframe,
        rows,
        column_order=["name", "shape", "source", "target", "bpw", "nbytes", "reason"],
        column_config={"nbytes": st.column_config.NumberColumn("bytes", format="localized")},
        hide_index=True,
    )
    captions.folded(f"All {len(rows)} tensors, and why each gets its format", "tensors", table)


def show_job(opened: Opened, plan: ql.Plan, file_name: str, waits: bool, textless: bool, work: Callable) -> None:
    """The button, then the job that it started: in line, running, done or failed.

    waits: for an importance matrix; textless: for a text. work: what the job does.
    """
    job = jobview.job_of(JOB)
    busy = job is not None and not job.done
    if waits:
        st.info("An importance matrix was chosen, but there is none yet: bring or compute it above, or choose none.")
    if textless:
        st.info("Codes are to be chosen on a text, but there is none yet: bring one above, or take the shipped one.")
    if st.button("Quantize", type="primary", disabled=bool(plan.lacking) or busy or waits or textless):
        title = f"{opened.name} to {plan.recipe.name}"
        made = Job("quantize", title, work, visits.current(), nbytes=plan.nbytes, file_name=file_name)
        jobview.launch(JOB, made)
    if busy:
        st.text(model.plain(job.title))
        jobview.watch(job.token)
    elif job is not None:
        show_outcome(job)


def quantize(job: Job, plan: ql.Plan, command: str) -> Made:
    """The work of the job: the run, with its progress in words, and the file's hash."""
    check_fetchable(plan.checkpoint)
    if plan.effort == "best":
        job.show(0.0, "Getting ready")
        compile_apart(f"formats.warm_up({sorted({t.target for t in plan.tensors})}, effort='best')")

    def show(p: ql.Progress) -> None:
        speed = p.weights_done / p.seconds if p.seconds else 0
        words = f"Tensor {p.index + 1} of {p.count}, {tables.count(int(speed))} weights a second"
        job.show(p.fraction, words if p.weights_done < p.weights else "Reading the file back and verifying it")

    result = ql.run(plan, job.new_file("model.gguf"), show, job.stop.is_set, jobs.pool())
    job.path = result.path
    return Made.of(plan, result, command)


def show_outcome(job: Job) -> None:
    """The file, and what each tensor lost; or why there is none."""
    st.header(job.file_name, anchor=False)
    if job.error:
        jobview.show_failure(job)
        return
    if isinstance(job.result, ways.OnText):
        show_chosen_on_text(job, job.result)
        return
    made: Made = job.result
    result = made.result
    show_written(result.nbytes, result.seconds)
    st.html(runs.result_html(made))
    for found in result.outliers:
        st.warning(model.plain(found.words), icon="⚠️")
    left, _ = show_links(job)
    left.download_button(
        "Model card (Markdown)",
        model_card([made]),
        "README.md",
        on_click="ignore",
        key="quantize-card",
        width="stretch",
    )
    st.markdown(
        "**What each tensor lost**: the relative error, which is the root mean square of ŵ − w over that of w. "
        "Each bit less about doubles it, which is 6 dB of signal to noise."
    )
    drawing.draw(runs.error_map(result.tensors), key="error-map")
    captions.receipt("measured", "on every weight of this run, decoded from the bytes in the file")
    table = partial(
        st.dataframe,
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
    captions.folded("As a table", "table", table)


def show_written(nbytes: int, seconds: float) -> None:
    st.success(f"{tables.size(nbytes)}, written in {seconds:.1f} s, read back and verified.", icon="✅")


def show_links(job: Job) -> tuple:
    """What can be done with a finished file, in two columns."""
    left, right = st.columns(2)
    left.link_button("Download the GGUF file", routes.address(job.token), type="primary", icon="⬇️", width="stretch")
    right.button("Look at it on every page", on_click=look_at_result, args=(job,), icon="🔎", width="stretch")
    right.caption("Every page then shows this file; the sidebar leads back. Inspect compares the two.")
    return left, right


def show_chosen_on_text(job: Job, made: ways.OnText) -> None:
    """A file whose codes were chosen on a text."""
    file = made.file
    show_written(file.nbytes, file.seconds)
    st.html(runs.chosen_html(made.plan, file, made.sha256, made.command))
    for note in file.notes:
        st.text(model.plain(note))
    show_links(job)
    st.markdown(
        "Its **weights** are usually farther from the originals than with llama.cpp's codes, and the **outputs** of "
        "its layers closer. So what counts is how the model answers: the page Evaluate compares it with the original, "
        "on texts that it was not made on."
    )


def look_at_result(job: Job) -> None:
    looking.look_at_result(shelf().result(visits.current(), job.token, job.path, job.file_name))


main()
