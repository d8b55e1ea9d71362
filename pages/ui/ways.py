"""How the codes of the same blocks are chosen: three ways, what each can be expected to lose and to take, and the run
of the one that reads a text."""

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

import quantlib as ql
from pages.server.jobs import Job
from pages.server.limits import LIMITS
from pages.server.opened import Opened, check_fetchable
from pages.server.warmup import compile_apart
from pages.ui import captions, measuring, model
from pages.ui.recipes import Wanted
from quantlib import lm, tables
from quantlib.cards import sha256
from quantlib.errors import Cancelled, QuantlibError
from quantlib.jobs.ways import AS_LLAMA_CPP, BETTER, ON_A_TEXT, Expected, Way, expected, matters, tokens_of
from quantlib.lm.gptq_writing import GptqFile, write_gptq


@dataclass(frozen=True)
class Chosen:
    """A way, and the texts of the one that reads some."""

    way: Way = AS_LLAMA_CPP
    texts: Mapping[str, str] | None = None

    @property
    def waits(self) -> bool:
        """Whether a text is missing."""
        return self.way is ON_A_TEXT and not self.texts

    @property
    def flags(self) -> str:
        """What the command gets."""
        if self.way is AS_LLAMA_CPP:
            return ""
        return f" --method {self.way.name}" + (" --text text.txt" if self.way is ON_A_TEXT else "")


@dataclass(frozen=True)
class OnText:
    """A finished file whose codes were chosen on a text, its plan, SHA-256, and the command that makes it again."""

    plan: ql.Plan
    file: GptqFile
    sha256: str
    command: str


def choose(opened: Opened, plan: ql.Plan) -> Chosen:
    """The three ways in plain words, each with its expected loss and time for this model."""
    if not matters(plan):
        return Chosen()
    texts = st.session_state.get("quantize-texts-read") or shipped()
    ways = {each.way.title: each for each in expected(plan, tokens_of(sum(map(len, texts.values()))), LIMITS.threads)}
    title = st.radio(
        "How the codes are chosen",
        list(ways),
        captions=[_says(each) for each in ways.values()],
        key="quantize-codes",
        bind="query-params",
    )
    captions.receipt(
        "estimated",
        "loss: squared error of what the layers put out, from what each format usually loses of a weight and what the "
        "way left of it on the demo model. Time: from the model's shapes, on this server's cores while they are free",
    )
    way = ways[title].way
    if way is not ON_A_TEXT:
        return Chosen(way)
    if why := _unable(opened, ways[title]):
        st.info(f"This cannot be done here: {why}. The codes of llama.cpp are taken instead.", icon="📏")
        return Chosen()
    st.caption(
        "Take a text of the kind that the model is used for, and none that you measure on afterwards. An importance "
        "matrix is not needed: the text says more."
    )
    texts = measuring.text_choice("quantize-texts", shipped(), "Text to choose on")
    st.session_state["quantize-texts-read"] = texts
    return Chosen(way, texts)


def snippet(opened: Opened, wanted: Wanted, chosen: Chosen, weighed: bool, file_name: str) -> str:
    """The Python that makes the same file."""
    start = f"import quantlib as ql\n{wanted.imports}"
    opens = f"checkpoint = ql.open_checkpoint({opened.source!r})\n"
    if chosen.way is ON_A_TEXT:
        return (
            f"{start}from quantlib.lm.gptq_writing import write_gptq\n\n{opens}"
            'text = open("text.txt", encoding="utf-8").read()\n'
            f"result = write_gptq(checkpoint, {file_name!r}, text, {wanted.arguments})\n"
            'print(f"{result.filled} matrices chosen on {result.tokens:,} tokens in {result.seconds:.0f} s")'
        )
    more = (', imatrix="imatrix.gguf"' if weighed else "") + (', effort="best"' if chosen.way is BETTER else "")
    return (
        f"{start}\n{opens}plan = ql.plan(checkpoint, {wanted.arguments}{more})\n"
        f"result = ql.run(plan, {file_name!r})\n"
        "for t in result.tensors:\n"
        '    print(f"{t.name:32} {t.source} -> {t.target:5} error {t.loss.relative:.2%}")'
    )


def _says(found: Expected) -> str:
    takes = "not for this model" if found.unable else f"about {tables.duration(max(1, found.seconds))}"
    loses = f"expected loss {found.loss:.0%} of llama.cpp's, " if found.way is not AS_LLAMA_CPP else ""
    return f"{found.way.says[0].upper()}{found.way.says[1:]}; {loses}{takes}"


def _unable(opened: Opened, found: Expected) -> str:
    try:
        measuring.check_run_on_pages(opened.checkpoint)
    except QuantlibError as error:
        return found.unable or model.told(error).rstrip(".")
    return found.unable


@st.cache_data(max_entries=1, show_spinner=False)
def shipped() -> dict[str, str]:
    return lm.read_texts([lm.CALIBRATION, lm.GENERATED])


def fill(job: Job, opened: Opened, plan: ql.Plan, wanted: Wanted, texts: Mapping[str, str], command: str) -> OnText:
    """The work of a job: the file, its codes chosen layer by layer while the model reads the texts."""
    check_fetchable(opened.checkpoint)
    measuring.check_runnable(opened.checkpoint)
    job.show(0.0, "Getting ready")
    compile_apart("mixed.warm_up()")

    def show(fraction: float, words: str) -> None:
        job.show(fraction, words[0].upper() + words[1:])
        if job.stop.is_set():
            raise Cancelled("The run was cancelled; nothing was written.")

    text = "\n\n".join(texts.values())
    done = write_gptq(
        opened.checkpoint, job.new_file("model.gguf"), text, wanted.recipe, wanted.pure, wanted.overrides,
        dataset=", ".join(texts), progress=show,
    )  # fmt: skip
    job.path = done.path
    return OnText(plan, done, sha256(done.path), command)
