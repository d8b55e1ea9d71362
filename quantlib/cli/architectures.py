"""architectures: whose Hugging Face folders become GGUF, which of them run here, and whose scales fold."""

from quantlib import tables
from quantlib.cli.shared import command, print_json

OTHERS = """
A folder of any other architecture can be inspected and measured. For the rest make a GGUF file of it with llama.cpp:
    python convert_hf_to_gguf.py FOLDER --outfile MODEL.gguf
GGUF files of any architecture can be quantized."""


def add(commands) -> None:
    command(
        commands,
        "architectures",
        run,
        "list the model architectures that are converted to GGUF, and that run",
        examples=(
            "architectures",
            "architectures --json",
        ),
    )


def run(options) -> int:
    rows = tables.architectures()
    if options.json:
        return print_json(rows)
    marks = ("converts", "runs", "embeds", "folds")
    print(tables.as_text([row | {mark: "yes" if row[mark] else "" for mark in marks} for row in rows]))
    print(OTHERS)
    return 0
