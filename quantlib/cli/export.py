"""export: a Hugging Face folder to a quantized one that transformers and vLLM load."""

import argparse
from dataclasses import replace
from pathlib import Path
from time import monotonic

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints.publishing import prepared
from quantlib.cli import publishing
from quantlib.cli.reports import report_of, report_path, write_report
from quantlib.cli.shared import (
    command,
    list_at_end,
    note,
    positive,
    print_json,
    progress_line,
    read_text,
    replaces,
    writes,
)
from quantlib.cli.words import printable
from quantlib.destinations import new_name
from quantlib.exports import CALIBRATED, SCHEMES, adjusted, fitted, linears_of
from quantlib.exports.choices import WORDS
from quantlib.exports.linears import kept_of, parted
from quantlib.jobs.pool import limit_threads


def add(commands) -> None:
    export = command(
        commands,
        "export",
        run,
        "quantize a Hugging Face folder to one that transformers and vLLM load",
        examples=(
            "export model/ model-gptq/ --as gptq --text calibration.txt",
            "export model/ -o model-fp8 --as fp8 --dry-run",
            "export model/ model-3bit/ --as gptq --bits 3 --group 64 --act-order --text calibration.txt",
            "export model/ model-w4/ --as w4a16 --group channel --ignore 'layers\\.0\\.' --ignore down_proj",
        ),
    )
    export.add_argument("source", metavar="SOURCE", help="a Hugging Face folder of 16- or 32-bit floats")
    writes(export, "OUT_DIR", "the folder to make; it must not exist yet")
    export.add_argument(
        "--as", dest="scheme", required=True, type=str.lower, choices=list(SCHEMES), metavar="SCHEME",
        help="how codes are chosen and stored; see below",
    )  # fmt: skip
    names = ", ".join(scheme.name for scheme in CALIBRATED)
    export.add_argument(
        "--text", "--calibration", dest="calibration", type=Path, metavar="FILE",
        help=f"a UTF-8 text like those that the model will read; {names} need one",
    )  # fmt: skip
    export.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window of that text, default %(default)s"
    )
    export.add_argument(
        "--samples", type=positive, metavar="N",
        help="use so many windows of the text at most, evenly from all of it; default: all",
    )  # fmt: skip
    _add_choices(export)
    publishing.add(export, "the folder")
    export.add_argument("--threads", type=positive, metavar="N", help="default: one for each core")
    export.add_argument("--dry-run", action="store_true", help="say what would be quantized; write nothing")
    export.add_argument(
        "--report", type=report_path, metavar="FILE", help="write each matrix's error to a .html, .csv or .json file"
    )
    replaces(export)
    list_at_end(export, "schemes", {s.name: s.summary for s in SCHEMES.values()})


def _add_choices(export: argparse.ArgumentParser) -> None:
    """What schemes leave to choose, where they do; those that have no such choice say so."""
    own = export.add_argument_group("choices of the scheme")
    own.add_argument("--bits", type=positive, metavar="N", help="of a code (gptq: 2, 3, 4 or 8)")
    own.add_argument(
        "--group", type=_group, metavar="N", dest="group", default=argparse.SUPPRESS,
        help="weights that share a scale: 128, 64, 32, or channel for a whole row; default: the largest that divides "
        "the model's rows",
    )  # fmt: skip
    own.add_argument(
        "--symmetric", action=argparse.BooleanOptionalAction, help="codes around 0, or with zero points (gptq)"
    )
    own.add_argument(
        "--act-order", action=argparse.BooleanOptionalAction,
        help="round columns of the largest activations first (gptq): a lower error, slower to load",
    )  # fmt: skip
    own.add_argument("--damping", type=float, metavar="X", help="added to the Hessian's diagonal (gptq); default: 0.01")
    own.add_argument(
        "--ignore", metavar="REGEX", action="append", default=[],
        help="leave matrices as they are in whose name the expression is found; may be repeated",
    )  # fmt: skip


def _group(text: str) -> int | None:
    return None if text in ("channel", "-1") else positive(text)


