"""Several recipes in one job: a file of each, one table of what they cost, one archive with a model card."""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import jobs, routes, visits
from pages.server.jobs import Job
from pages.server.opened import Opened, check_fetchable
from pages.ui import captions, importance, jobview, measuring, model
from quantlib import lm, tables
from quantlib.cards import Made, model_card
from quantlib.checkpoints import ImportanceMatrix
from quantlib.errors import Cancelled

JOB, CONTEXT, MOST = "batch", 256, 6
COPIES = 2  # each file and the archive of all are on the disk together
FIRST = ("Q8_0", "Q5_K_M", "Q4_K_M")


@dataclass(frozen=True)
class Batch:
    """What became of several recipes: the files, and how far each moves the model's answers, where it was run."""

    made: tuple[Made, ...]
    answers: Mapping[str, lm.Summary]


def show(opened: Opened, names: tuple[str, ...], imatrix: ImportanceMatrix | None) -> None:
    """The recipes, their sizes, the button, and one table when all is done."""
    offered = [
        name for name in names if name in FIRST or not (ql.recipes.RECIPES[name].needs_importance and not imatrix)
    ]
    chosen = st.multiselect(
        "Recipes", offered, [n for n in FIRST if n in offered], key="quantize-several", max_selections=MOST
    )
    plans = [model.plan_of(opened.checkpoint, name, imatrix) for name in chosen]
    runs = importance.runs(opened)
    measured = runs and st.toggle(
        "Let each read the shipped texts, too (KL divergence)", value=True, key="quantize-measured"
    )
    st.dataframe(tables.plans(plans), hide_index=True, column_config=COLUMNS)
    job = jobview.job_of(JOB)
    busy = job is not None and not job.done
    if st.button("Quantize all", type="primary", disabled=busy or not plans or any(plan.lacking for plan in plans)):
        texts = lm.read_texts(lm.EVALUATION) if measured else {}
        work = partial(make_all, opened=opened, plans=plans, texts=texts)
        nbytes = COPIES * sum(plan.nbytes for plan in plans)
        title = f"{opened.name} to {', '.join(chosen)}"
        file_name = f"{opened.stem}-GGUF.tar"
        jobview.launch(JOB, Job("quantize", title, work, visits.current(), nbytes=nbytes, file_name=file_name))
    found = jobview.outcome(job)
    if found is not None:
        show_outcome(job, found)


COLUMNS = {
    "nbytes": st.column_config.NumberColumn("bytes", format="localized"),
    "relative": st.column_config.NumberColumn("relative error", format="percent"),
    "top changed": st.column_config.NumberColumn(format="percent"),
}


def make_all(job: Job, opened: Opened, plans: list[ql.Plan], texts: Mapping[str, str]) -> Batch:
    """The work of the job: a file of each plan, their answers, and one archive with a card."""
    check_fetchable(opened.checkpoint)
    made, share = [], (0.6 if texts else 0.95) / len(plans)
    for number, plan in enumerate(plans):
        out = job.new_file(f"{opened.stem}-{plan.recipe.name}.gguf")

        def show_progress(p: ql.Progress, number: int = number, plan: ql.Plan = plan) -> None:
            job.show(share * (number + p.fraction), f"{plan.recipe.name}: tensor {p.index + 1} of {p.count}")

        result = ql.run(plan, out, show_progress, job.stop.is_set, jobs.pool())
        command = f"quantlib quantize {opened.stem} {out.name} --recipe {plan.recipe.name}"
        made.append(Made.of(plan, result, command))
    answers = compared(job, opened.checkpoint, plans, texts) if texts else {}
    job.show(0.97, "Putting all into one file")
    card = job.new_file("README.md")
    card.write_text(model_card(made), encoding="utf-8")
    archive = job.new_file("files.tar")
    with tarfile.open(archive, "w") as tar:
        for path in [card, *(one.result.path for one in made)]:
            tar.add(path, arcname=f"{opened.stem}-GGUF/{path.name}")
    job.path = archive
    return Batch(tuple(made), answers)


def compared(
    job: Job, checkpoint: ql.Checkpoint, plans: list[ql.Plan], texts: Mapping[str, str]
) -> dict[str, lm.Summary]:
    """How each plan's model answers to the texts, against the original."""
    measuring.check_runnable(checkpoint, 2)
    job.show(0.6, "The original reads the texts")
    first, tokenizer = lm.load(checkpoint), lm.Tokenizer.of(checkpoint)
    windows = lm.cut_texts(first, tokenizer, texts, min(CONTEXT, first.shape.context))
    bases = [lm.baseline(first, some) for some in windows.values()]
    found = {}
    for number, plan in enumerate(plans):
        if job.stop.is_set():
            raise Cancelled("The run was cancelled; nothing was kept.")
        job.show(0.65 + 0.3 * number / len(plans), f"{plan.recipe.name} reads the texts")
        second = lm.applied(first, plan, jobs.pool())
        found[plan.recipe.name] = lm.together([lm.compare(second, base) for base in bases]).summary()
    return found


def show_outcome(job: Job, found: Batch) -> None:
    """One table, the archive, the card."""
    st.header(job.file_name, anchor=False)
    rows = tables.made(found.made, found.answers)
    st.dataframe(rows, hide_index=True, column_config=COLUMNS)
    captions.receipt(
        "measured",
        "errors on every weight of these runs; KL divergence and changed top tokens on the shipped texts, where the "
        "model was run",
    )
    left, right = st.columns(2)
    left.link_button("Download all in one file (tar)", routes.address(job.token), type="primary", width="stretch")
    right.download_button(
        "Model card (Markdown)", model_card(found.made), "README.md", on_click="ignore", width="stretch",
        key="quantize-batch-card",
    )  # fmt: skip
    captions.data(lambda: tables.as_csv(rows), "recipes.csv")
