"""The work of jobs that run a model, and what they may cost: importance matrices, perplexity, KL divergence, texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

import quantlib as ql
from pages.server import files, jobs, uploads
from pages.server.jobs import Job
from pages.server.limits import LIMITS
from pages.ui.uploader import uploader
from quantlib import jobs as runs
from quantlib import lm, tables
from quantlib.checkpoints import ImportanceMatrix, write_imatrix
from quantlib.errors import Cancelled, CheckpointError, JobError
from quantlib.lm import chat

NEW_TOKENS, NEW_TOKENS_STORED = 60, 20  # a model that is decoded at each use writes slowly
BYTES_OF_A_WEIGHT = 4  # weights are run as 32-bit floats


def check_runnable(checkpoint: ql.Checkpoint, copies: int = 1) -> None:
    """Raise JobError where so many copies of a model take more memory than this server allows."""
    needed = BYTES_OF_A_WEIGHT * checkpoint.size * copies
    if needed > LIMITS.run_bytes:
        raise JobError(
            f"Running this would take {tables.size(needed)} of memory, and this server allows "
            f"{tables.size(LIMITS.run_bytes)}; take a smaller model, or the command line on a machine of your own."
        )


def held_decoded(checkpoint: ql.Checkpoint, copies: int = 1) -> bool:
    """Whether so many copies of a model fit the memory allowed as floats; else each matrix is decoded when it is used.

    Raises JobError where not even its largest matrix fits.
    """
    if BYTES_OF_A_WEIGHT * checkpoint.size * copies <= LIMITS.run_bytes:
        return True
    largest = BYTES_OF_A_WEIGHT * max((tensor.size for tensor in checkpoint), default=0)
    if largest > LIMITS.run_bytes:
        raise JobError(
            f"The largest matrix of this model takes {tables.size(largest)} of memory, and this server allows "
            f"{tables.size(LIMITS.run_bytes)}; take a smaller model, or the command line on a machine of your own."
        )
    return False


def as_file(job: Job, plan: ql.Plan) -> ql.Checkpoint:
    """What a plan makes, opened from a file of the job's own: a model that is not held decoded is read from one."""
    result = ql.run(plan, job.new_file("other.gguf"), cancel=job.stop.is_set, executor=jobs.pool())
    return ql.open_checkpoint(result.path)


def check_run_on_pages(checkpoint: ql.Checkpoint) -> None:
    """Raise CheckpointError or JobError where pages do not run this model while their reader waits.

    The one answer of all pages: what one of them runs no other refuses.
    """
    if checkpoint.origin:
        raise CheckpointError("The opened model is on the hub, and its weights are not fetched to be run.")
    check_runnable(checkpoint)


def step(job: Job, low: float, high: float, words: str):
    """A progress callback for a part of a job, from `low` to `high` of all of it; it is also where a job is stopped."""

    def show(fraction: float) -> None:
        job.show(low + (high - low) * fraction, words)
        if job.stop.is_set():
            raise Cancelled("The measurement was cancelled.")

    return show


def text_choice(key: str, shipped: Mapping[str, str], label: str) -> Mapping[str, str]:
    """Texts by name: those that ship with the app, or one that the reader brings; kept for the visit."""
    own = st.segmented_control(label, ["shipped", "my own"], default="shipped", key=f"{key}-whose", required=True)
    if own == "shipped":
        return shipped
    held = st.session_state.get(f"{key}-text")
    token = uploader(f"{key}-bring", "text", "Bring a text", "UTF-8, a few thousand words, at most 4 MB")
    if token:
        held = st.session_state[f"{key}-text"] = read_text(token)
    if held:
        st.text(f"In use: {len(next(iter(held.values()))):,} characters of your own")
    return held or {}


def read_text(token: str) -> dict[str, str]:
    """An uploaded text by name. Raises CheckpointError where it is no UTF-8."""
    path, announced, _ = uploads.registry().take(token)
    try:
        return {announced[0].name: next(iter(lm.read_texts([path]).values()))}
    except CheckpointError:
        raise CheckpointError("This file is no UTF-8 text.") from None
    finally:
        files.remove(path.parent)


