"""Quantize: a checkpoint, a recipe, the plan with its reasons, the run, the file."""

import streamlit as st

import quantlib as ql
from pages.ui import captions, drawing, model, routes
from pages.ui.jobs import Job, registry
from quantlib import tables
from quantlib.checkpoints import ImportanceMatrix
from quantlib.figures import runs
from quantlib.recipes import RECIPES

DEMO, OWN = "The demo model", "A file of mine"


def main() -> None:
    st.title("Quantize")
    st.markdown(
        "Choose a model and a recipe. You get a GGUF file that llama.cpp and Ollama load, "
        "and you see what each tensor lost."
    )
    checkpoint, name = choose_source()
    if checkpoint is None:
        return
    recipe = choose_recipe()
    imatrix = choose_imatrix()
    plan = model.plan_of(checkpoint, recipe, imatrix)
    show_plan(plan, model.plans(checkpoint, {*model.LADDER, recipe}))
    show_job(plan, f"{name}-{recipe}.gguf")
    captions.show_python(
        "import quantlib as ql\n\n"
        f"checkpoint = ql.open_checkpoint({str(model.shown_path(checkpoint))!r})\n"
        f"plan = ql.plan(checkpoint, recipe={recipe!r})\n"
        f"result = ql.run(plan, {f'{name}-{recipe}.gguf'!r})\n"
        "for t in result.tensors:\n"
        '    print(f"{t.name:32} {t.source} -> {t.target:5} error {t.loss.relative:.2%}")',
        shell=f"python -m quantlib quantize {model.shown_path(checkpoint)} {name}-{recipe}.gguf --recipe {recipe}",
    )


def choose_source() -> tuple[ql.Checkpoint | None, str]:
    """The checkpoint to quantize, and a name for the file that comes of it."""
    source = st.segmented_control("Model", [DEMO, OWN], default=DEMO, key="source", bind="query-params", required=True)
    if source == DEMO:
        return model.demo_checkpoint(), "demo-model"
    uploads = st.file_uploader(
        "A safetensors or GGUF file; for safetensors add config.json and the tokenizer files beside it",
        accept_multiple_files=True,
        help="Nothing you bring leaves this server. It is deleted within two hours.",
    )
    if not uploads:
        st.info("No file at hand? Take the demo model: every number below is measured on it.", icon="💡")
        return None, ""
    try:
        return model.uploaded_checkpoint(uploads), model.plain_name(uploads)
    except ql.QuantlibError as error:
        st.error(str(error), icon="⚠️")
        return None, ""


def choose_recipe() -> str:
    names = list(RECIPES)
    name = st.selectbox("Recipe", names, index=names.index("Q4_K_M"), key="recipe", bind="query-params")
    st.caption(RECIPES[name].summary[0].upper() + RECIPES[name].summary[1:] + ".")
    return name


def choose_imatrix() -> ImportanceMatrix | None:
    """An importance matrix, if the reader brings one."""
    with st.expander("Importance matrix (optional)"):
        st.markdown(
            "The mean square of each input channel's activations. With it, errors on channels that carry much "
            "weigh more. `llama-imatrix` makes such files; recipes of about 2 bits need one."
        )
        upload = st.file_uploader("An imatrix file (.gguf or .dat)", key="imatrix")
        if upload is None:
            return None
        try:
            return model.uploaded_imatrix(upload)
        except ql.QuantlibError as error:
            st.error(str(error), icon="⚠️")
            return None


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


def show_job(plan: ql.Plan, file_name: str) -> None:
    """The button, then the job that it started: in line, running, done or failed."""
    job = registry().get(st.session_state.get("job") or st.query_params.get("job"))
    if st.button("Quantize", type="primary", disabled=bool(plan.lacking) or (job is not None and not job.done)):
        try:
            job = registry().submit(plan, file_name)
        except ql.QuantlibError as error:
            st.error(str(error), icon="⚠️")
            return
        st.session_state["job"] = st.query_params["job"] = job.token
        st.rerun()
    if job is not None and job.done:
        show_outcome(job)
    elif job is not None:
        watch(job.token)


@st.fragment(run_every=0.4)
def watch(token: str) -> None:
    """The progress of a living job; reruns the page once it is done."""
    job = registry().get(token)
    if job is None or job.done:
        st.rerun()
    progress, ahead = job.progress, registry().ahead_of(job)
    if not job.started and ahead:
        st.progress(0.0, f"In line: {ahead} before you")
    elif progress is None:
        st.progress(0.0, "Starting")
    else:
        st.progress(progress.fraction, f"Tensor {progress.index + 1} of {progress.count}, {progress.seconds:.0f} s")
    if st.button("Cancel"):
        job.stop.set()


def show_outcome(job: Job) -> None:
    """The file, and what each tensor lost; or why there is none."""
    st.subheader(job.file_name)
    if job.error:
        st.error(job.error, icon="⚠️")
        return
    result = job.result
    if job.path:
        st.success(
            f"{tables.size(result.nbytes)}, written in {result.seconds:.1f} s, read back and verified.", icon="✅"
        )
        st.link_button("Download the GGUF file", routes.address(job.token), type="primary", icon="⬇️")
    else:
        st.info("The file is no longer kept on the server; press Quantize to make it again.")
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


main()
