"""GPTQ column by column, AWQ's alpha, an importance matrix: results of `quantlib.methods` shaped for the eye."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.figures import palette, style
from quantlib.figures.weights import fp32_bits
from quantlib.formats import get
from quantlib.formats.granularity import PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.lm.contest import Contest
from quantlib.methods.awq import AffineGroups, ScaleSearch, layer_error, search_scales
from quantlib.methods.gptq import GptqTrace, Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.importance import ImportanceChange, importance_change
from quantlib.methods.rtn import round_to_nearest
from quantlib.metrics import compare

ROWS = 24  # outputs whose weights the replay shows
FRAMES = 96  # pictures of the replay at most
GROUP = 128
GRID_ALPHAS = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class Film:
    """What the scrubber shows of a replay: frames bytes (steps, rows, columns), a sentence and a curve point each."""

    frames: bytes
    shape: tuple[int, int]
    labels: tuple[str, ...]
    curve: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Replay:
    """One layer rounded twice on the same grids: column by column with GPTQ, and to nearest.

    output: the mean squared output error of GPTQ and of rounding to nearest, as shares of the output's own mean square;
    weights: the same two for the weights themselves. order (inputs,): the columns as they were rounded; running,
    running_nearest (inputs,): the output error that is certain after each. film: what is seen of it.
    """

    output: tuple[float, float]
    weights: tuple[float, float]
    order: np.ndarray
    running: np.ndarray
    running_nearest: np.ndarray
    film: Film

    @property
    def left(self) -> float:
        """What GPTQ leaves of the output error of rounding to nearest."""
        return self.output[0] / max(self.output[1], 1e-30)


def replay(weight: np.ndarray, gram: Gram, bits: int, act_order: bool) -> Replay:
    """Round a weight (outputs, inputs) with GPTQ and to nearest, for the inputs summed up in `gram`."""
    group = GROUP if weight.shape[1] % GROUP == 0 else weight.shape[1]
    form = IntegerFormat(bits, symmetric=False)
    result = gptq(weight, gram.hessian, IntegerGrids(form, group), Settings(act_order=act_order), trace=True)
    nearest = round_to_nearest(weight, form, PerGroup(group)).decoded
    whole = output_error(weight, gram.hessian)
    chosen = (result.dequantized(), nearest)
    trace = result.trace
    return Replay(
        output=tuple(output_error(weight - w, gram.hessian) / whole for w in chosen),
        weights=tuple(compare(weight, w).relative ** 2 for w in chosen),
        order=trace.order, running=trace.running, running_nearest=trace.running_nearest, film=_film(trace),
    )  # fmt: skip


def _film(trace: GptqTrace) -> Film:
    """The change of every weight so far, after each few columns: byte 127 is none, 0 and 254 the largest.

    Columns stand in the order of rounding. Left of the step they are on the grid for good; right of it they moved to
    make up for the errors.
    """
    inputs = len(trace.order)
    steps = np.unique(np.linspace(0, inputs, min(FRAMES, inputs + 1)).round().astype(int))
    rows = [trace.row(output)[steps] - trace.weights[output] for output in range(min(ROWS, len(trace.weights)))]
    change = np.stack(rows, axis=1)  # (frames, rows, inputs)
    limit = float(np.percentile(np.abs(change[-1]), 99)) or 1.0
    frames = np.clip(np.rint(127 + 127 * change / limit), 0, 254).astype(np.uint8)
    running = np.concatenate([[0.0], trace.running])[steps]
    return Film(
        frames.tobytes(), frames.shape[1:], tuple(_label(trace, step) for step in steps),
        tuple(fp32_bits(running.astype(np.float32)).tolist()),
    )  # fmt: skip


def _label(trace, step: int) -> str:
    if step == 0:
        return "Nothing is rounded yet."
    column, left = int(trace.order[step - 1]), len(trace.order) - step
    rest = f"{left} columns moved to make up for it." if left else "No column is left to make up for it."
    return f"{step} columns are on the grid, the last of them column {column}. {rest}"


def running_figure(found: Replay, theme: str = "light") -> go.Figure:
    """The output error that is certain after each column: where the rest makes up for it, and where it does not."""
    figure = go.Figure()
    at = np.arange(1, len(found.order) + 1)
    picked = np.unique(np.linspace(0, len(at) - 1, min(400, len(at))).astype(int))
    for name, curve, role, dash in (
        ("round to nearest", found.running_nearest, "error", "dot"),
        ("GPTQ", found.running, "code", "solid"),
    ):
        figure.add_scatter(
            x=at[picked], y=curve[picked], mode="lines", name=name,
            line={"color": palette.ROLES[role].colour(theme), "width": 2.5, "dash": dash},
            hovertemplate="after %{x} columns: %{y:.4g}<extra>" + name + "</extra>",
        )  # fmt: skip
    style.apply(figure, theme, height=280)
    figure.update_xaxes(title="columns rounded")
    figure.update_yaxes(title="output error so far", rangemode="tozero")
    return figure


@dataclass(frozen=True, eq=False)
class AlphaSearch:
    """AWQ's search on one layer. search: losses by alpha. magnitudes: mean |x| of each channel."""

    search: ScaleSearch
    magnitudes: np.ndarray

    @property
    def left(self) -> float:
        """The least loss as a share of the loss without scaling."""
        return float(self.search.losses[self.search.winner] / self.search.losses[0])


