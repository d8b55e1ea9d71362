"""What quantization does to an encoder: its embeddings of sentences against the original's."""

import shlex
from collections.abc import Sequence
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import visits
from pages.server.jobs import Job
from pages.server.opened import Opened
from pages.ui import captions, jobview, measuring, model
from quantlib import lm, tables
from quantlib.errors import CheckpointError
from quantlib.lm.embedding import SENTENCES, Agreement, compare_embeddings, is_encoder, read_sentences, sentences_in

JOB = "embeddings"
SHOWN = 8
INTRODUCTION = (
    "This model makes an **embedding** of a text: one vector, whose direction stands for what the text is about. "
    "Both models read the same sentences. The cosine says how far each vector turned; what search sees of it is "
    "whether a sentence still has the same **nearest neighbour**, and by how many places the others moved."
)


@st.cache_data(max_entries=1, show_spinner=False)
def shipped() -> dict[str, str]:
    return lm.read_texts([SENTENCES])


def compared(
    job: Job, checkpoint: ql.Checkpoint, other: ql.Checkpoint | ql.Plan, sentences: Sequence[str]
) -> Agreement:
    """The work of a job: embeddings of another checkpoint, or of what a plan would make, against the original's."""
    measuring.check_runnable(checkpoint, 2)
    job.show(0.0, "Loading both models")
    second = measuring.as_file(job, other) if isinstance(other, ql.Plan) else other
    if not is_encoder(second):
        raise CheckpointError("The other checkpoint makes no embeddings, so there is nothing to compare: take another.")
    return compare_embeddings(
        checkpoint, second, sentences, progress=measuring.step(job, 0.05, 1.0, "Both read the sentences")
    )


def evaluate(opened: Opened, other: ql.Checkpoint | ql.Plan | None, about: str) -> None:
    """The page's part for encoders: what to compare, the button, and what was found."""
    texts = measuring.text_choice("evaluate-sentences", shipped(), "Sentences, one a line")
    try:
        sentences = sentences_in("\n".join(texts.values()), "This text") if texts else []
    except CheckpointError as error:
        st.warning(model.told(error), icon="⚠️")
        sentences = []
    about = f"{opened.identity}/{about}/{lm.digest_of_texts(texts)}"
    job = jobview.job_of(JOB)
    if job is not None and job.done and job.about != about:
        st.caption("Below is the last measurement; you have changed what to measure since.")
    idle = job is None or job.done
    if st.button(
        "Compare", type="primary", disabled=other is None or not sentences or not idle, key="evaluate-compare"
    ):
        work = partial(compared, checkpoint=opened.checkpoint, other=other, sentences=sentences)
        nbytes = other.nbytes if isinstance(other, ql.Plan) else 0
        title = f"Embeddings of {opened.name}"
        jobview.launch(JOB, Job("evaluation", title, work, visits.current(), nbytes=nbytes, about=about))
    found = jobview.outcome(job)
    if found is not None and len(found.cosine) == len(sentences):
        show(found, sentences)
    show_commands(opened, other)


def show(found: Agreement, sentences: Sequence[str]) -> None:
    figures = found.figures()
    columns = st.columns(4)
    columns[0].metric("Cosine, mean", f"{figures['cosine']:.4f}")
    columns[1].metric("Cosine, lowest", f"{figures['cosine_lowest']:.4f}")
    columns[2].metric("Same nearest neighbour", f"{figures['same_nearest']:.0%}")
    columns[3].metric("Neighbours moved by", f"{figures['rank_change']:.2f} places")
    captions.receipt(
        "measured",
        f"on {len(sentences):,} sentences, each compared with all others; 1 is the direction of the original's vector, "
        "and a neighbour moves by a place where two that are alike change their order",
    )
    st.header("Where it turned furthest", anchor=False)
    rows = [
        {"cosine": float(found.cosine[i]), "places moved": float(found.ranks[i]), "sentence": sentences[i]}
        for i in found.furthest(SHOWN)
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "cosine": st.column_config.NumberColumn(format="%.4f"),
            "places moved": st.column_config.NumberColumn(format="%.2f"),
        },
    )
    st.download_button(
        "Results (JSON)", lambda: tables.as_json({**figures, "worst": rows}), "embeddings.json", "application/json",
        on_click="ignore", key="evaluate-embeddings",
    )  # fmt: skip


def show_commands(opened: Opened, other: ql.Checkpoint | ql.Plan | None) -> None:
    """The same comparison of the shipped sentences, of what is chosen now."""
    if isinstance(other, ql.Checkpoint):
        rival = model.shown_path(other)
        made, named = f"other = ql.open_checkpoint({rival!r})\n", shlex.quote(rival)
    else:
        recipe, named = other.recipe.name if other else "Q4_K_M", "quantized.gguf"
        made = f"result = ql.run(ql.plan(original, {recipe!r}), {named!r})\nother = ql.open_checkpoint(result.path)\n"
    captions.show_python(
        "import quantlib as ql\nfrom quantlib.lm.embedding import compare_embeddings, read_sentences\n\n"
        f"original = ql.open_checkpoint({opened.source!r})\n{made}"
        "print(compare_embeddings(original, other, read_sentences()).figures())",
        compare_embeddings,
        read_sentences,
        shell=f"python -m quantlib embeddings {named} --baseline {shlex.quote(opened.source)}",
    )
