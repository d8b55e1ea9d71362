"""formats: the catalogue of number formats."""

from quantlib import tables
from quantlib.cli.shared import command, print_json


def add(commands) -> None:
    command(
        commands,
        "formats",
        run,
        "list the number formats and what they cost",
        examples=(
            "formats",
            "formats --json",
        ),
    )


def run(options) -> int:
    rows = tables.formats()
    if options.json:
        return print_json(rows)
    columns = ["name", "kind", "bpw", "values", "nbytes", "fields", "levels", "importance"]
    print(tables.as_text([{c: row[c] for c in columns} for row in rows]))
    return 0
