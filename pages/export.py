"""Export: a checkpoint by another method, to a folder that transformers and vLLM load."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import streamlit as st

import quantlib as ql
from pages.server import routes, visits
from pages.server.jobs import Job
from pages.server.opened import Opened
from pages.ui import captions, exporting, jobview, measuring, menu, model, recipes
from quantlib import lm, tables
from quantlib.exports import SCHEMES, Exported, Kind, adjusted, fitted, linears_of, misfit
from quantlib.exports.choices import said
from quantlib.exports.linears import Linear, kept_of, parted

JOB = "export"
CONTEXT = 512
MOST_SAMPLES = 512


@dataclass(frozen=True)
class Wanted:
    """What was chosen: the scheme with its choices, the matrices that it leaves alone, the text, windows of it."""

    scheme: Kind
    ignore: tuple[str, ...]
    texts: Mapping[str, str]
    samples: int | None


def main() -> None:
    st.title("Export", anchor=False)
    st.markdown(
        "GPTQ, AWQ, SmoothQuant and the formats of bitsandbytes and of graphics cards: the model becomes a folder of "
        "safetensors that **transformers** and **vLLM** load. (For llama.cpp and Ollama, quantize to GGUF.)"
    )
    opened = model.current()
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.text(f"From: {model.plain(opened.name)}")
    with right:
        menu.OPEN.link()
    try:
        matrices = linears_of(opened.checkpoint)
    except ql.QuantlibError as error:
        st.info(model.told(error), icon="🚚")
        return
    scheme, ignore = choose_details(matrices, choose_scheme(matrices))
    kept = kept_of(matrices, ignore)
    st.markdown(scheme.summary)
    if why := misfit(kept, scheme):
        st.warning(model.plain(why), icon="📏")
    if apart := parted(matrices, kept):
        st.warning(model.plain(apart), icon="🧩")
    left = f" {len(matrices) - len(kept)} stay as they are." if len(kept) < len(matrices) else ""
    st.caption(f"Loaded by {' and '.join(scheme.loaders)}. It quantizes {len(kept)} matrices of the layers.{left}")
    texts, samples = choose_text(scheme)
    wanted = Wanted(scheme, ignore, texts, samples)
    show_job(opened, wanted, fits=not why)
    show_commands(opened, wanted)


def choose_scheme(matrices: Mapping[str, Linear]) -> Kind:
    """A scheme, with the largest groups that divide the model's rows; those that no group makes fit say so."""
    offered = {name: fitted(matrices, scheme) for name, scheme in SCHEMES.items()}
    fitting = [name for name, scheme in offered.items() if not misfit(matrices, scheme)]
    names = [*fitting, *(name for name in SCHEMES if name not in fitting)]
    return offered[
        st.selectbox(
            "Scheme", names, key="scheme", bind="query-params",
            format_func=lambda name: name if name in fitting else f"{name} (does not fit this model)",
        )
    ]  # fmt: skip


def choose_details(matrices: Mapping[str, Linear], scheme: Kind) -> tuple[Kind, tuple[str, ...]]:
    """The scheme with what a person chooses about it, and which matrices it leaves alone."""
    with st.expander("Bits, groups and what stays as it is (optional)"):
        wishes = wished(matrices, scheme) if scheme.offers else {}
        text = st.text_area(
            "Matrices that stay as they are, a pattern a line", key="export-ignore", max_chars=2000, height=90,
            placeholder="layers\\.0\\.\ndown_proj",
            help="A regular expression searched for in the names of modules.",
        )  # fmt: skip
        try:
            ignore = recipes.patterns_of(text)
            kept_of(matrices, ignore)
        except ql.QuantlibError as error:
            st.error(model.told(error), icon="⚠️")
            st.stop()
    return adjusted(scheme, **wishes), ignore


def wished(matrices: Mapping[str, Linear], scheme: Kind) -> dict[str, object]:
    """What is chosen differently from the scheme's own choices, by name."""
    offers, now, chosen = scheme.offers, scheme.choices, {}
    left, right = st.columns(2)
    if "bits" in offers:
        chosen["bits"] = left.selectbox(
            "Bits of a code", offers["bits"], list(offers["bits"]).index(now.bits), key=f"export-bits-{scheme.name}"
        )
    if "group" in offers:
        groups = list(offers["group"])
        chosen["group"] = (right if "bits" in offers else left).selectbox(
            "Weights that share a scale", groups, groups.index(now.group), key=f"export-group-{scheme.name}",
            format_func=lambda group: ("a whole row" if group is None else str(group))
            + ("" if not misfit(matrices, adjusted(scheme, group=group)) else " (does not divide the rows)"),
        )  # fmt: skip
    if "symmetric" in offers:
        chosen["symmetric"] = not left.toggle(
            "Zero points (asymmetric)", not now.symmetric, key="export-asymmetric",
            help="Codes need not be centred on 0. Smaller errors where weights have one sign; fewer fast kernels.",
        )  # fmt: skip
    if "act_order" in offers:
        chosen["act_order"] = right.toggle(
            "Columns by activation (act-order)", now.act_order, key="export-act-order",
            help="Columns of the largest activations are rounded first: a lower error, a little slower to run.",
        )  # fmt: skip
    if "damping" in offers:
        chosen["damping"] = left.number_input(
            "Damping", 0.0, 1.0, now.damping, 0.01, key="export-damping",
            help="Added to the diagonal of the Hessian, as a share of its mean. More where the text is short.",
        )  # fmt: skip
    return {name: value for name, value in chosen.items() if value != getattr(now, name)}


