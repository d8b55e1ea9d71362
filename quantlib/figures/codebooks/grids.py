"""Grids whose points several weights share: which point a code stands for, and what pairs of weights look like."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from quantlib.formats import FORMATS, BlockFormat

GRIDS = {"IQ2_XXS": 8, "IQ2_XS": 8, "IQ2_S": 8, "IQ3_XXS": 4, "IQ3_S": 4}  # weights that share a code
CANDIDATES = 10
PAIRS = 1500  # that are drawn


@dataclass(frozen=True, eq=False)
class Pick:
    """How the weights that share one code found their grid point.

    weights, counts: float32 (dim,), the weights and what an error counts. signs: int8 (dim,), as stored; flipped: the
    place whose sign is stored wrong to keep the number of minus signs even, or None. scale: what a grid value is
    multiplied with. points: int8 (candidates, dim), the nearest grid points, least error first; numbers: their codes;
    errors: Σ counts · (x − x̂)². chosen: the code that is stored. size: how many points the grid has.
    """

    format: str
    weights: np.ndarray
    counts: np.ndarray
    signs: np.ndarray
    scale: np.float32
    points: np.ndarray
    numbers: np.ndarray
    errors: np.ndarray
    chosen: int
    size: int

    @property
    def flipped(self) -> list[int]:
        """Places whose stored sign is not the weight's own."""
        return np.flatnonzero((self.weights != 0) & (np.sign(self.weights) != self.signs)).tolist()


@cache
def grid_points(name: str) -> np.ndarray:
    """What the points of a format's grid say of each weight, before scale and signs: int8 (points, dim)"""
    fmt, dim = FORMATS[name], GRIDS[name]
    code = next(f for f in fmt.layout.fields if f.name == "q")
    nothing = {f.name: 0 for f in fmt.layout.fields}
    of = fmt.terms["g"].of
    return np.array([[of({**nothing, "q": q}, w) for w in range(dim)] for q in range(2**code.width)], np.int8)


def pick(fmt: BlockFormat, block: np.ndarray, importance: np.ndarray | None, at: int) -> Pick:
    """Code number `at` of a super-block (256,), with the grid points that come nearest. fmt: one of GRIDS."""
    dim = GRIDS[fmt.name]
    trace = fmt.trace(block, importance)
    part = slice(at * dim, (at + 1) * dim)
    points = grid_points(fmt.name)  # (points, dim)
    chosen = int(trace.codes["q"][at])
    signed = [
        fmt.terms["g"].of({name: code[fmt.layout.element(name, w)] for name, code in trace.codes.items()}, w)
        for w in range(part.start, part.stop)
    ]
    signs = np.where(np.array(signed) < 0, -1, 1).astype(np.int8)
    scale = np.float32(trace.decoded[part][0] / signed[0])
    counts = trace.weights.reshape(-1)[part]
    stored = scale * points * signs  # (points, dim)
    errors = (counts * np.square(block[part] - stored, dtype=np.float64)).sum(-1)
    nearest = np.argsort(errors, kind="stable")[:CANDIDATES]
    if chosen not in nearest:
        nearest = np.append(nearest[:-1], chosen)
    return Pick(
        fmt.name, block[part], counts, signs, scale, points[nearest], nearest, errors[nearest], chosen, len(points)
    )


@dataclass(frozen=True, eq=False)
class Pairs:
    """Neighbouring weights, two at a time, beside what the points of a grid say of their first two weights.

    shown: float32 (pairs, 2), a sample, magnitudes divided by the scale of their block. magnitudes: (levels,), what a
    grid value can be. points: int (levels, levels), how many points of the grid begin with this pair of magnitudes.
    weights: int (levels, levels), how many pairs of weights are nearest to it. possible: how many patterns exist.
    """

    format: str
    shown: np.ndarray
    magnitudes: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    dim: int
    possible: int

    @property
    def size(self) -> int:
        """How many points the grid has."""
        return int(self.points.sum())

    @property
    def bits(self) -> float:
        """Bits of a code for each weight, signs aside."""
        return float(np.log2(self.size)) / self.dim


def pairs(fmt: BlockFormat, x: np.ndarray) -> Pairs:
    """Look at rows x (rows, n) as a format of GRIDS stores them, every input as important as the others."""
    importance = np.ones(x.shape[-1], np.float32) if fmt.requires_importance else None
    points = grid_points(fmt.name).astype(np.int64)
    magnitudes = np.unique(points)
    codes = fmt.unpack(fmt.quantize(x, importance).reshape(-1, fmt.nbytes))
    decoded = fmt.decode(codes).reshape(-1)
    scale = np.abs(decoded) / points[codes["q"]].reshape(-1)  # no magnitude of a grid is 0
    share = np.abs(np.divide(x.reshape(-1), scale, out=np.zeros_like(decoded), where=scale != 0)).reshape(-1, 2)
    step = max(1, len(share) // PAIRS)
    of_points, of_weights = (_counted(values, magnitudes) for values in (points[:, :2], share))
    possible = len(magnitudes) ** points.shape[1]
    return Pairs(fmt.name, share[::step][:PAIRS], magnitudes, of_points, of_weights, points.shape[1], possible)


def _counted(values: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
    """How many pairs (n, 2) are nearest to each pair of magnitudes: int (levels, levels)"""
    at, count = np.searchsorted((magnitudes[1:] + magnitudes[:-1]) / 2, values), len(magnitudes)
    return np.bincount(at[:, 0] * count + at[:, 1], minlength=count * count).reshape(count, count)
