"""compare: one model by every method, at several numbers of bits."""

import argparse
import json
import re
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.cli.shared import (
    SOURCE_HELP,
    command,
    files_named,
    positive,
    print_json,
    progress_line,
    replaces,
    saved_as,
)
from quantlib.cli.words import printable
from quantlib.destinations import MADE_BY, Destination


def add(commands) -> None:
    compare = command(
        commands,
        "compare",
        run,
        "compare methods of choosing codes on a model",
        examples=(
            "compare model/ --bits 4,3",
            "compare model/ --text calibration.txt --evaluate story.txt -o methods",
        ),
    )
    compare.add_argument("model", metavar="MODEL", help=SOURCE_HELP)
    compare.add_argument(
        "--text", "--calibration", type=Path, action="append", metavar="FILE",
        help="a UTF-8 text to calibrate on; may be repeated; default: the two of this project",
    )  # fmt: skip
    compare.add_argument(
        "--evaluate", type=Path, action="append", metavar="FILE",
        help="a UTF-8 text to judge on, another one; may be repeated; default: the two texts of this project",
    )  # fmt: skip
    compare.add_argument(
        "--bits", type=_bits, default=(8, 4, 3, 2), metavar="N,N", help="bits of a code, 2 to 8; default 8,4,3,2"
    )
    compare.add_argument(
        "--group", type=positive, default=64, metavar="N", help="weights that share a scale, default %(default)s"
    )
    compare.add_argument(
        "--context", type=positive, default=512, metavar="N", help="tokens a window, default %(default)s"
    )
    compare.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    compare.add_argument("-o", "--out", type=Path, metavar="NAME", help="save NAME.json and NAME.md too")
    replaces(compare)


def _bits(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(re.fullmatch("[2-8]", part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a list of numbers from 2 to 8, such as 4,3")
    return tuple(map(int, parts))


def run(options) -> int:
    from quantlib.lm.contest import contest
    from quantlib.lm.texts import CALIBRATION, EVALUATION, GENERATED, read_texts

    calibration, texts = (
        read_texts(options.text or [CALIBRATION, GENERATED]),
        read_texts(options.evaluate or EVALUATION),
    )
    show = progress_line("comparing")
    with ql.open_checkpoint(options.model) as checkpoint:
        reads = (*checkpoint.paths, *files_named(*(options.text or ()), *(options.evaluate or ())))
        saved = saved_as(options.out, (".json", ".md"), options, reads)
        found = contest(checkpoint, calibration, texts, options.bits, options.group, options.context, show)
    if saved:
        _save(*saved, found)
    if options.json:
        return print_json(found.document())
    print(tables.as_markdown(tables.methods(found)) if options.markdown else tables.as_text(tables.methods(found)))
    print(f"\n{printable(_caption(found))}")
    return 0


def _save(document: Destination, table: Destination, found) -> None:
    document.write_text(json.dumps({"made_by": MADE_BY} | found.document(), indent=1) + "\n")
    table.write_text(f"{tables.as_markdown(tables.methods(found))}\n\n{_caption(found)}\n")


def _caption(found) -> str:
    """What was measured on what."""
    one = found.measured[0].total
    return " ".join([
        f"Measured on {found.source} (weights {found.model[:8]}), whose perplexity is {one.baseline:.3f} as it is; "
        f"calibrated on {found.calibration_tokens:,} tokens of {found.calibration_name}, judged on {one.tokens:,} of "
        f"{' and '.join(found.texts)}.",
        *found.notes,
    ])  # fmt: skip