def choose_text(scheme: Kind) -> tuple[Mapping[str, str], int | None]:
    """The calibration text of a scheme that needs one, and how many windows of it."""
    if not scheme.needs_text:
        return {}, None
    st.markdown("Its codes are chosen by what a text puts through the model, layer after layer.")
    texts = measuring.text_choice("calibration", shipped(), "Text")
    samples = st.number_input(
        f"Windows of {CONTEXT} tokens at most", 2, MOST_SAMPLES, 128, 16, key="export-samples",
        help="Evenly from all of the text. 128 is what most published models were made with.",
    )  # fmt: skip
    return dict(texts), samples


@st.cache_data(max_entries=1, show_spinner=False)
def shipped() -> dict[str, str]:
    return lm.read_texts([lm.CALIBRATION])


def show_job(opened: Opened, wanted: Wanted, fits: bool) -> None:
    job = jobview.job_of(JOB)
    busy = job is not None and not job.done
    lacking = wanted.scheme.needs_text and not wanted.texts
    if st.button("Export", type="primary", disabled=busy or lacking or not fits):
        label = wanted.scheme.label
        work = partial(
            exporting.export_folder, opened=opened, scheme=wanted.scheme, texts=wanted.texts, context=CONTEXT,
            samples=wanted.samples, ignore=wanted.ignore,
        )  # fmt: skip
        nbytes = exporting.room_for(opened.checkpoint)
        made = Job("export", f"{opened.name} as {label}", work, visits.current(), nbytes=nbytes)
        made.file_name = f"{opened.stem}-{label}.tar"
        jobview.launch(JOB, made)
    if busy:
        st.text(model.plain(job.title))
    if jobview.outcome(job) is not None:
        show_outcome(job)


def show_outcome(job: Job) -> None:
    """The folder in one file, and what each matrix lost."""
    result: Exported = job.result
    st.header(job.file_name, anchor=False)
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


def show_commands(opened: Opened, wanted: Wanted) -> None:
    scheme, ignore = wanted.scheme, list(wanted.ignore)
    out = f"{opened.stem}-{scheme.label}"
    shown = measuring.shown_source(lm.CALIBRATION, model.ROOT)
    chosen = f"SCHEMES[{scheme.name!r}]"
    chosen = f"adjusted({chosen}, {_arguments(scheme)})" if scheme.chosen else chosen
    names = ["SCHEMES"] + ["adjusted"] * bool(scheme.chosen) + ["export"] + ["prepare"] * scheme.needs_text
    given = f", ignore={ignore!r}" if ignore else ""
    prepared = (
        "from quantlib import lm\n\n"
        "model, tokenizer = lm.load(checkpoint, decoded=False), lm.Tokenizer.of(checkpoint)\n"
        f'tokens = tokenizer.encode(open("{shown}", encoding="utf-8").read())\n'
        f"context = min({CONTEXT}, model.shape.context)\n"
        f"windows = lm.spread(lm.cut(model, tokens, context, tokenizer.bos), {wanted.samples} * context)\n"
        f"prepared = prepare(checkpoint, scheme, model, windows{given})\n"
    )
    captions.show_python(
        "import quantlib as ql\n"
        f"from quantlib.exports import {', '.join(names)}\n\n"
        f"checkpoint = ql.open_checkpoint({opened.source!r})\n"
        f"scheme = {chosen}\n"
        + (prepared if scheme.needs_text else "prepared = None\n")
        + f"result = export(checkpoint, {out!r}, scheme, prepared{given})\n"
        'print(f"{result.bpw:.2f} bits per weight")',
        shell=f"python -m quantlib export {shlex.quote(opened.source)} {out} --as {scheme.name}{flags(wanted, shown)}",
    )


def _arguments(scheme: Kind) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in scheme.chosen.items())


def flags(wanted: Wanted, text: str) -> str:
    """What the command gets besides the scheme's name."""
    words = []
    for name, value in wanted.scheme.chosen.items():
        option = name.replace("_", "-")
        words.append(f"--{'' if value else 'no-'}{option}" if isinstance(value, bool) else f"--{option} {said(value)}")
    words += [f"--ignore {shlex.quote(pattern)}" for pattern in wanted.ignore]
    words += [f"--calibration {text}", f"--samples {wanted.samples}"] if wanted.scheme.needs_text else []
    return "".join(f" {word}" for word in words)


main()
