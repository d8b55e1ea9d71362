"""One stored block, shaped for the eye: the block brush's data, the weights beside what was stored, the search."""

import csv
import io
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from quantlib.figures import palette, style
from quantlib.figures.weights import fp32_bits
from quantlib.formats import BlockFormat, Format, Trace
from quantlib.formats.blocks.block import Term

MAX_LEVELS = 32  # more storable values than this in one block are a wash of grey, not a grid
MOST_WITH_LINES = 64  # weights; beyond, the lines between before and after would only be clutter


@dataclass(frozen=True, eq=False)
class StoredBlock:
    """A block of weights, float32 (values,), and the trace of its format: codes, data (nbytes,), decoded (values,)."""

    format: BlockFormat
    weights: np.ndarray
    trace: Trace

    @property
    def data(self) -> np.ndarray:
        return self.trace.data

    @property
    def decoded(self) -> np.ndarray:
        return self.trace.decoded

    @property
    def group(self) -> int:
        """Weights that share one scale."""
        return self.format.values // self.trace.groups


def drawable(fmt: Format) -> bool:
    """Whether the pictures here tell how it stores weights: each weight reads one code of each field.

    Not so where a code holds the digits of weights that lie far apart, as in TQ1_0.
    """
    return fmt.kind == "block" and all(fmt.values % field.count == 0 for field in fmt.layout.fields)


def store(fmt: BlockFormat, weights: np.ndarray, importance: np.ndarray | None = None) -> StoredBlock:
    """Quantize one block of weights, float32 (values,), keeping every step; importance (values,) steers it.

    Raises FormatError where the format needs importance and there is none.
    """
    weights = np.ascontiguousarray(weights, np.float32)
    return StoredBlock(fmt, weights, fmt.trace(weights, importance))


def has_grid(fmt: BlockFormat) -> bool:
    """Whether neighbouring weights share a code: the number of a point of a grid."""
    return next(f for f in fmt.layout.fields if f.role == "code").count < fmt.values


def message(block: StoredBlock, token: str) -> dict:
    """The block as integers and bit patterns, for the block brush. `token` names it: another token is another block.

    Fields carry their role, their codes and the bit address of each code's bits, least significant first.
    """
    return {
        "token": token,
        "format": block.format.name,
        "values": block.format.values,
        "columns": block.group,
        "formula": block.format.formula.value,
        "bytes": block.data.tolist(),
        "weights": fp32_bits(block.weights).tolist(),
        "decoded": fp32_bits(block.decoded).tolist(),
        "fields": [
            {
                "name": field.name,
                "role": field.role,
                "dtype": field.dtype,
                "doc": field.doc,
                "bits": field.bits.tolist(),
                "codes": _integers(block.trace.codes[field.name]).tolist(),
            }
            for field in block.format.layout.fields
        ],
        "terms": [
            {"name": name, "symbol": term.symbol, "values": fp32_bits(_of_each_weight(block, term)).tolist()}
            for name, term in block.format.terms.items()
        ],
    }


def _of_each_weight(block: StoredBlock, term: Term) -> np.ndarray:
    """What a term of the formula is for every weight: float32 (values,)"""
    fields, element = block.format.layout.fields, block.format.layout.element
    return np.array(
        [
            term.of({f.name: block.trace.codes[f.name][element(f.name, at)] for f in fields}, at)
            for at in range(block.format.values)
        ],
        np.float32,
    )


def _integers(codes: np.ndarray) -> np.ndarray:
    """Codes as integers: a half-precision float as its bit pattern."""
    return codes.view(np.uint16) if codes.dtype == np.float16 else codes


def levels(block: StoredBlock, group: int) -> np.ndarray:
    """Every value that a weight of one group can be stored as, by rising code. float32 (2 ** bits of a code,)

    None where weights share codes: a grid leaves no weight alone. float32 (0,)
    """
    if has_grid(block.format):
        return np.empty(0, np.float32)
    field = next(f for f in block.format.layout.fields if f.role == "code")
    codes = {name: code[None] for name, code in block.trace.codes.items()}
    every = np.arange(2**field.width).astype(field.unsigned).view(field.stored)
    every = np.sort(every)
    many = {name: np.repeat(code, every.size, axis=0) for name, code in codes.items()}
    many[field.name] = np.repeat(every[:, None], field.count, axis=1)  # (levels, values): one code everywhere
    return block.format.decode(many)[:, group * block.group]


def size_html(fmt: BlockFormat) -> str:
    """Where the bits of a block go, as an HTML table with every field in its hue, and the sum that makes bpw."""
    rows = "".join(
        f'<tr><td style="color:var({palette.ROLES[field.role].css_name});font-weight:600">{field.name}</td>'
        f"<td>{field.doc}</td><td>{field.count} × {field.width} bits</td><td>{field.bits.size}</td></tr>"
        for field in sorted(fmt.layout.fields, key=lambda field: -field.bits.size)
    )
    return (
        "<style>.bits-table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}"
        ".bits-table td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--rule);vertical-align:top}"
        ".bits-table td:nth-child(n+3){text-align:right;white-space:nowrap;padding-right:0;padding-left:.75rem}"
        ".bits-table tr:last-child td{border:0;font-weight:600}</style>"
        f'<table class="bits-table">{rows}<tr><td></td><td>{8 * fmt.nbytes} bits ÷ {fmt.values} weights = '
        f"{fmt.bpw:g} bits per weight</td><td></td><td>{8 * fmt.nbytes}</td></tr></table>"
    )