def collect(job: Job, checkpoint: ql.Checkpoint, texts: Mapping[str, str], context: int = 512) -> ImportanceMatrix:
    """The work of a job: an importance matrix of this model over a text, also as a file."""
    decoded = held_decoded(checkpoint)
    job.show(0.0, "Loading the model")
    loaded, tokenizer = lm.load(checkpoint, decoded), lm.Tokenizer.of(checkpoint)
    tokens = tokenizer.encode("\n\n".join(texts.values()))
    context = min(context, loaded.shape.context)
    progress = step(job, 0.05, 1.0, "Collecting over the text")
    sums = lm.imatrix(loaded, tokens, context, tokenizer.bos, dataset=", ".join(texts), progress=progress)
    path = job.new_file("imatrix.gguf")
    write_imatrix(sums, path)
    job.path = path
    return sums.matrix("imatrix.gguf")


def measure_formats(job: Job, checkpoint: ql.Checkpoint, imatrix: ImportanceMatrix | None):
    """The work of a job: what every format would cost every tensor, the table that budgets are spent by."""

    def show(done: int, count: int) -> None:
        job.show(done / max(1, count), f"Measured {done} of {count} tensors")
        if job.stop.is_set():
            raise Cancelled("The measurement was cancelled.")

    return runs.measure(checkpoint, imatrix, progress=show, executor=jobs.pool())


@dataclass(frozen=True)
class Evaluation:
    """What a comparison of two models over texts found; `written`: what each goes on with after the prompt."""

    total: lm.Summary
    texts: Mapping[str, lm.Summary]
    worst: tuple[lm.WorstToken, ...]
    prompt: str
    written: tuple[str, str]


def evaluate(
    job: Job,
    checkpoint: ql.Checkpoint,
    other: ql.Checkpoint | ql.Plan,
    texts: Mapping[str, str],
    context: int,
    prompt: str,
    chats: bool = False,
) -> Evaluation:
    """The work of a job: a model against another checkpoint of it, or against what a plan would make of it.

    chats: the prompt is a question, around which the model's chat template is put.
    """
    decoded = held_decoded(checkpoint, 2)
    job.show(0.0, "Loading both models")
    first, tokenizer = lm.load(checkpoint, decoded), lm.Tokenizer.of(checkpoint)
    if isinstance(other, ql.Plan) and decoded:
        second = lm.applied(first, other, jobs.pool())
    else:
        second = lm.load(as_file(job, other) if isinstance(other, ql.Plan) else other, decoded)
    context = min(context, first.shape.context)
    windows = lm.cut_texts(first, tokenizer, texts, context)
    share, at, found = 0.9 / len(windows), 0.05, {}
    for name, some in windows.items():
        base = lm.baseline(first, some, step(job, at, at + share / 2, f"The original reads {name}"))
        found[name] = lm.compare(second, base, step(job, at + share / 2, at + share, f"The other reads {name}"))
        at += share
    job.show(0.95, "Both continue the sentence")
    asked = [{"role": "user", "content": prompt}]
    ids = chat.chat_tokens(checkpoint, tokenizer, asked) if chats else tokenizer.encode(prompt)
    count = NEW_TOKENS if decoded else min(NEW_TOKENS, NEW_TOKENS_STORED)
    written = tuple(
        tokenizer.decode(list(lm.generate(used, ids, count, lm.TEMPERATURE, lm.SEED, tokenizer.eos)))
        for used in (first, second)
    )
    total = lm.together(list(found.values()))
    summaries = {name: comparison.summary() for name, comparison in found.items()}
    return Evaluation(
        total.summary(), summaries, lm.worst_tokens(total, tokenizer), f"{prompt}\n" if chats else prompt, written
    )


def shown_source(path: Path, root: Path) -> str:
    """A shipped text's place in the project, for a command."""
    return str(path.relative_to(root))
