"""Rows of a table as one HTML file that needs nothing else: to keep, to mail, to print."""

from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #8884; text-align: left; white-space: nowrap; }
th { position: sticky; top: 0; background: Canvas; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: linear-gradient(#d55e0055, #d55e0055) no-repeat 0 / var(--share) 100%; }
.wide { overflow-x: auto; }
"""


def html_report(title: str, facts: Sequence[tuple[str, str]], rows: Sequence[dict], bar: str | None = None) -> str:
    """A page with a title, facts as (what, value), and a table of the rows under their keys.

    bar: the column whose cells carry a bar, as long as its number is large.
    """
    columns = list(rows[0]) if rows else []
    right = {c for c in columns if all(isinstance(row[c], int | float | type(None)) for row in rows)}
    most = max((abs(row[bar] or 0) for row in rows), default=0) if bar else 0
    head = "".join(f'<th scope="col"{_number(c in right)}>{escape(c)}</th>' for c in columns)
    body = "\n".join(
        "<tr>" + "".join(_cell(row[c], c in right, most if c == bar else 0) for c in columns) + "</tr>" for row in rows
    )
    said = "".join(f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in facts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="generator" content="quantlib"><meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n<dl>{said}</dl>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>\n'
        "</body></html>\n"
    )


def _number(right: bool) -> str:
    return ' class="number"' if right else ""


def _cell(value, right: bool, most: float) -> str:
    if most and value:
        return f'<td class="number bar" style="--share:{100 * abs(value) / most:.1f}%">{_text(value)}</td>'
    return f"<td{_number(right)}>{_text(value)}</td>"


def _text(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return escape(" × ".join(str(v) for v in value))
    return escape("".join(c if c.isprintable() else "�" for c in str(value)))
