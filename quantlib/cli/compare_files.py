"""compare-files: whether two checkpoints hold the same, and in what they differ; the exit status says it, too."""

import sys
from itertools import islice

from quantlib.checkpoints import open_checkpoint
from quantlib.checkpoints.digests import Difference, differences
from quantlib.cli.shared import SOURCE_HELP, command, print_json
from quantlib.cli.words import printable
from quantlib.errors import QuantlibError

SAME, DIFFERENT, TROUBLE = 0, 1, 2
SHOWN = 40  # differences that are listed


def add(commands) -> None:
    sub = command(
        commands, "compare-files", run, "say whether two checkpoints hold the same bytes, and in what they differ",
        examples=("compare-files a.gguf b.gguf", "compare-files a.gguf b.gguf --ignore-metadata"),
    )  # fmt: skip
    sub.add_argument("source", metavar="FIRST", help=SOURCE_HELP)
    sub.add_argument("other", metavar="SECOND", help="another one")
    sub.add_argument("--ignore-metadata", action="store_true", help="compare tensors alone")
    sub.epilog = (
        "exit status: 0 where they hold the same, 1 where they differ, 2 where one cannot be read.\n"
        "How far apart values are is shown by `inspect FIRST --against SECOND`.\n\n" + sub.epilog
    )


def run(options) -> int:
    try:
        with open_checkpoint(options.source) as first, open_checkpoint(options.other) as second:
            found = list(differences(first, second, not options.ignore_metadata))
    except QuantlibError as error:
        print(f"quantlib: {printable(error)}", file=sys.stderr)
        return TROUBLE
    if options.json:
        rows = [{"what": d.what, "name": d.name, "first": d.first, "second": d.second} for d in found]
        print_json({"same": not found, "differences": rows})
    else:
        _show(found)
    return DIFFERENT if found else SAME


def _show(found: list[Difference]) -> None:
    if not found:
        print("They hold the same.")
        return
    for one in islice(found, SHOWN):
        if one.first is None or one.second is None:
            side, value = ("second", one.second) if one.first is None else ("first", one.first)
            print(printable(f"{one.what} {one.name}: only in the {side}: {value}"))
        else:
            print(printable(f"{one.what} {one.name}: {one.first} | {one.second}"))
    if len(found) > SHOWN:
        print(f"… and {len(found) - SHOWN:,} more; --json lists all.")
    counts = {what: sum(d.what == what for d in found) for what in ("metadata", "tensor")}
    print(f"They differ in {counts['metadata']:,} metadata keys and {counts['tensor']:,} tensors.")
