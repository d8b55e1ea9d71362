"""A tensor from afar and from near: an overview that keeps outliers, and a tile of it with what was stored."""

from dataclasses import dataclass

import numpy as np

from quantlib.figures.rounding import sampled_rows
from quantlib.figures.weights import Rows
from quantlib.formats import Format

SIDE = 256  # weights of a tile's side
OVERVIEW = 128  # pixels of the overview's sides, at most
PERCENTILE = 99  # |w| at the ends of the colour scale


def largest_in_each(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Shrink x (R, C) to (rows, columns): each pixel is the value of largest magnitude under it."""
    row_edges = np.linspace(0, x.shape[0], rows + 1).astype(int)[:-1]
    column_edges = np.linspace(0, x.shape[1], columns + 1).astype(int)[:-1]
    high = np.maximum.reduceat(np.maximum.reduceat(x, row_edges, 0), column_edges, 1)
    low = np.minimum.reduceat(np.minimum.reduceat(x, row_edges, 0), column_edges, 1)
    return np.where(high >= -low, high, low)


def limit(x: np.ndarray) -> float:
    """Where the colour scale ends: the 99th percentile of |x|."""
    return float(np.percentile(np.abs(x), PERCENTILE)) or 1.0


def diverging_bytes(x: np.ndarray, limit: float) -> np.ndarray:
    """x as bytes for a diverging map: 127 is zero, 0 and 254 are ∓limit and beyond. uint8 of x's shape"""
    return np.clip(np.rint(127 + 127 * x / limit), 0, 254).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Overview:
    """A whole tensor as bytes (rows, columns) of a diverging map whose ends are ±limit."""

    pixels: np.ndarray
    limit: float


def overview(tensor: Rows) -> Overview:
    """Every row of a small tensor; of a large one evenly spaced rows."""
    x = sampled_rows(tensor, 1 << 21)
    rows, columns = (min(OVERVIEW, size) for size in x.shape)
    top = limit(x)
    return Overview(diverging_bytes(largest_in_each(x, rows, columns), top), top)


@dataclass(frozen=True, eq=False)
class Tile:
    """A piece of a tensor, float32 (rows, columns) from (row, column) on, and what a format stored of it."""

    row: int
    column: int
    weights: np.ndarray
    stored: np.ndarray


def tile(tensor: Rows, format: Format, row: int, column: int, side: int = SIDE) -> Tile:
    """Whole rows are quantized, as in a file; the tile is cut out of them."""
    row, column = max(0, min(row, tensor.nrows - side)), max(0, min(column, tensor.n - side))
    x = tensor.rows(row, min(row + side, tensor.nrows)).reshape(-1, tensor.n)
    stored = format.dequantize(format.quantize(x))
    part = np.s_[:, column : column + side]
    return Tile(row, column, np.ascontiguousarray(x[part]), np.ascontiguousarray(stored[part]))


def message(seen: Overview, piece: Tile, shape: tuple[int, int], token: str, format: str) -> dict:
    """For the four zooms: the overview's bytes, and the tile's float32 values as little-endian bytes."""
    return {
        "token": token,
        "format": format,
        "shape": list(shape),
        "overview": seen.pixels.tobytes(),
        "overviewShape": list(seen.pixels.shape),
        "limit": int(np.float32(seen.limit).view(np.uint32)),
        "row": piece.row,
        "column": piece.column,
        "tileShape": list(piece.weights.shape),
        "weights": piece.weights.astype("<f4").tobytes(),
        "stored": piece.stored.astype("<f4").tobytes(),
    }
