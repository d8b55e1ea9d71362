"""Rounding to an integer grid as pictures: the error of a tensor by bits and by how many weights share a scale."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
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


def row_message(x: np.ndarray, token: str, bits: int, symmetric: bool, share: int) -> dict:
    """A row x (n,) as bit patterns for the staircase; `share`: thousandths of the scale that covers all of it."""
    return {
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


@dataclass(frozen=True)
class Contest:
    """Symmetric against asymmetric grids, channel by channel: in how many each has the smaller error."""

    bits: int
    rows: int
    symmetric: int
    asymmetric: int
    symmetric_relative: float
    asymmetric_relative: float

    @property
    def winner(self) -> str:
        """The grid with the smaller error over all rows."""
        return "symmetric" if self.symmetric_relative <= self.asymmetric_relative else "asymmetric"


def contest(x: np.ndarray, bits: int) -> Contest:
    """Round each row of x (rows, n) on both grids, each with the scale that just covers the row."""
    errors, relative = [], []
    for symmetric in (True, False):
        found = round_to_nearest(x, IntegerFormat(bits, symmetric=symmetric), PerChannel())
        errors.append(np.square(x - found.decoded, dtype=np.float64).sum(-1))  # (rows,)
        relative.append(compare(x, found.decoded).relative)
    return Contest(
        bits, len(x), int((errors[0] < errors[1]).sum()), int((errors[1] < errors[0]).sum()), relative[0], relative[1]
    )


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
        f"<td class='bar'><span style='width:{100 * r.relative / most:.1f}%'></span></td>"
        f"<td>{r.relative:.2%}</td><td>{r.sqnr:.1f} dB</td></tr>"
        for r in found
    )
    return (
        '<table class="measured"><thead><tr><th>one scale</th><th>scales</th><th>bits per weight</th>'
        f"<th class='bar'>typical error</th><th></th><th>signal to noise</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def to_csv(found: Iterable[Rounding]) -> str:
    """Every measurement as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["bits", "symmetric", "sharing", "bpw", "sqnr_db", "relative_error", "scales"])
    for r in found:
        writer.writerow([r.bits, int(r.symmetric), r.sharing, r.bpw, r.sqnr, r.relative, r.scales])
    return out.getvalue()
