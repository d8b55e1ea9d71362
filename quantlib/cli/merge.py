"""merge: one GGUF file of all parts of a split one."""

from quantlib import tables
from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.rewriting import merge
from quantlib.cli.shared import command, print_json, progress_line, replaces, writes
from quantlib.cli.words import printable


def add(commands) -> None:
    sub = command(
        commands, "merge", run, "put the parts of a split GGUF file together",
        examples=("merge model-00001-of-00003.gguf model.gguf",),
    )  # fmt: skip
    sub.add_argument("source", metavar="FIRST.gguf", help="the first part, whose name ends in -00001-of-0000N.gguf")
    writes(sub, "OUT.gguf", "the file to write")
    replaces(sub)


def run(options) -> int:
    with open_checkpoint(options.source) as checkpoint:
        nbytes = merge(checkpoint, options.out, options.overwrite, progress_line("merging"))
        count = len(checkpoint.files)
    if options.json:
        return print_json({"path": str(options.out), "nbytes": nbytes, "parts": count})
    print(f"{printable(options.out)}: {tables.size(nbytes)} of {count:,} parts; written and verified.")
    return 0
