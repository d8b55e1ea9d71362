"""quantize --method: codes chosen on a calibration text."""

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import print_json, progress_line, read_text
from quantlib.cli.words import printable
from quantlib.recipes import Overrides


def run(options, overrides: Overrides) -> int:
    """Write the file; what the arguments mean is said in `quantize`."""
    from quantlib.lm.gptq_writing import TOKENS, write_gptq

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
    if not options.text:
        raise ql.RecipeError("--method gptq needs a calibration text: give one with --text FILE.")
    text, show = "\n\n".join(map(read_text, options.text)), progress_line("quantizing")
    named = ", ".join(path.name for path in options.text)
    with ql.open_checkpoint(options.source) as checkpoint:
        done = write_gptq(
            checkpoint, options.out, text, options.recipe, options.pure, overrides,
            dataset=named, progress=show, reads=tuple(options.text), overwrite=options.overwrite,
            tokens=options.tokens or TOKENS,
        )  # fmt: skip
    if options.json:
        return print_json({
            "path": str(done.path), "nbytes": done.nbytes, "bpw": round(done.bpw, 4), "method": options.method,
            "filled": done.filled, "tokens": done.tokens, "resumed": done.resumed,
            "seconds": round(done.seconds, 3), "notes": list(done.notes),
        })  # fmt: skip
    for note in done.notes:
        print(printable(note))
    resumed = f", {done.resumed} layers taken over from a killed run" if done.resumed else ""
    print(
        f"{printable(done.path)}: {tables.size(done.nbytes)}, {done.bpw:.2f} bpw, {done.seconds:.1f} s{resumed}; "
        f"{done.filled} matrices chosen on {done.tokens:,} tokens; written and verified."
    )
    return 0
