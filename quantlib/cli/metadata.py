"""metadata: what a file says of itself, as aligned lines; and a new file that says something else."""

from pathlib import Path

from quantlib import tables
from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.rewriting import edited, rewrite, whole_gguf
from quantlib.cli.shared import SOURCE_HELP, command, print_json, progress_line, replaces
from quantlib.cli.words import printable
from quantlib.errors import CheckpointError

LONGEST = 100  # characters of a value in a list
WHOLE = 1 << 24  # characters of a value that is asked for by its key


def add(commands) -> None:
    sub = command(
        commands, "metadata", run, "print what a header says, or write a GGUF file that says something else",
        examples=(
            "metadata model.gguf", "metadata model.gguf --key tokenizer.chat_template", "metadata model.gguf --chat",
            "metadata model.gguf --set general.name=Mine --delete general.url -o renamed.gguf",
            "metadata model.gguf --set llama.context_length=uint32:8192 -o longer.gguf",
        ),
    )  # fmt: skip
    sub.add_argument("source", metavar="SOURCE", help=SOURCE_HELP)
    sub.add_argument("--key", metavar="KEY", help="print this value alone, in full")
    sub.add_argument(
        "--chat", action="store_true",
        help="print what the model reads of an example chat: its template, rendered in a sandbox",
    )  # fmt: skip
    sub.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[],
        help="give a key a value of the type that it has; or KEY=TYPE:VALUE, with int, float, bool, str or a name of "
        "GGUF's; may be repeated",
    )  # fmt: skip
    sub.add_argument("--delete", metavar="KEY", action="append", default=[], help="leave a key out; may be repeated")
    sub.add_argument("-o", "--out", type=Path, metavar="OUT.gguf", help="the file to write, with the same tensors")
    replaces(sub)


def run(options) -> int:
    changes = bool(options.set or options.delete)
    if changes != (options.out is not None):
        raise CheckpointError(
            "Nothing is changed in place: name the new file with -o."
            if changes
            else "-o goes with --set or --delete, which say what is to be written."
        )
    with open_checkpoint(options.source) as checkpoint:
        if changes:
            return _write(checkpoint, options)
        if options.chat:
            return _chat(checkpoint, options)
        if options.key is not None:
            return _one(checkpoint, options)
        rows = tables.metadata(checkpoint, WHOLE if options.json else LONGEST)
    if options.json:
        return print_json({row["key"]: {"type": row["type"], "value": row["value"]} for row in rows})
    print(printable(tables.as_text([{**row, "value": row["value"].replace("\n", " ")} for row in rows]), lines=True))
    return 0


def _one(checkpoint, options) -> int:
    found = next((row for row in tables.metadata(checkpoint, WHOLE) if row["key"] == options.key), None)
    if found is None:
        raise CheckpointError(f"There is no metadata key {options.key!r} in {options.source}.")
    if options.json:
        return print_json(found)
    value = checkpoint.value(options.key)
    print(printable(value if isinstance(value, str) else found["value"], lines=True))
    return 0


def _chat(checkpoint, options) -> int:
    from quantlib.lm.chat import EXAMPLE, rendered_chat

    text = rendered_chat(checkpoint)
    if options.json:
        return print_json({"messages": list(EXAMPLE), "text": text})
    print(printable(text, lines=True))
    return 0


def _write(checkpoint, options) -> int:
    whole_gguf(checkpoint)
    metadata = edited(checkpoint.metadata, options.set, options.delete)
    nbytes = rewrite(checkpoint, options.out, metadata, options.overwrite, progress_line(f"writing {options.out}"))
    if options.json:
        return print_json({"path": str(options.out), "nbytes": nbytes, "tensors": len(checkpoint.tensors)})
    print(
        f"{printable(options.out)}: {tables.size(nbytes)}, {len(checkpoint.tensors):,} tensors as they were; "
        "written and verified."
    )
    return 0
