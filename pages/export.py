"""Export: a checkpoint by another method, to a folder that transformers and vLLM load."""

import shlex
from collections.abc import Mapping
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import routes, visits
from pages.server.jobs import Job
from pages.server.opened import Opened
from pages.ui import captions, exporting, jobview, measuring, menu, model
from quantlib import lm, tables
from quantlib.exports import CALIBRATED, SCHEMES, Exported, Kind, linears_of, misfit
from quantlib.exports.linears import Linear

JOB = "export"
CONTEXT = 512


def main() -> None:
    st.title("Export", anchor=False)
    st.markdown(
        "GPTQ, AWQ, SmoothQuant and the formats of bitsandbytes and of graphics cards: the model becomes a folder of "
        "safetensors that **transformers** and **vLLM** load. (For llama.cpp and Ollama, quantize to GGUF.)"
    )
    opened = model.current()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(f"From: {model.plain(opened.name)}")
        menu.OPEN.link()
    try:
        matrices = linears_of(opened.checkpoint)
    except ql.QuantlibError as error:
        st.info(str(error), icon="🚚")
        return
    scheme = choose_scheme(matrices)
    st.markdown(scheme.summary)
    if why := misfit(matrices, scheme):
        st.warning(model.plain(why), icon="📏")
    st.caption(f"Loaded by {' and '.join(scheme.loaders)}. It quantizes the {len(matrices)} matrices of the layers.")
    texts = choose_text(scheme)
    show_job(opened, scheme, texts, fits=not why)
    show_commands(opened, scheme)


def choose_scheme(matrices: Mapping[str, Linear]) -> Kind:
    """A scheme; first offered is one that the model's matrices fit, and what they do not fit says so."""
    fitting = [name for name, scheme in SCHEMES.items() if not misfit(matrices, scheme)]
    names = [*fitting, *(name for name in SCHEMES if name not in fitting)]
    return SCHEMES[
        st.selectbox(
            "Scheme", names, key="scheme", bind="query-params",
            format_func=lambda name: name if name in fitting else f"{name} (does not fit this model)",
        )
    ]  # fmt: skip


def choose_text(scheme: Kind) -> dict[str, str]:
    """The calibration text of a scheme that needs one."""
    if scheme not in CALIBRATED:
        return {}
    st.markdown("Its codes are chosen by what a text puts through the model, layer after layer.")
    return dict(measuring.text_choice("calibration", shipped(), "Text"))


@st.cache_data(max_entries=1, show_spinner=False)
def shipped() -> dict[str, str]:
    return lm.read_texts([lm.CALIBRATION])


def show_job(opened: Opened, scheme: Kind, texts: dict[str, str], fits: bool) -> None:
    job = jobview.job_of(JOB)
    busy = job is not None and not job.done
    lacking = scheme in CALIBRATED and not texts
    if st.button("Export", type="primary", disabled=busy or lacking or not fits):
        work = partial(exporting.export_folder, opened=opened, scheme=scheme, texts=texts, context=CONTEXT)
        file_name = f"{opened.stem}-{scheme.name}.tar"
        nbytes = exporting.room_for(opened.checkpoint)
        made = Job("export", f"{opened.name} as {scheme.name}", work, visits.current(), nbytes=nbytes)
        made.file_name = file_name
        jobview.launch(JOB, made)
    if busy:
        st.text(model.plain(job.title))
    if jobview.outcome(job) is not None:
        show_outcome(job)


def show_outcome(job: Job) -> None:
    """The folder in one file, and what each matrix lost."""
    result: Exported = job.result
    st.subheader(job.file_name, anchor=False)
    st.success(
        f"{tables.size(result.nbytes)}, {result.bpw:.2f} bits per weight of the layers' matrices, "
        f"written in {result.seconds:.1f} s.",
        icon="✅",
    )
    st.link_button("Download the folder (tar)", routes.address(job.token), type="primary", icon="⬇️")
    rows = tables.exported(result)["tensors"]
    with st.expander(f"What each of {len(rows)} matrices lost", expanded=True):
        st.dataframe(rows, hide_index=True)
    captions.receipt(
        "measured",
        "the relative error of each stored matrix against the original; where scales were folded, against the scaled "
        "matrix",
    )


def show_commands(opened: Opened, scheme: Kind) -> None:
    out = f"{opened.stem}-{scheme.name}"
    calibrated = scheme in CALIBRATED
    shown = measuring.shown_source(lm.CALIBRATION, model.ROOT)
    text = f" --calibration {shown}" if calibrated else ""
    prepared = (
        "from quantlib import lm\n\n"
        "model, tokenizer = lm.load(checkpoint, decoded=False), lm.Tokenizer.of(checkpoint)\n"
        f'tokens = tokenizer.encode(open("{shown}", encoding="utf-8").read())\n'
        f"windows = lm.cut(model, tokens, min({CONTEXT}, model.shape.context), tokenizer.bos)\n"
        "prepared = prepare(checkpoint, scheme, model, windows)\n"
    )
    captions.show_python(
        "import quantlib as ql\n"
        f"from quantlib.exports import SCHEMES, export{', prepare' if calibrated else ''}\n\n"
        f"checkpoint, scheme = ql.open_checkpoint({opened.source!r}), SCHEMES[{scheme.name!r}]\n"
        + (prepared if calibrated else "prepared = None\n")
        + f"result = export(checkpoint, {out!r}, scheme, prepared)\n"
        'print(f"{result.bpw:.2f} bits per weight")',
        shell=f"python -m quantlib export {shlex.quote(opened.source)} {out} --as {scheme.name}{text}",
    )


main()
