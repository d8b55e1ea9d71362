"""Evaluate: what a quantized model does to a text, against the model that it was made from."""

import shlex
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import visits
from pages.server.jobs import Job
from pages.server.opened import Opened, shelf
from pages.ui import captions, embeddings, jobview, measuring, model
from pages.ui.measuring import Evaluation
from quantlib import lm, tables
from quantlib.checkpoints.image_models import image_family
from quantlib.lm import chat
from quantlib.lm.embedding import is_encoder
from quantlib.recipes import RECIPES

JOB = "evaluation"
RECIPE, OTHER = "a recipe of it", "another opened checkpoint"
CONTEXTS = (128, 256, 512)
INTRODUCTION = (
    "Both models read the same text. Perplexity says how surprised each is; **KL divergence** and **changed top "
    "tokens** say how often and how far the second differs from the first, which an average can hide."
)


def main() -> None:
    opened = model.current()
    st.title("Evaluate", anchor=False)
    encodes = is_encoder(opened.checkpoint)
    st.markdown(embeddings.INTRODUCTION if encodes else INTRODUCTION)
    st.text(f"Original: {model.plain(opened.name)}")
    if image_family(opened.checkpoint) is not None:
        st.info(
            "This is an image or video model: it reads no text by itself, so perplexity and KL divergence do not apply "
            "to it. What each tensor loses is on the page Quantize, after a run.",
            icon="🖼️",
        )
        return
    other, about = choose_other(opened)
    if encodes:
        embeddings.evaluate(opened, other, about)
        return
    texts = measuring.text_choice("evaluation", shipped(), "Text")
    left, right = st.columns([1, 3])
    context = left.selectbox("Tokens a window", CONTEXTS, index=1, key="window", bind="query-params")
    chats = chat_template(opened)
    begin = "Why is the sky blue?" if chats else "Once upon a time there was an old king who"
    prompt = right.text_input("Let both continue from", begin, max_chars=300)
    chats = chats and st.toggle("Put the model's chat template around it", value=True, key="evaluate-chat")
    about = f"{opened.identity}/{about}/{lm.digest_of_texts(texts)}/{context}/{prompt}/{chats}"
    job = jobview.job_of(JOB)
    if job is not None and job.done and job.about != about:
        st.caption("Below is the last measurement; you have changed what to measure since.")
    if st.button("Measure", type="primary", disabled=other is None or not texts or (job is not None and not job.done)):
        work = partial(
            measuring.evaluate, checkpoint=opened.checkpoint, other=other, texts=texts, context=context, prompt=prompt,
            chats=chats,
        )  # fmt: skip
        nbytes = other.nbytes if isinstance(other, ql.Plan) else 0  # a large model's plan is written to be read
        title = f"{opened.name} against {about}"
        jobview.launch(JOB, Job("evaluation", title, work, visits.current(), nbytes=nbytes, about=about))
    found = jobview.outcome(job)
    if found is not None:
        show_result(found)
    show_commands(opened, other, context)


def chat_template(opened: Opened) -> bool:
    """Whether the model has been taught to chat."""
    try:
        return chat.template_of(opened.checkpoint) is not None
    except ql.QuantlibError:
        return False


@st.cache_data(max_entries=1, show_spinner=False)
def shipped() -> dict[str, str]:
    return lm.read_texts(lm.EVALUATION)


def choose_other(opened: Opened) -> tuple[ql.Checkpoint | ql.Plan | None, str]:
    """What the original is measured against, and what tells it from others."""
    against = st.segmented_control("Against", [RECIPE, OTHER], default=RECIPE, key="against", required=True)
    if against == RECIPE:
        offered = [r.name for r in RECIPES.values() if r.quantizes and not r.needs_importance]
        name = st.selectbox("Recipe", offered, index=offered.index("Q4_K_M"), key="rival", bind="query-params")
        return model.plan_of(opened.checkpoint, name), name
    others = {o.token: o for o in [model.demo(), *shelf().of(visits.current())] if o is not opened}
    if not others:
        st.info("Open another checkpoint, or quantize this one and look at the result; then come back.", icon="🔀")
        return None, ""
    token = st.selectbox("Checkpoint", list(others), format_func=lambda t: model.plain(others[t].name), key="other")
    return others[token].checkpoint, others[token].identity