def _scheme(checkpoint: ql.Checkpoint, options: argparse.Namespace):
    """The scheme with what was chosen; where no group size was, the largest that fits."""
    wishes = {name: getattr(options, name, None) for name in WORDS if name != "group"}
    wishes = {name: value for name, value in wishes.items() if value is not None}
    every = linears_of(checkpoint)
    kept = kept_of(every, options.ignore)
    if said := parted(every, kept):
        note(said)
    if "group" in options:
        return adjusted(SCHEMES[options.scheme], **wishes, group=options.group)
    scheme = adjusted(SCHEMES[options.scheme], **wishes)
    fits = fitted(kept, scheme)
    if fits is not scheme:
        own, other = scheme.choices.group, fits.choices.group
        note(f"Groups of {own} do not divide this model's rows; it gets groups of {other}.")
    return fits


def run(options) -> int:
    from quantlib.exports import export

    started = monotonic()
    new_name(options.out)
    if options.threads:
        limit_threads(options.threads)
    with ql.open_checkpoint(options.source) as checkpoint:
        report = report_of(options, checkpoint.paths, checkpoint.folder)
        scheme = _scheme(checkpoint, options)
        if options.dry_run:
            return _show_outlook(checkpoint, scheme, options)
        target = prepared(options.push) if options.push else None
        codes = _prepared(checkpoint, scheme, options) if scheme.needs_text else None
        line = progress_line(f"writing {options.out}")
        show = (lambda fraction, name: line(fraction)) if line else None
        result = export(checkpoint, options.out, scheme, codes, show, ignore=options.ignore)
    if target:
        publishing.push_folder(target, options.out)
    result = replace(result, seconds=monotonic() - started)  # choosing the codes takes longer than writing them
    document = tables.exported(result)
    if report:
        facts = [("folder", str(result.path)), ("scheme", scheme.label), ("from", str(options.source))]
        write_report(report, "What exporting lost", facts, document["tensors"], bar="relative")
    if options.json:
        return print_json(document)
    loaders = " and ".join(scheme.loaders)
    print(
        f"{printable(result.path)}: {tables.size(result.nbytes)}, {result.bpw:.2f} bits per weight of the "
        f"layers' matrices, {result.seconds:.1f} s; for {loaders}."
    )
    return 0


def _show_outlook(checkpoint, scheme, options) -> int:
    from quantlib.exports.exporting import outlook

    found = outlook(checkpoint, scheme, options.ignore)
    if scheme.needs_text and options.calibration is None:
        note(f"{scheme.name} chooses codes by what a text puts through the model: the run needs --text.")
    if options.json:
        return print_json({
            "scheme": scheme.label, "bpw": found.bpw and round(found.bpw, 4), "others": found.others,
            "tensors": [{"name": f"{module}.weight", "shape": list(shape)} for module, shape in found.matrices],
        })  # fmt: skip
    print(tables.as_text([{"name": f"{module}.weight", "shape": list(shape)} for module, shape in found.matrices]))
    bits = f"about {found.bpw:.2f} bits per weight" if found.bpw else "as many bits as the scheme says"
    print(
        f"\n{len(found.matrices):,} matrices by {scheme.label}, in {bits}; {found.others:,} other tensors stay as they "
        f"are, in {tables.size(found.others_nbytes)}; nothing is written."
    )
    return 0


def _prepared(checkpoint, scheme, options):
    from quantlib.exports.calibrated import prepare
    from quantlib.lm import Tokenizer, load
    from quantlib.lm.quantizing import calibration_notes
    from quantlib.lm.windows import cut, spread

    if options.calibration is None:
        raise ql.MethodError(f"{scheme.name} chooses codes by what a text puts through the model: give --text.")
    model, tokenizer = load(checkpoint, decoded=False), Tokenizer.of(checkpoint)
    context = min(options.context, model.shape.context)
    windows = cut(model, tokenizer.encode(read_text(options.calibration)), context, tokenizer.bos)
    windows = spread(windows, options.samples * context) if options.samples else windows
    for said in calibration_notes(model, windows):
        note(said)
    return prepare(checkpoint, scheme, model, windows, progress_line("choosing codes"), options.ignore)
