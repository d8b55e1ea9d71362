"""Grids of the i-quants: the few patterns of 4 or 8 levels that can be stored, and which of them lie near any other.

A group's levels, each 0 … base − 1, form a point. Only some points are on the grid, and a code is the number of one of
them. For a point off the grid an encoder tries the nearest ones, so those are listed once, at first use.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

ROWS = 512  # points whose distances are computed at once


class Grid(NamedTuple):
    """A grid of n points with `dim` levels below `base` each; everything a search needs, as plain arrays.

    levels: uint8 (n, dim). values: int8 (n, dim), what the levels decode to before signs and scales.
    number: int32 (base^dim,), the grid point at a place, −1 off the grid; the place of levels l is Σ lᵢ · baseⁱ.
    near: int32 (…,), for every place off the grid its nearest points, nearest first; those of place p are
    near[first[p]:first[p + 1]]. first: int32 (base^dim + 1,).
    """

    dim: int
    base: int
    levels: np.ndarray
    values: np.ndarray
    number: np.ndarray
    near: np.ndarray
    first: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """What each level counts in the place of a point: baseⁱ."""
        return self.base ** np.arange(self.dim)


@cache
def grid(name: str, shells: int) -> Grid:
    """The grid of one of ggml's i-quants, by the format's name; `shells` distinct distances make up the nearest points.

    The points are tables of ggml (ggml-common.h), taken from the gguf package; the neighbours follow from them
    (iq2xs_init_impl, iq3xs_init_impl).
    """
    import gguf.quants

    source = getattr(gguf.quants, name)
    source.init_grid()
    dim, base = source.grid_shape[1], len(source.grid_map)
    values = source.grid.reshape(-1, dim).astype(np.int8)  # (n, dim)
    levels = np.searchsorted(source.grid_map, values).astype(np.uint8)

    everywhere = np.arange(base**dim)[:, None] // base ** np.arange(dim) % base  # (places, dim)
    number = np.full(base**dim, -1, np.int32)
    number[levels.astype(np.int64) @ base ** np.arange(dim)] = np.arange(len(levels))
    off = np.flatnonzero(number < 0)
    parts = [nearest_points(everywhere[rows], levels, shells) for rows in np.split(off, range(ROWS, len(off), ROWS))]
    counts = np.zeros(base**dim + 1, np.int64)
    counts[off + 1] = np.concatenate([count for _, count in parts])
    near = np.concatenate([points for points, _ in parts])
    return Grid(
        dim,
        base,
        _frozen(levels),
        _frozen(values),
        _frozen(number),
        near=_frozen(near.astype(np.int32)),
        first=_frozen(np.cumsum(counts).astype(np.int32)),
    )


def nearest_points(points: np.ndarray, levels: np.ndarray, shells: int) -> tuple[np.ndarray, np.ndarray]:
    """The grid points at the `shells` smallest distinct distances from each point, by distance, then by number.

    points (m, dim), levels (n, dim) -> (numbers of grid points, all lists end to end; length of each list (m,)).
    """
    a, b = points.astype(np.float32), levels.astype(np.float32)
    distance = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T  # (m, n), whole numbers
    reach = distance.min(axis=1, keepdims=True)
    for _ in range(shells - 1):
        further = np.where(distance > reach, distance, np.inf).min(axis=1, keepdims=True)
        reach = np.where(np.isfinite(further), further, reach)
    row, point = np.nonzero(distance <= reach)
    order = np.lexsort((point, distance[row, point], row))
    return point[order], np.bincount(row, minlength=len(points))


def _frozen(table: np.ndarray) -> np.ndarray:
    table = np.ascontiguousarray(table)
    table.flags.writeable = False
    return table
