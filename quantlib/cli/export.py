"""export: a Hugging Face folder to a quantized one that transformers and vLLM load."""

from dataclasses import replace
from pathlib import Path
from time import monotonic

import quantlib as ql
from quantlib import tables
from quantlib.checkpoints.publishing import prepared
from quantlib.cli import publishing
from quantlib.cli.shared import command, listing, note, positive, print_json, progress_line, read_text
from quantlib.cli.words import printable
from quantlib.destinations import new_name
from quantlib.exports import CALIBRATED, SCHEMES


def add(commands) -> None:
    export = command(commands, "export", run, "quantize a Hugging Face folder to one that transformers and vLLM load")
    export.add_argument("source", metavar="SOURCE", help="a Hugging Face folder of 16- or 32-bit floats")
    export.add_argument("out", metavar="OUT_DIR", type=Path, help="the folder to make; it must not exist yet")
    export.add_argument(
        "--as", dest="scheme", required=True, type=str.lower, choices=list(SCHEMES), metavar="SCHEME",
        help="how codes are chosen and stored; see below",
    )  # fmt: skip
    names = ", ".join(scheme.name for scheme in CALIBRATED)
    export.add_argument(
        "--calibration", type=Path, metavar="TEXT",
        help=f"a UTF-8 text like those that the model will read; {names} need one",
    )  # fmt: skip
    export.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window of that text, default %(default)s"
    )
    publishing.add(export, "the folder")
    export.epilog = listing("schemes", {s.name: s.summary for s in SCHEMES.values()})


def run(options) -> int:
    from quantlib.exports import export

    scheme, started = SCHEMES[options.scheme], monotonic()
    new_name(options.out)
    target = prepared(options.push) if options.push else None
    with ql.open_checkpoint(options.source) as checkpoint:
        codes = _prepared(checkpoint, scheme, options) if scheme in CALIBRATED else None
        line = progress_line(f"writing {options.out}")
        show = (lambda fraction, name: line(fraction)) if line else None
        result = export(checkpoint, options.out, scheme, codes, show)
    if target:
        publishing.push_folder(target, options.out)
    result = replace(result, seconds=monotonic() - started)  # choosing the codes takes longer than writing them
    if options.json:
        return print_json(tables.exported(result))
    loaders = " and ".join(scheme.loaders)
    print(
        f"{printable(result.path)}: {tables.size(result.nbytes)}, {result.bpw:.2f} bits per weight of the "
        f"layers' matrices, {result.seconds:.1f} s; for {loaders}."
    )
    return 0


def _prepared(checkpoint, scheme, options):
    from quantlib.exports.calibrated import prepare
    from quantlib.lm import Tokenizer, load
    from quantlib.lm.quantizing import calibration_notes
    from quantlib.lm.windows import cut

    if options.calibration is None:
        raise ql.MethodError(f"{scheme.name} chooses codes by what a text puts through the model: give --calibration.")
    model, tokenizer = load(checkpoint, decoded=False), Tokenizer.of(checkpoint)
    context = min(options.context, model.shape.context)
    windows = cut(model, tokenizer.encode(read_text(options.calibration)), context, tokenizer.bos)
    for said in calibration_notes(model, windows):
        note(said)
    return prepare(checkpoint, scheme, model, windows, progress_line("choosing codes"))