def alpha_search(weight: np.ndarray, gram: Gram, bits: int) -> AlphaSearch:
    """Try every alpha from 0 to 1 on a weight (outputs, inputs) and the inputs summed up in `gram`."""
    group = GROUP if weight.shape[1] % GROUP == 0 else weight.shape[1]
    grid = AffineGroups(bits, group)
    search = search_scales([weight], gram.mean_magnitudes, grid, layer_error([weight], gram), alphas=GRID_ALPHAS)
    return AlphaSearch(search, gram.mean_magnitudes)


def alpha_figure(found: AlphaSearch, said: float | None = None, theme: str = "light") -> go.Figure:
    """The layer's output error by alpha, as a share of that without scaling; the best, and the reader's guess."""
    search, ink = found.search, palette.INK[theme]
    share = search.losses / search.losses[0]
    figure = go.Figure()
    figure.add_scatter(
        x=search.alphas, y=share, mode="lines+markers", name="tried",
        line={"color": palette.ROLES["scale"].colour(theme), "width": 2},
        hovertemplate="α = %{x:.2f}: %{y:.3f} of the error without<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[search.alpha], y=[share[search.winner]], mode="markers+text", text=[f"best, α = {search.alpha:.2f}"],
        textposition="bottom center", textfont={"color": ink}, marker={"symbol": "star", "size": 16, "color": ink},
        hoverinfo="skip",
    )  # fmt: skip
    if said is not None:
        at = int(np.argmin(np.abs(search.alphas - said)))
        figure.add_scatter(
            x=[search.alphas[at]], y=[share[at]], mode="markers+text", text=["your guess"],
            textposition="top right" if at < len(share) // 2 else "top left", textfont={"color": ink}, hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 15, "color": ink, "line": {"width": 2}},
        )  # fmt: skip
    style.apply(figure, theme, height=320)
    low, high = float(share.min()), float(share.max())
    figure.update_yaxes(range=[low - 0.2 * (high - low), high + 0.12 * (high - low)])
    figure.update_xaxes(title="α: how strongly large channels grow")
    figure.update_yaxes(title="output error, without = 1")
    figure.update_layout(showlegend=False)
    return figure


def importance_of(weight: np.ndarray, gram: Gram, format: str) -> ImportanceChange:
    """A weight stored in a block format with and without the mean squares of its inputs."""
    return importance_change(weight, get(format), gram.mean_squares)


def importance_figure(found: ImportanceChange, theme: str = "light") -> go.Figure:
    """Mean squared error of the weights by importance of their channel, ten bins, without and with the matrix."""
    importance, plain, weighed = found.by_importance(10)
    figure = go.Figure()
    names = [f"{10 * i}–{10 * i + 10}%" for i in range(10)]
    for name, errors, role, pattern in (
        ("without", plain, "sign", "/"),
        ("with an importance matrix", weighed, "code", ""),
    ):
        figure.add_bar(
            x=names, y=errors, name=name, customdata=importance,
            marker={"color": palette.ROLES[role].colour(theme), "line": {"width": 0}, "pattern": {"shape": pattern}},
            hovertemplate="%{x}, mean importance %{customdata:.3g}<br>error %{y:.3g}<extra>" + name + "</extra>",
        )  # fmt: skip
    style.apply(figure, theme, height=320)
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title="channels from least to most important")
    figure.update_yaxes(title="mean squared error of a weight", exponentformat="power")
    return figure


def curves_csv(found: Replay) -> str:
    """The two running errors, column by column, as CSV."""
    rows: Sequence = zip(found.order, found.running, found.running_nearest, strict=True)
    lines = (f"{place},{column},{g:.9g},{n:.9g}" for place, (column, g, n) in enumerate(rows, 1))
    return "place,column,gptq,round_to_nearest\n" + "\n".join(lines) + "\n"


def fair_rows(contest: Contest, bits: int) -> list[dict]:
    """Methods at so many bits of a code, the least divergence first."""
    return [
        {
            "method": m.method, "KL, nats": m.total.kl, "bits per weight": round(m.bpw, 3),
            "output error": m.output_error, "perplexity added": m.total.difference, "±": m.total.difference_stderr,
            "changed tokens": m.total.changed_top, "seconds": m.seconds,
        }
        for m in sorted(contest.at(bits), key=lambda m: m.total.kl)
    ]  # fmt: skip
