"""The nearest point of a grid, eight points at a time."""

from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.grids import Grid
from quantlib.formats.blocks.iquants_search import NOTHING
from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import (
    WIDTH,
    as_floats,
    bits_of,
    first_flag,
    lanes,
    load,
    pick,
    select,
    smallest_of,
    splat,
)

FAR = np.int32(0x7FFFFFFF)


class Neighbours(NamedTuple):
    """A grid laid out for vectors: the points near a place in eights, filled up with the nearest.

    dim, base: as in `Grid`. entry: int32, for every place on the grid −1 − the number of its point; for the others the
    first of its eights times 64, plus how many there are. points: int32, eight numbers of points for each eight.
    steps: uint8, for each eight dim times eight of their levels, times `step` plus `start`. levels: of points, flat.
    """

    dim: int
    base: int
    entry: np.ndarray
    points: np.ndarray
    steps: np.ndarray
    levels: np.ndarray


def neighbours(grid: Grid, step: int, start: int) -> Neighbours:
    """The tables of a grid."""
    counts = np.diff(grid.first)
    eights = -(-counts // WIDTH)
    first = np.cumsum(eights) - eights
    place = np.repeat(np.arange(len(counts)), eights)
    rank = WIDTH * (np.arange(len(place)) - first[place])[:, None] + np.arange(WIDTH)  # (eights, 8)
    rank = np.where(rank < counts[place][:, None], rank, 0)
    points = grid.near[grid.first[place][:, None] + rank]
    steps = (grid.levels[points] * step + start).transpose(0, 2, 1).astype(np.uint8)  # (eights, dim, 8)
    entry = np.where(grid.number >= 0, -1 - grid.number, 64 * first + eights)
    tables = (entry.astype(np.int32), points.astype(np.int32), steps, grid.levels)
    return Neighbours(grid.dim, grid.base, *(read_only(np.ascontiguousarray(t).reshape(-1)) for t in tables))


@inlined
def nearest_point(entry, x, at, apart, scale, offset, dim, steps):
    """The best grid point near a place off the grid, for weights from x[at] on.

    Kernel of `blocks.iquants_search.nearest_on_grid`. What errors count lies `apart` numbers further on in x. A
    magnitude is a step plus offset, times scale. Gives where the point stands in `points`.
    """
    begin = entry >> 6
    least = splat(NOTHING)
    eight = splat(np.int32(0))
    for e in range(entry & 63):
        error = splat(np.float32(0))
        for i in range(dim):
            step = as_floats(load(steps, ((begin + e) * dim + i) * WIDTH)) + offset
            miss = step * scale - pick(x, at + i)
            error = error + splat(pick(x, at + apart + i)) * miss * miss
        better = error < least
        least = select(better, error, least)
        eight = select(better, splat(np.int32(e)), eight)
    bits = bits_of(least)  # in the order of the errors, for those are not negative
    winners = bits == smallest_of(bits)
    if entry & 63 == 1:
        return begin * WIDTH + first_flag(winners)
    return begin * WIDTH + smallest_of(select(winners, eight * WIDTH + lanes(0, 1), FAR))
