"""Tables that a command also writes to a file: HTML, CSV or JSON, by the name's ending."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from quantlib import tables
from quantlib.destinations import MADE_BY, TABLES, Destination, destination
from quantlib.figures.report import html_report

ENDINGS = (".html", ".csv", ".json")


def report_path(text: str) -> Path:
    """An argument that names a report."""
    if Path(text).suffix.lower() not in ENDINGS:
        raise argparse.ArgumentTypeError(f"{text!r} ends in none of {', '.join(ENDINGS)}")
    return Path(text)


def report_of(options, reads: Iterable[Path], folder: Path | None = None) -> Destination | None:
    """Where --report goes, checked before the work begins; None where none is wanted."""
    path = options.report
    return path and destination(path, TABLES[path.suffix.lower()], reads, folder, options.overwrite)


def write_report(
    out: Destination, title: str, facts: Sequence[tuple[str, str]], rows: list[dict], bar: str | None = None
) -> None:
    """The rows as the kind of file that the name asks for. Raises JobError where it cannot be written."""
    match out.path.suffix.lower():
        case ".csv":
            text = tables.as_csv(rows)
        case ".json":
            document = {"made_by": MADE_BY, "title": title, **dict(facts), "tensors": rows}
            text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        case _:
            text = html_report(title, facts, rows, bar)
    out.write_text(text)
