"""Small pictures of a few numbers: bars to scale, and parts of a whole, as HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from quantlib.figures.runs import depth_of


@dataclass(frozen=True)
class Bar:
    """A bar: its name, how long it is, what is written beside it, and the role whose colour it has."""

    name: str
    value: float
    words: str
    role: str = "code"


def bars_html(bars: Sequence[Bar], title: str) -> str:
    """Bars to one scale from zero, under a title that says what they measure."""
    largest = max((bar.value for bar in bars), default=0) or 1.0
    rows = "".join(
        f'<div class="bars-row"><span>{escape(bar.name)}</span><span class="track">'
        f'<i style="width:{100 * bar.value / largest:.2f}%;background:var(--role-{bar.role})"></i></span>'
        f"<b>{escape(bar.words)}</b></div>"
        for bar in bars
    )
    label = f"{title}: " + "; ".join(f"{bar.name} {bar.words}" for bar in bars)
    return f'<div class="bars" role="img" aria-label="{escape(label, quote=True)}"><p>{escape(title)}</p>{rows}</div>'


def shares_html(wholes: Mapping[str, Mapping[str, float]], bpw: Mapping[str, float], title: str) -> str:
    """A bar for each whole, cut into its parts: shares by name, coloured by bits per weight and written where wide."""
    rows = []
    for name, parts in wholes.items():
        cells = "".join(
            f'<i style="width:{100 * share:.2f}%;--depth:{depth_of(bpw[part]):.2f}" title="{escape(part)} {share:.0%}">'
            f"{escape(part) if share > 0.09 else ''}</i>"
            for part, share in parts.items()
        )
        rows.append(f'<div class="shares-row"><span>{escape(name)}</span><span class="track">{cells}</span></div>')
    label = (
        title
        + ": "
        + "; ".join(
            f"{name}: " + ", ".join(f"{share:.0%} {part}" for part, share in parts.items())
            for name, parts in wholes.items()
        )
    )
    body = "".join(rows)
    return f'<div class="bars" role="img" aria-label="{escape(label, quote=True)}"><p>{escape(title)}</p>{body}</div>'


def bar_cell(share: float) -> str:
    """A cell of a table of measurements with a bar over so much of its width: 1 is all of it."""
    return f"<td class='bar'><span style='width:{100 * share:.1f}%'></span></td>"
