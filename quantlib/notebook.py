"""What plans, checkpoints, results and comparisons show of themselves in a session or a notebook: one screen each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import singledispatch
from html import escape
from importlib import import_module
from typing import Any

from quantlib import tables
from quantlib.checkpoints import Checkpoint
from quantlib.errors import QuantlibError
from quantlib.inspection import Comparison
from quantlib.jobs import Plan, RunResult

FEW = 12  # rows of a table that one screen has
LONGEST = 44  # characters of a cell


@singledispatch
def head(thing: Any) -> tuple[str, ...]:
    """The lines above the table."""
    raise TypeError(f"{type(thing).__name__} has no table")


@singledispatch
def rows(thing: Any) -> list[tables.Row]:
    """The whole table, a row for each tensor."""
    raise TypeError(f"{type(thing).__name__} has no table")


@head.register
def _(thing: Checkpoint) -> tuple[str, ...]:
    bits = "" if not thing.size else f", {8 * thing.nbytes / thing.size:.2f} bits per weight"
    amount = f"{len(thing.tensors):,} tensors, {tables.count(thing.size)} weights, {tables.size(thing.nbytes)}{bits}"
    return (
        f"Checkpoint {thing.origin or thing.source} ({thing.kind}, {thing.architecture or 'architecture not stated'})",
        f"{amount}; {_counted(tensor.format for tensor in thing)}",
        *(f"note: {warning}" for warning in thing.warnings),
    )


@rows.register
def _(thing: Checkpoint) -> list[tables.Row]:
    return tables.tensors(thing)


@head.register
def _(thing: Plan) -> tuple[str, ...]:
    return (
        f"Plan {thing.recipe.name}: {tables.size(thing.source_nbytes)} become {tables.size(thing.nbytes)}, "
        f"{thing.bpw:.2f} bits per weight; {_counted(tensor.target for tensor in thing.tensors)}",
        *(f"note: {warning}" for warning in thing.warnings),
    )


@rows.register
def _(thing: Plan) -> list[tables.Row]:
    columns = ("name", "shape", "source", "target", "bpw", "nbytes", "reason")
    return _picked(tables.plan(thing)["tensors"], columns)


@head.register
def _(thing: RunResult) -> tuple[str, ...]:
    return (
        f"Result {thing.path}: {tables.size(thing.nbytes)} in {thing.seconds:.1f} s, "
        f"relative error {thing.loss.relative:.2%} over all weights; "
        f"{_counted(tensor.target for tensor in thing.tensors)}",
        *(f"note: {found.words}" for found in thing.outliers),
    )


@rows.register
def _(thing: RunResult) -> list[tables.Row]:
    columns = ("name", "source", "target", "nbytes", "relative", "sqnr", "largest_error")
    return _picked(tables.result(thing)["tensors"], columns)


@head.register
def _(thing: Comparison) -> tuple[str, ...]:
    return ("Comparison of two checkpoints", thing.words)


@rows.register
def _(thing: Comparison) -> list[tables.Row]:
    columns = ("name", "format", "other format", "relative", "sqnr", "note")
    return _picked(map(tables.comparison, thing.rows), columns)


def text(thing: Any) -> str:
    """One screen: the lines above, and the first rows of the table."""
    found = rows(thing)
    table = tables.as_text([_short(row) for row in found[:FEW]]) if found else ""
    rest = len(found) - FEW
    return "\n".join([*map(_line, head(thing)), *table.splitlines(), *([f"… and {rest:,} more"] if rest > 0 else [])])


def html(thing: Any) -> str:
    """The same as HTML, for a notebook. Names come from files, so all of it is escaped."""
    found = rows(thing)
    first, *others = (escape(_line(line)) for line in head(thing))
    lines = f"<strong>{first}</strong>" + "".join(f"<br>{line}" for line in others)
    rest = len(found) - FEW
    more = f"<p>… and {rest:,} more; <code>.to_frame()</code> has all</p>" if rest > 0 else ""
    return f"<div><p>{lines}</p>{_table(found[:FEW])}{more}</div>"


def _picked(found: Iterable[tables.Row], columns: Sequence[str]) -> list[tables.Row]:
    """Rows with these columns alone, in this order."""
    return [{column: row[column] for column in columns} for row in found]


def _table(found: Sequence[tables.Row]) -> str:
    if not found:
        return ""
    named = "".join(f"<th>{escape(column)}</th>" for column in found[0])
    cells = (
        f"<tr>{''.join(f'<td>{escape(tables.cell(value))}</td>' for value in _short(row).values())}</tr>"
        for row in found
    )
    return f"<table><thead><tr>{named}</tr></thead><tbody>{''.join(cells)}</tbody></table>"


def frame(thing: Any) -> Any:
    """The whole table as a pandas DataFrame. Raises QuantlibError where pandas is not installed."""
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise QuantlibError("A data frame needs pandas, which is not installed here: pip install pandas.") from None
    return pandas.DataFrame(rows(thing))


def figure(thing: Any, theme: str = "light") -> Any:
    """The picture of a plan, a checkpoint, a result, a comparison or a tensor, as a Plotly figure.

    Raises QuantlibError where Plotly is not installed.
    """
    try:
        drawn = import_module("quantlib.figures.objects")
    except ImportError:
        raise QuantlibError("A figure needs Plotly, which is not installed here: pip install plotly.") from None
    return drawn.figure(thing, theme)


def _counted(formats: Iterable[str]) -> str:
    counts = Counter(formats).most_common()
    return ", ".join(f"{count:,} × {name}" for name, count in counts) or "nothing"


def _short(row: tables.Row) -> tables.Row:
    return {name: _cut(value) if isinstance(value, str) else value for name, value in row.items()}


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def _line(line: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in line)
