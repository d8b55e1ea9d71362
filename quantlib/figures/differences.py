"""Where two checkpoints differ, as pictures: every matrix of the model, and the places in one tensor."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from quantlib.checkpoints import Checkpoint, Tensor
from quantlib.figures import palette, style
from quantlib.figures.inputs import gguf_of
from quantlib.figures.runs import Cell, kind_of, layer_map, number_of
from quantlib.figures.tiles import largest_in_each
from quantlib.inspection import Comparison, TensorComparison
from quantlib.inspection.chunks import ranges

SIDE = 96  # cells of a picture's sides, at most
READ = 1 << 21  # weights of a tensor that a picture is made of


@dataclass(frozen=True)
class Placed:
    """A compared tensor under the name that GGUF gives it."""

    name: str
    row: TensorComparison


def model_map(checkpoint: Checkpoint, found: Comparison) -> str | None:
    """The relative error of every matrix, layers from left to right; None where names tell no layers."""
    every = [Placed(gguf_of(checkpoint, row.name) or row.name, row) for row in found.rows if row.loss]
    matrices = [one for one in every if len(one.row.shape or ()) > 1 and one.name.endswith(".weight")]
    inside = [one for one in matrices if number_of(one.name) is not None]
    if not inside:
        return None
    shown = [*(one for one in matrices if kind_of(one.name) in ("token_embd", "output")), *inside]
    worst = max((one.row.loss.relative for one in shown if one.row.loss), default=0.0) or 1.0

    def cell(one: Placed) -> Cell:
        relative = one.row.loss.relative if one.row.loss else 0.0
        words = f"{one.row.name}: {one.row.format} and {one.row.other_format}, relative error {relative:.2%}"
        return Cell(f"{100 * relative:.2g}%", words, relative / worst, one.row.name)

    return layer_map(shown, cell, "error", "Relative error by layer")


@dataclass(frozen=True, eq=False)
class Difference:
    """What of two tensors differs: ŵ − w in units of the RMS of w, the largest under each cell, (rows, columns)."""

    cells: np.ndarray
    rms: float
    seen: int
    total: int


def difference(a: Tensor, b: Tensor) -> Difference:
    """The difference of two tensors of as many rows and columns; of large ones, on evenly spaced rows."""
    parts = ranges(a, READ)
    x, y = (np.concatenate([t.rows(start, stop) for start, stop in parts]) for t in (a, b))
    rms = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0
    cells = largest_in_each((y - x) / np.float32(rms), min(SIDE, len(x)), min(SIDE, a.n))
    return Difference(cells, rms, int(x.size), a.size)


def difference_figure(found: Difference, theme: str) -> go.Figure:
    """The difference as a heat map on a scale that is even around zero."""
    reach = float(np.percentile(np.abs(found.cells), 99)) or 1.0
    heat = go.Heatmap(
        z=found.cells,
        zmin=-reach,
        zmax=reach,
        colorscale=palette.diverging(theme),
        colorbar={"title": {"text": "ŵ − w in RMS of w", "side": "right"}, "outlinewidth": 0},
        hovertemplate="%{z:.3g} times the RMS<extra></extra>",
    )
    drawn = style.apply(go.Figure(heat), theme, 380)
    drawn.update_yaxes(
        title_text="output channels, from the first to the last", autorange="reversed", showticklabels=False
    )
    return drawn.update_xaxes(title_text="input channels, from the first to the last", showticklabels=False)
