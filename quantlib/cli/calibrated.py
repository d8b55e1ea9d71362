"""quantize --method: codes chosen on a calibration text."""

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import print_json, progress_line, read_text
from quantlib.cli.words import printable
from quantlib.recipes import Overrides


def run(options, overrides: Overrides) -> int:
    """Write the file; what the arguments mean is said in `quantize`."""
    from quantlib.lm.gptq_writing import write_gptq

    for given, name in (
        (options.imatrix, "--imatrix"),
        (options.scheduler, "--scheduler"),
        (options.report, "--report"),
        (options.override_kv, "--override-kv"),
        (options.effort != "standard", "--effort"),
        (options.push, "--push"),
        (options.card, "--card"),
    ):
        if given:
            raise ql.RecipeError(f"{name} does not go with --method; leave one of them out.")
    if options.text is None:
        raise ql.RecipeError("--method needs a calibration text: give one with --text FILE.")
    text, show = read_text(options.text), progress_line("quantizing")
    with ql.open_checkpoint(options.source) as checkpoint:
        done = write_gptq(
            checkpoint, options.out, text, options.recipe, options.pure, overrides,
            dataset=options.text.name, progress=show, reads=(options.text,), overwrite=options.overwrite,
        )  # fmt: skip
    if options.json:
        return print_json({
            "path": str(done.path), "nbytes": done.nbytes, "bpw": round(done.bpw, 4), "method": options.method,
            "filled": done.filled, "seconds": round(done.seconds, 3), "notes": list(done.notes),
        })  # fmt: skip
    for note in done.notes:
        print(printable(note))
    print(
        f"{printable(done.path)}: {tables.size(done.nbytes)}, {done.bpw:.2f} bpw, {done.seconds:.1f} s; "
        f"{done.filled} matrices with GPTQ's codes; written and verified."
    )
    return 0
