"""Rounding to an integer grid as pictures: the error of a tensor by bits and by how many weights share a scale."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.bars import bar_cell
from quantlib.figures.weights import Rows, fp32_bits
from quantlib.formats.granularity import Granularity, PerChannel, PerGroup, PerTensor
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare

MOST = 1 << 19  # weights of a tensor that are rounded; of larger ones evenly spaced rows
DECIBELS_PER_BIT = 20 * float(np.log10(2))  # a bit more halves the step, and so the error: 6.02 dB
GROUPS = (256, 128, 64, 32, 16)


def sampled_rows(tensor: Rows, most: int = MOST) -> np.ndarray:
    """Whole rows, evenly spaced, at most `most` weights (at least one row): float32 (rows, n)."""
    wanted = max(1, most // tensor.n)
    if tensor.nrows <= wanted:
        return tensor.rows().reshape(-1, tensor.n)
    picked = np.unique(np.linspace(0, tensor.nrows - 1, wanted).astype(np.int64))
    return np.concatenate([tensor.rows(int(at), int(at) + 1).reshape(1, -1) for at in picked])


def row_message(
    x: np.ndarray, token: str, bits: int, symmetric: bool, share: int, first: int = 0, ours: int = 0
) -> dict:
    """Weights x (n,) of a row, from place `first` on, for the staircase. share: thousandths of the scale that covers
    all of them; ours: the one pointed at."""
    return {
        "first": first,
        "ours": ours,
        "token": token,
        "weights": fp32_bits(x).tolist(),
        "bits": bits,
        "symmetric": symmetric,
        "share": share,
    }


@dataclass(frozen=True)
class Rounding:
    """What one grid does to a tensor: bits of a code, how weights share scales, bits per weight, SQNR in dB,
    rmse / rms, and how many scales there are."""

    bits: int
    symmetric: bool
    sharing: str
    bpw: float
    sqnr: float
    relative: float
    scales: int


def rounding(x: np.ndarray, form: IntegerFormat, granularity: Granularity) -> Rounding:
    """Round x (rows, n) to nearest and measure."""
    found = round_to_nearest(x, form, granularity)
    loss = compare(x, found.decoded)
    return Rounding(
        form.bits, form.symmetric, str(granularity), found.bpw, loss.sqnr, loss.relative, int(found.scales.size)
    )


def granularities(n: int) -> list[Granularity]:
    """From one scale for everything to one for every few weights, as far as they divide rows of n."""
    return [PerTensor(), PerChannel(), *(PerGroup(g) for g in GROUPS if n % g == 0 and g < n)]


def by_granularity(x: np.ndarray, bits: int) -> list[Rounding]:
    """One number of bits, with scales shared more and more finely."""
    return [rounding(x, IntegerFormat(bits), sharing) for sharing in granularities(x.shape[-1])]


def by_bits(x: np.ndarray) -> list[Rounding]:
    """8 to 2 bits, per tensor, per channel and per group of 32 (the finest that fits where 32 does not)."""
    shared = granularities(x.shape[-1])
    finest = next((g for g in shared if g == PerGroup(32)), shared[-1])
    return [rounding(x, IntegerFormat(b), g) for g in (PerTensor(), PerChannel(), finest) for b in range(8, 1, -1)]


GRIDS = {
    "symmetric, one level unused": IntegerFormat(4),
    "symmetric, all levels": IntegerFormat(4, restricted=False),
    "asymmetric": IntegerFormat(4, symmetric=False),
}


@dataclass(frozen=True)
class Grid:
    """A way to place levels on every row: how many there are, the relative error over all rows, the rows it wins."""

    name: str
    levels: int
    relative: float
    wins: int


@dataclass(frozen=True)
class Contest:
    """Grids of one count of bits against each other, row by row."""

    rows: int
    grids: tuple[Grid, ...]

    @property
    def winner(self) -> str:
        return min(self.grids, key=lambda grid: grid.relative).name

    def of(self, name: str) -> Grid:
        return next(grid for grid in self.grids if grid.name == name)

    @property
    def conclusion(self) -> str:
        """How much of what a zero point seems to buy is one more level, in a sentence."""
        fewer, equal, zero = self.grids
        gain, level = fewer.relative - zero.relative, fewer.relative - equal.relative
        if gain <= 0:
            return "A zero point buys nothing on these rows."
        return (
            f"The asymmetric grid beats the usual symmetric one, {zero.relative:.2%} to {fewer.relative:.2%}. "
            f"But the usual one leaves a code unused. With all {equal.levels} levels the symmetric grid comes to "
            f"{equal.relative:.2%}: {min(1.0, max(0.0, level / gain)):.0%} of the difference was the missing level."
        )


def contest(x: np.ndarray) -> Contest:
    """Round each row of x (rows, n) on every one of GRIDS, each with the scale that just covers the row."""
    found = [round_to_nearest(x, form, PerChannel()) for form in GRIDS.values()]
    errors = np.stack([np.square(x - f.decoded, dtype=np.float64).sum(-1) for f in found])  # (grids, rows)
    alone = (errors == errors.min(0)).sum(0) == 1
    wins = [int((alone & (errors.argmin(0) == i)).sum()) for i in range(len(found))]
    grids = zip(GRIDS, GRIDS.values(), found, wins, strict=True)
    return Contest(
        len(x),
        tuple(Grid(name, f.highest - f.lowest + 1, compare(x, r.decoded).relative, w) for name, f, r, w in grids),
    )


def conclusions(found: Sequence[Rounding]) -> list[str]:
    """What `by_bits` shows of a tensor, in three sentences."""
    lines = {s: {r.bits: r for r in found if r.sharing == s} for s in dict.fromkeys(r.sharing for r in found)}
    row, finest = list(lines.values())[1], list(lines.values())[-1]
    many = [row[b].relative / row[b + 1].relative for b in range(4, 8) if row[b + 1].relative]
    step = float(np.exp(np.mean(np.log(many)))) if many and min(many) > 0 else 1.0
    change = "lowers" if finest[4].relative < row[4].relative else "does not lower"
    return [
        f"256 levels with one scale a row leave a relative error of {row[8].relative:.2%}; "
        f"16 leave {row[4].relative:.1%}.",
        f"From 8 bits down to 4, every bit less makes the error {step:.2g} times as large.",
        f"At 4 bits, sharing a scale {finest[4].sharing} instead of per row {change} the error: {row[4].relative:.1%} "
        f"becomes {finest[4].relative:.1%}, for {finest[4].bpw - row[4].bpw:.2g} bits more a weight.",
    ]


def choices(x: np.ndarray) -> list[Rounding]:
    """Every count of bits with every sharing, for who looks for the fewest bits that are good enough."""
    return [rounding(x, IntegerFormat(b), g) for b in range(2, 9) for g in granularities(x.shape[-1])]


def decibel_figure(found: Sequence[Rounding], theme: str = "light") -> go.Figure:
    """SQNR against bits of a code, one line for each way to share scales, over the line of 6.02 dB per bit."""
    figure = go.Figure()
    bits = sorted({r.bits for r in found})
    best = max(r.sqnr for r in found if r.bits == bits[-1] and np.isfinite(r.sqnr))
    figure.add_scatter(
        x=bits, y=[best - DECIBELS_PER_BIT * (bits[-1] - b) for b in bits], mode="lines", name="6.02 dB for every bit",
        line={"color": palette.MUTED[theme], "dash": "dot", "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    looks = zip(("error", "code", "scale"), ("circle", "square", "diamond"), strict=True)
    for sharing, (role, symbol) in zip(dict.fromkeys(r.sharing for r in found), looks, strict=False):
        line = [r for r in found if r.sharing == sharing]
        figure.add_scatter(
            x=[r.bits for r in line], y=[r.sqnr for r in line], name=sharing, mode="lines+markers",
            customdata=[[r.bpw, 100 * r.relative] for r in line],
            marker={"symbol": symbol, "size": 9}, line={"color": palette.ROLES[role].colour(theme), "width": 2},
            hovertemplate="%{x} bits, %{customdata[0]:.2f} with scales<br>%{y:.1f} dB, error %{customdata[1]:.2f} %",
        )  # fmt: skip
    style.apply(figure, theme, height=340)
    figure.update_xaxes(title="bits of a code", dtick=1, autorange="reversed")
    figure.update_yaxes(title="signal to noise, dB", rangemode="tozero")
    return figure


def sharing_html(found: Iterable[Rounding]) -> str:
    """What sharing scales more finely costs in bits, and what it buys: a table with bars of the error."""
    found = list(found)
    most = max(r.relative for r in found) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{r.sharing}</th><td>{r.scales:,}</td><td>{r.bpw:.4g}</td>"
        f"{bar_cell(r.relative / most)}"
        f"<td>{r.relative:.2%}</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>one scale</th><th>scales</th><th>bits per weight</th>'
        f"<th class='bar'>relative error</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
    )


def contest_html(found: Contest) -> str:
    """Every grid's error over all rows, and the rows in which it alone is best."""
    most = max(grid.relative for grid in found.grids) or 1.0
    rows = "".join(
        f"<tr><th scope='row'>{grid.name}</th><td>{grid.levels}</td>"
        f"{bar_cell(grid.relative / most)}"
        f"<td>{grid.relative:.2%}</td><td>{grid.wins:,}</td></tr>"
        for grid in found.grids
    )
    return (
        '<table class="measured"><thead><tr><th>grid</th><th>levels</th><th class="bar">relative error</th><th></th>'
        f"<th>best in rows</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def grids_html(row: np.ndarray) -> str:
    """The levels that each of GRIDS gives a row (n,), over the range of its weights."""
    low, high = min(0.0, float(row.min())), max(0.0, float(row.max()))
    reach = 1.15 * max(-low, high) or 1.0

    def at(value: float) -> str:
        return f"{50 + 50 * value / reach:.2f}%"

    rows = []
    for name, form in GRIDS.items():
        scale, zero = form.scale_and_zero(np.float32(low), np.float32(high))
        levels = [float(form.value(np.int32(q), scale, zero)) for q in range(form.lowest, form.highest + 1)]
        marks = "".join(f"<i style='left:{at(v)}'></i>" for v in levels)
        span = f"<u style='left:{at(low)};right:{100 - float(at(high)[:-1]):.2f}%'></u>"
        rows.append(f"<div><span>{name}</span><b>{span}<s></s>{marks}</b></div>")
    return f'<div class="grids">{"".join(rows)}<p>bar: from the smallest to the largest weight of the row</p></div>'


def to_csv(found: Iterable[Rounding]) -> str:
    """Every measurement as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["bits", "symmetric", "sharing", "bpw", "sqnr_db", "relative_error", "scales"])
    for r in found:
        writer.writerow([r.bits, int(r.symmetric), r.sharing, r.bpw, r.sqnr, r.relative, r.scales])
    return out.getvalue()