def show_result(found: Evaluation) -> None:
    total = found.total
    columns = st.columns(4)
    columns[0].metric("Perplexity, original", f"{total.baseline:.3f}")
    columns[1].metric("Perplexity, other", f"{total.perplexity:.3f}", f"{total.difference:+.3f}", delta_color="inverse")
    columns[2].metric("KL divergence, nats", f"{total.kl:.3g}")
    columns[3].metric("Top token changed", f"{total.changed_top:.2%}")
    captions.receipt(
        "measured",
        f"on {total.tokens:,} tokens with llama-perplexity's definitions; standard errors: difference "
        f"{total.difference_stderr:.3f}, KL {total.kl_stderr:.5f}, changed {total.changed_top_stderr:.2%}; "
        f"KL at its 99th percentile {total.kl_percentiles['99']:.3f}, at most {total.kl_largest:.3f}",
    )
    st.dataframe(
        [
            {"text": name, "tokens": s.tokens, "original": s.baseline, "other": s.perplexity,
             "difference": s.difference, "KL": s.kl, "top changed": s.changed_top}
            for name, s in found.texts.items()
        ],
        hide_index=True,
        column_config={"top changed": st.column_config.NumberColumn(format="percent")},
    )  # fmt: skip
    st.download_button(
        "Results (JSON)", lambda: tables.as_json(tables.answers(total, found.texts, found.worst)), "evaluation.json",
        "application/json", on_click="ignore", key="evaluate-results",
    )  # fmt: skip
    st.header("The same sentence, twice", anchor=False)
    for column, title, text in zip(st.columns(2), ("Original", "Other"), found.written, strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{title}**")
            st.text(found.prompt + text)
    captions.receipt("measured", f"drawn at temperature {lm.TEMPERATURE} with the same random numbers (seed {lm.SEED})")
    st.header("Where the two part most", anchor=False)
    st.dataframe(
        [
            {"before": w.before, "text goes on": w.right, "original expects": w.baseline_top, "other expects": w.top,
             "KL": w.divergence, "p original": w.baseline_probability, "p other": w.probability}
            for w in found.worst
        ],
        hide_index=True,
    )  # fmt: skip
    captions.receipt("measured", "the places of the largest divergence; p: the probability of what comes next")


def show_commands(opened: Opened, other: ql.Checkpoint | ql.Plan | None, context: int) -> None:
    """The same measurement on the shipped texts, of what is chosen now."""
    texts = [measuring.shown_source(path, model.ROOT) for path in lm.EVALUATION]
    if isinstance(other, ql.Checkpoint):
        rival = model.shown_path(other)
        loaded, named = f"lm.load(ql.open_checkpoint({rival!r}))", shlex.quote(rival)
    else:
        recipe = other.recipe.name if other else "Q4_K_M"
        loaded, named = f"lm.applied(model, ql.plan(original, {recipe!r}))", "quantized.gguf"
    captions.show_python(
        "import quantlib as ql\nfrom quantlib import lm\n\n"
        f"original = ql.open_checkpoint({opened.source!r})\n"
        "model, tokenizer = lm.load(original), lm.Tokenizer.of(original)\n"
        f"other = {loaded}\n"
        f"for name, windows in lm.cut_texts(model, tokenizer, lm.read_texts({texts}), {context}).items():\n"
        "    print(name, lm.compare(other, lm.baseline(model, windows)).summary())",
        lm.compare,
        shell=f"python -m quantlib perplexity {named} --text {texts[0]} --context {context} "
        f"--baseline {shlex.quote(opened.source)}",
    )


main()
