"""Tables that a command also writes to a file: HTML, CSV or JSON, by the name's ending."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import quantlib as ql
from quantlib import tables
from quantlib.figures.report import html_report

ENDINGS = (".html", ".csv", ".json")


def report_path(text: str) -> Path:
    """An argument that names a report."""
    if Path(text).suffix.lower() not in ENDINGS:
        raise argparse.ArgumentTypeError(f"{text!r} ends in none of {', '.join(ENDINGS)}")
    return Path(text)


def write_report(
    path: Path, title: str, facts: Sequence[tuple[str, str]], rows: list[dict], bar: str | None = None
) -> None:
    """The rows as the kind of file that the name asks for. Raises JobError where it cannot be written."""
    match path.suffix.lower():
        case ".csv":
            text = tables.as_csv(rows)
        case ".json":
            text = json.dumps({"title": title, **dict(facts), "tensors": rows}, indent=1, allow_nan=False) + "\n"
        case _:
            text = html_report(title, facts, rows, bar)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ql.JobError(f"The report {path} cannot be written: {(error.strerror or 'unknown').lower()}.") from None
