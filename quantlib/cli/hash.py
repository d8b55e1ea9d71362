"""hash: SHA-256 of files and tensors, and a fingerprint of the structure."""

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.digests import digests
from quantlib.cli.shared import SOURCE_HELP, command, positive, print_json, progress_line
from quantlib.cli.words import printable

STRUCTURE = "(structure: names, shapes and formats)"


def add(commands) -> None:
    sub = command(
        commands, "hash", run, "print the SHA-256 of a checkpoint's files and of every tensor in them",
        examples=("hash model.gguf", "hash model/ --files-only", "hash model.gguf --json"),
    )  # fmt: skip
    sub.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    sub.add_argument("--files-only", action="store_true", help="leave out the tensors, whose bytes are read once more")
    sub.add_argument("--threads", type=positive, metavar="N", help="default: 4")


def run(options) -> int:
    with open_checkpoint(options.source) as checkpoint:
        checkpoint.download()
        found = digests(checkpoint, not options.files_only, options.threads, progress_line("hashing"))
    if options.json:
        return print_json({
            "source": str(options.source), "files": dict(found.files), "structure": found.structure,
            "tensors": dict(found.tensors),
        })  # fmt: skip
    for name, digest in (*found.files.items(), *found.tensors.items()):
        print(f"{digest}  {printable(name)}")
    print(f"{found.structure}  {STRUCTURE}")
    return 0
