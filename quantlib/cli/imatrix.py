"""imatrix: which input channels of a model matter, collected over a text."""

from pathlib import Path

import quantlib as ql
from quantlib.cli.shared import SOURCE_HELP, command, positive, print_json, progress_line, read_text, replaces, writes
from quantlib.cli.words import printable
from quantlib.destinations import IMATRIX, destination


def add(commands) -> None:
    collect = command(
        commands,
        "imatrix",
        run,
        "collect an importance matrix over a text",
        examples=("imatrix model/ --text calibration.txt -o imatrix.gguf",),
    )
    collect.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    collect.add_argument(
        "--text", "--calibration", required=True, type=Path, metavar="FILE", help="a UTF-8 text, typical of the use"
    )
    writes(collect, "OUT.gguf", "the file to write")
    collect.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window, default %(default)s"
    )
    collect.add_argument("--process-output", action="store_true", help="collect for the output matrix too")
    replaces(collect)


def run(options) -> int:
    from quantlib.checkpoints import write_imatrix
    from quantlib.lm import Tokenizer, imatrix, load

    with ql.open_checkpoint(options.model) as checkpoint:
        reads = (*checkpoint.paths, options.text)
        out = destination(options.out, IMATRIX, reads, checkpoint.folder, options.overwrite)
        tokenizer = Tokenizer.of(checkpoint)
        tokens = tokenizer.encode(read_text(options.text))
        sums = imatrix(
            load(checkpoint),
            tokens,
            options.context,
            tokenizer.bos,
            options.process_output,
            str(options.text),
            progress_line("collecting"),
        )
    write_imatrix(sums, out)
    document = {
        "out": str(options.out),
        "entries": len(sums.sums),
        "chunks": sums.chunks,
        "chunk_size": sums.chunk_size,
        "tokens": sums.chunks * sums.chunk_size,
    }
    if options.json:
        return print_json(document)
    print(
        f"{printable(options.out)}: {len(sums.sums)} matrices, {document['tokens']:,} tokens in {sums.chunks} windows."
    )
    return 0
