"""split: a GGUF file in several parts, which llama.cpp loads by the first."""

import argparse
import re
from pathlib import Path

from quantlib import tables
from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.rewriting import part_names, parts_of, split, whole_gguf
from quantlib.cli.shared import command, positive, print_json, progress_line, replaces, writes
from quantlib.cli.words import printable

MOST_TENSORS = 128  # of a part, where nothing is said: llama-gguf-split's own
UNITS = {"M": 10**6, "G": 10**9}


def add(commands) -> None:
    sub = command(
        commands, "split", run, "cut a GGUF file into parts, named as llama-gguf-split names them",
        examples=("split model.gguf model --max-size 4G", "split model.gguf -o parts/model --max-tensors 64 --dry-run"),
    )  # fmt: skip
    sub.add_argument("source", metavar="SOURCE.gguf", help="a GGUF file in one piece")
    writes(sub, "PREFIX", "the parts become PREFIX-00001-of-0000N.gguf and so on")
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--max-size", "--split-max-size", type=_size, metavar="4G", help="of a part, in M or G")
    how.add_argument(
        "--max-tensors", "--split-max-tensors", type=positive, metavar="N", help=f"of a part; default: {MOST_TENSORS}"
    )
    sub.add_argument("--dry-run", action="store_true", help="say what the parts would be; write nothing")
    replaces(sub)


def _size(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,6})([MG])B?", text.upper())
    if not found:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a size such as 500M or 4G")
    return int(found[1]) * UNITS[found[2]]


def run(options) -> int:
    with open_checkpoint(options.source) as checkpoint:
        whole_gguf(checkpoint)
        parts = parts_of(list(checkpoint), options.max_tensors or MOST_TENSORS, options.max_size)
        names: list[Path] = part_names(options.out, len(parts))
        if not options.dry_run:
            split(checkpoint, options.out, parts, options.overwrite, progress_line("splitting"))
        rows = [
            {"part": str(name), "tensors": len(part), "nbytes": sum(t.nbytes for t in part)}
            for name, part in zip(names, parts, strict=True)
        ]
    if options.json:
        return print_json(rows)
    print(printable(tables.as_text(rows), lines=True))
    print(f"\n{len(rows):,} parts" + ("; nothing is written." if options.dry_run else "; written and verified."))
    return 0