def to_csv(block: StoredBlock) -> str:
    """Every weight of the block with its codes, its stored value and the error, as CSV."""
    fields = [f for f in block.format.layout.fields if f.count > 1 or f.role == "code"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["weight", "x", *(f.name for f in fields), "stored", "error"])
    for at, (x, back) in enumerate(zip(block.weights, block.decoded, strict=True)):
        codes = (int(block.trace.codes[f.name][block.format.layout.element(f.name, at)]) for f in fields)
        writer.writerow([at, f"{x:.9g}", *codes, f"{back:.9g}", f"{float(back) - float(x):.9g}"])
    return out.getvalue()


def before_after(block: StoredBlock, group: int, theme: str = "light") -> go.Figure:
    """Weights of one group beside what was stored, on one axis, over the errors on the same scale.

    Rings: the weights. Squares: the stored values, which lie on the grid of storable values (thin lines).
    """
    part = slice(group * block.group, (group + 1) * block.group)
    at = np.arange(part.start, part.stop)
    x, back = block.weights[part].astype(float), block.decoded[part].astype(float)
    ink, code, error = palette.INK[theme], *(palette.ROLES[r].colour(theme) for r in ("code", "error"))
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05)
    grid = levels(block, group)
    if 0 < grid.size <= MAX_LEVELS:
        edges = at[0] - 0.7, at[-1] + 0.7
        figure.add_scatter(
            x=np.tile([*edges, None], grid.size), y=np.repeat(grid.astype(float), 3), mode="lines",
            line={"color": palette.RULE[theme], "width": 1}, name=f"the {grid.size} storable values", hoverinfo="skip",
            row=1, col=1,
        )  # fmt: skip
    if at.size <= MOST_WITH_LINES:
        figure.add_scatter(
            x=np.repeat(at, 3).astype(float) + np.tile([0, 0, np.nan], at.size), y=np.stack([x, back, x], 1).ravel(),
            mode="lines", line={"color": error, "width": 1.5}, hoverinfo="skip", showlegend=False, row=1, col=1,
        )  # fmt: skip
    figure.add_scatter(
        x=at, y=back, mode="markers", name="stored", row=1, col=1,
        marker={"symbol": "square", "size": 8, "color": code},
        hovertemplate="weight %{x}<br>stored %{y:.6g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=at, y=x, mode="markers", name="weight", row=1, col=1,
        marker={"symbol": "circle-open", "size": 8, "color": ink, "line": {"width": 1.5}},
        hovertemplate="weight %{x}<br>was %{y:.6g}<extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        x=at, y=back - x, marker={"color": error, "line": {"width": 0}}, width=0.55, name="error", row=2, col=1,
        hovertemplate="weight %{x}<br>error %{y:.3g}<extra></extra>", showlegend=False,
    )  # fmt: skip
    style.apply(figure, theme, height=400)
    reach = max(float(np.abs(back - x).max()), float(np.finfo(np.float32).tiny)) * 1.15
    figure.update_yaxes(title="value", showgrid=grid.size > MAX_LEVELS, row=1, col=1)
    figure.update_yaxes(title="error", range=[-reach, reach], nticks=3, zeroline=True, row=2, col=1)
    figure.update_xaxes(title="weight number", row=2, col=1)
    return figure


def search_figure(block: StoredBlock, group: int, theme: str = "light") -> go.Figure:
    """Every scale that the search tried for one group, by its weighted error; a star marks the winner.

    The dashed line is the scale that was stored: the winner's, rounded to the sub-scale's few bits. Codebooks, whose
    values are not evenly spaced, have none.
    """
    trace = block.trace
    scales, errors = trace.scales[group].astype(float), trace.errors[group].astype(float)
    winner = int(trace.winner[group])
    tried = np.arange(scales.size)
    usable = np.isfinite(errors)
    figure = go.Figure()
    muted, scale, ink = palette.MUTED[theme], palette.ROLES["sub-scale"].colour(theme), palette.INK[theme]
    figure.add_scatter(
        x=scales[usable], y=errors[usable], mode="markers", name="tried", customdata=tried[usable],
        marker={"size": 9, "color": scale, "opacity": 0.75},
        hovertemplate="candidate %{customdata}<br>scale %{x:.5g}<br>error %{y:.4g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[scales[winner]], y=[errors[winner]], mode="markers+text", name="winner", text=["winner"],
        textposition="top center", textfont={"color": ink},
        marker={"symbol": "star", "size": 16, "color": ink},
        hovertemplate=f"winner, candidate {winner}<br>scale %{{x:.5g}}<br>error %{{y:.4g}}<extra></extra>",
    )  # fmt: skip
    style.apply(figure, theme, height=300)
    if not block.format.terms:
        figure.add_vline(
            x=stored_scale(block, group), line={"color": muted, "dash": "dash", "width": 1.5},
            annotation={"text": "stored", "font": {"color": muted}, "yanchor": "bottom"},
        )  # fmt: skip
    figure.update_xaxes(title="scale")
    figure.update_yaxes(title=f"weighted {trace.measure} error", exponentformat="power", nticks=5)
    figure.update_layout(showlegend=False, margin={"t": 26})
    return figure


def stored_scale(block: StoredBlock, group: int) -> float:
    """The scale of one group as decoding sees it: the distance between two neighbours of evenly spaced values."""
    grid = levels(block, group).astype(np.float64)
    return float((grid[-1] - grid[0]) / (grid.size - 1))
