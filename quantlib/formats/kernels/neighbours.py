"""The nearest point of a grid, eight points at a time."""

from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.grids import Grid
from quantlib.formats.blocks.iquants_search import NOTHING
from quantlib.formats.kernels.scalar import inlined
from quantlib.formats.kernels.simd import (
    WIDTH,
    as_floats,
    bits_of,
    first_flag,
    lanes,
    load,
    select,
    smallest_of,
    splat,
)
from quantlib.formats.rows import read_only

FAR = np.int32(0x7FFFFFFF)


class Neighbours(NamedTuple):
    """A grid laid out for vectors: the points near a place in eights, filled up with the nearest.

    dim, base, number, levels, values: as in `Grid`; powers: baseⁱ. first: int32 (places + 1,), the eights of a place.
    points: int32, eight numbers of points for each eight. steps: uint8, for each eight dim times eight of their levels
    times `step` plus `start`.
    """

    dim: int
    base: int
    number: np.ndarray
    levels: np.ndarray
    values: np.ndarray
    first: np.ndarray
    points: np.ndarray
    steps: np.ndarray


def neighbours(grid: Grid, step: int, start: int) -> Neighbours:
    """The tables of a grid."""
    counts = np.diff(grid.first)
    eights = -(-counts // WIDTH)
    first = np.concatenate([[0], np.cumsum(eights)])
    place = np.repeat(np.arange(len(counts)), eights)
    rank = WIDTH * (np.arange(len(place)) - first[place])[:, None] + np.arange(WIDTH)  # (eights, 8)
    rank = np.where(rank < counts[place][:, None], rank, 0)
    points = grid.near[grid.first[place][:, None] + rank]
    steps = (grid.levels[points] * step + start).transpose(0, 2, 1).astype(np.uint8)  # (eights, dim, 8)
    tables = (grid.number, grid.levels, grid.values, first.astype(np.int32), points.astype(np.int32), steps)
    number, levels, values, *lists = (read_only(np.ascontiguousarray(table).reshape(-1)) for table in tables)
    return Neighbours(grid.dim, grid.base, number, levels, values, *lists)


@inlined
def nearest_point(place, x, weights, at, scale, offset, near):
    """The best grid point near a place, for weights from `at` on (kernel of `iquants_search.nearest_on_grid`).

    A point's magnitudes are its steps plus offset, times scale.
    """
    begin, end = near.first[place], near.first[place + 1]
    least = splat(NOTHING)
    eight = splat(np.int32(0))
    for e in range(begin, end):
        error = splat(np.float32(0))
        for i in range(near.dim):
            miss = (as_floats(load(near.steps, (e * near.dim + i) * WIDTH)) + offset) * scale - x[at + i]
            error = error + splat(weights[at + i]) * miss * miss
        better = error < least
        least = select(better, error, least)
        eight = select(better, splat(np.int32(e - begin)), eight)
    bits = bits_of(least)  # in the order of the errors, for those are not negative
    winners = bits == smallest_of(bits)
    if end - begin == 1:
        return near.points[begin * WIDTH + first_flag(winners)]
    return near.points[begin * WIDTH + smallest_of(select(winners, eight * WIDTH + lanes(0, 1), FAR))]
