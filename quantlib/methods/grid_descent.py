"""The i-quants chosen for a layer's output: eight weights at a time, among the points that their grid has.

As in `descent`, with two differences. Codes are numbers of grid points, so that eight weights are rounded together:
their miss e counts eᵀ M e, M being what the eight cost when all columns after them make up for it as well as they can
(in elimination, M = (Uᵀ U)⁻¹ of their columns), or while all others stay (in descent, M = H of their columns). Of the
points nearest to the aim by level the one of least cost is taken. And the eight stay together in the order of rounding.
Sources: Tseng et al., "QuIP#", 2024, and van Baalen et al., "GPTVQ", 2024, for the idea of rounding vectors so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from quantlib.formats.blocks.block import BlockFormat
from quantlib.formats.blocks.grids import grid
from quantlib.formats.blocks.iquants_signs import expand_signs
from quantlib.methods.hessian import Factor

F32 = np.float32
COLUMNS, EIGHT = 128, 8
Eight = tuple[np.ndarray, np.ndarray]  # the points and the signs of eight weights
NEAR = 12  # points that are tried for each aim
# Of each format: shells of its grid, weights with one sub-scale, whether minuses of eight are even, what a sub counts.
GRIDS = {
    "IQ2_XXS": (2, 32, True, 0.25),
    "IQ2_XS": (2, 16, True, 0.25),
    "IQ2_S": (1, 16, False, 0.25),
    "IQ3_XXS": (2, 32, True, 0.5),
    "IQ3_S": (3, 32, False, 2.0),
}


class Points(NamedTuple):
    """What a search on a grid may take, as plain arrays.

    points: float32 (n, dim), magnitudes. magnitudes: float32, ascending, of the levels; midpoints between them. near:
    int16 (places, NEAR), the points nearest to each combination of levels. subs: what a sub-scale stands for.
    """

    dim: int
    points: np.ndarray
    magnitudes: np.ndarray
    midpoints: np.ndarray
    near: np.ndarray
    subs: np.ndarray
    values: int
    group: int
    even: bool
    reach: int


@dataclass(frozen=True, eq=False)
class StoredPoints:
    """The numbers of rows: d float32 (rows, blocks), i int16 (rows, groups), q int16 (rows, inputs / dim), minus uint8
    (rows, inputs / 8).
    """

    d: np.ndarray
    i: np.ndarray
    q: np.ndarray
    minus: np.ndarray

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        return self.d, self.i, self.q, self.minus

    def copy(self) -> StoredPoints:
        return StoredPoints(*(part.copy() for part in self.parts))


@cache
def points_of(name: str, reach: int = 1) -> Points:
    """The grid of a format."""
    shells, group, even, share = GRIDS[name]
    found = grid(name, shells)
    magnitudes = np.unique(found.values).astype(F32)
    places = np.arange(found.base**found.dim)[:, None] // found.places % found.base  # (places, dim), levels
    aims, values = magnitudes[places], found.values.astype(F32)
    near = np.empty((len(places), NEAR), np.int16)
    for start in range(0, len(places), 512):
        distance = np.square(aims[start : start + 512, None] - values).sum(axis=2)
        near[start : start + 512] = np.argsort(distance, axis=1, kind="stable")[:, :NEAR]
    subs = ((np.arange(16, dtype=F32) + F32(0.5)) * F32(share)).astype(F32)
    midpoints = (magnitudes[1:] + magnitudes[:-1]) / F32(2)
    return Points(found.dim, values, magnitudes, midpoints, near, subs, 256, group, even, reach)


def read(form: BlockFormat, data: np.ndarray) -> StoredPoints:
    """The numbers of stored rows, uint8 (rows, bytes)."""
    fields = form.unpack(data.reshape(-1, form.nbytes))
    parts = fields["d"].astype(F32), fields["sc"].astype(np.int16), fields["q"].astype(np.int16), fields["sign"]
    return StoredPoints(*(np.ascontiguousarray(part).reshape(len(data), -1) for part in parts))


def write(form: BlockFormat, stored: StoredPoints) -> np.ndarray:
    """Stored rows of these numbers: uint8 (rows, bytes)."""
    blocks = stored.d.size
    d, sc, q, sign = (part.reshape(blocks, -1) for part in stored.parts)
    fields: dict[str, np.ndarray] = {
        "d": d.astype(np.float16),
        "sc": sc.astype(np.uint8),
        "q": q.astype(np.uint16),
        "sign": sign,
    }
    return form.pack(fields).reshape(len(stored.d), -1)


def decode(stored: StoredPoints, form: Points) -> np.ndarray:
    """x̂, float32 (rows, inputs)."""
    scale = np.repeat(stored.d, form.values // form.group, axis=1) * form.subs[stored.i]  # (rows, groups)
    signs = expand_signs(stored.minus, form.even)
    value = form.points[stored.q].reshape(signs.shape) * signs.astype(F32)
    return (scale[..., None] * value.reshape(*scale.shape, -1)).reshape(signs.shape)


def eliminated(w: np.ndarray, form: Points, stored: StoredPoints, factor: Factor, loops: Loops) -> StoredPoints:
    """The points of rows w (rows, inputs) on the scales as they are stored, columns in the factor's order."""
    found, rest = stored.copy(), w[:, factor.order]
    scale = np.repeat(stored.d, form.values // form.group, axis=1) * form.subs[stored.i]
    for start in range(0, w.shape[1], COLUMNS):
        block = slice(start, min(start + COLUMNS, w.shape[1]))
        upper = np.ascontiguousarray(factor.upper[block, block])
        own = np.stack([upper[at : at + EIGHT, at : at + EIGHT] for at in range(0, len(upper), EIGHT)]).astype(float)
        metric = np.linalg.inv(own.transpose(0, 2, 1) @ own).astype(F32)
        place = factor.order[block][::EIGHT] // EIGHT
        errors = loops.eliminate(np.ascontiguousarray(rest[:, block]), upper, place, metric, scale, form, found)
        rest[:, block.stop :] -= errors @ factor.upper[block, block.stop :]
    return found


def descended(
    w: np.ndarray, form: Points, stored: StoredPoints, hessian: np.ndarray, loops: Loops, sweeps: int
) -> StoredPoints:
    """Rows w (rows, inputs) with an error that is no higher, for the damped Hessian (inputs, inputs)."""
    found = stored.copy()
    now = decode(found, form)
    eights = np.stack([hessian[at : at + EIGHT, at : at + EIGHT] for at in range(0, len(hessian), EIGHT)])
    inverse = np.linalg.inv(eights.astype(float)).astype(F32)
    loops.descend(hessian, inverse, (w - now) @ hessian, found, now, form, sweeps)
    return found


class GridRow:
    """One row while it is improved. h, inverse: the damped Hessian and the inverses of its eights; all are views."""

    def __init__(
        self,
        h: np.ndarray,
        inverse: np.ndarray,
        lacking: np.ndarray,
        d: np.ndarray,
        i: np.ndarray,
        q: np.ndarray,
        minus: np.ndarray,
        now: np.ndarray,
        form: Points,
    ):
        self.h, self.inverse, self.lacking, self.form = h, inverse, lacking, form
        self.d, self.i, self.q, self.minus, self.now = d, i, q, minus, now

    def fit(self, block: int) -> None:
        """Fit d to the points of a block by least squares under the Hessian."""
        at = slice(block * self.form.values, (block + 1) * self.form.values)
        u = self.now[at] / self.d[block]
        hu = _summed(u[:, None] * self.h[at, at])
        squares, product = _summed(u * hu), _summed(u * self.lacking[at])
        d = F32(np.float16(self.d[block] + product / squares)) if squares > 0 else self.d[block]
        step = d - self.d[block]
        if d > 0 and step * (F32(2) * product - step * squares) > 0:
            self.d[block] = d
            moves, self.now[at] = d * u - self.now[at], d * u
            self.take_off(at, moves)

    def search(self, block: int, group: int) -> None:
        """Try the sub-scales next to a group's own, and keep what lowers the error most."""
        form, own, best = self.form, int(self.i[group]), F32(0)
        found: tuple[int, np.ndarray, list[Eight]] | None = None
        at = slice(group * form.group, (group + 1) * form.group)
        for sub in range(max(0, own - form.reach), min(len(form.subs), own + form.reach + 1)):
            gain, moves, eights = self.settled(at, self.d[block] * form.subs[sub])
            if gain > best:
                best, found = gain, (sub, moves, eights)
        if found is not None:
            self.i[group], moves, eights = found
            for number, (numbers, signs) in enumerate(eights):
                keep(at.start // EIGHT + number, numbers, signs, form, self.q, self.minus)
            self.now[at] += moves
            self.take_off(at, moves)

    def settled(self, at: slice, scale: np.float32) -> tuple[np.float32, np.ndarray, list[Eight]]:
        """A group's points chosen anew: the gain, how far each weight moves, each eight's points and signs."""
        lacking, gain, moves = self.lacking[at].copy(), F32(0), np.empty(self.form.group, F32)
        eights: list[Eight] = []
        for first in range(0, self.form.group, EIGHT):
            start = at.start + first
            own, within = slice(start, start + EIGHT), slice(first, first + EIGHT)
            aim = self.now[own] + _summed((self.inverse[start // EIGHT] * lacking[within]).T)
            numbers, signs, values = nearest_eight(aim, self.h[own, own], scale, self.form)
            eights.append((numbers, signs))
            for c in range(EIGHT):
                move = values[c] - self.now[start + c]
                moves[first + c] = move
                gain += move * (F32(2) * lacking[first + c] - move * self.h[start + c, start + c])
                lacking -= move * self.h[start + c, at]
        return gain, moves, eights

    def take_off(self, at: slice, moves: np.ndarray) -> None:
        """Take the moves of some weights off what the row lacks."""
        for c, move in zip(range(at.start, at.stop), moves, strict=True):
            self.lacking -= move * self.h[c]


def nearest_eight(
    aim: np.ndarray, metric: np.ndarray, scale: np.float32, form: Points
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The storable eight weights that miss an aim by the least eᵀ M e: points, signs and values.

    Signs are the aim's; where their minuses must be even and are not, the sign that matters least is turned. In grids
    of four weights each half is chosen twice, for the other half as it then is.
    """
    signs = np.where(aim < 0, F32(-1), F32(1))
    if form.even and (signs < 0).sum() % 2:
        signs[(np.diagonal(metric) * aim * aim).argmin()] *= F32(-1)
    levels = np.searchsorted(form.midpoints, signs * aim / scale).reshape(-1, form.dim)
    places = levels @ len(form.magnitudes) ** np.arange(form.dim)
    numbers = form.near[places, 0].copy()

    def values_of(numbers: np.ndarray) -> np.ndarray:
        return scale * signs * form.points[numbers].ravel()

    for _ in range(1 if form.dim == EIGHT else 2):
        for half, place in enumerate(places):
            costs = []
            for trial in form.near[place]:
                numbers[half] = trial
                miss = aim - values_of(numbers)
                costs.append(_summed(miss * _summed((metric * miss).T)))
            numbers[half] = form.near[place][int(np.argmin(costs))]
    return numbers, signs, values_of(numbers)


def keep(eight: int, numbers: np.ndarray, signs: np.ndarray, form: Points, q: np.ndarray, minus: np.ndarray) -> None:
    """Store the points and signs of one eight in its row."""
    each = EIGHT // form.dim
    q[eight * each : (eight + 1) * each] = numbers
    byte = int(((signs < 0) << np.arange(EIGHT)).sum())
    minus[eight] = byte & 127 if form.even else byte


def _summed(terms: np.ndarray) -> Any:
    """The sum over the first axis from left to right, from zero, as the compiled loop adds."""
    return F32(0) + np.cumsum(terms, axis=0, dtype=F32)[-1]


class Reference:
    """The readable loops."""

    @staticmethod
    def eliminate(
        w: np.ndarray,
        upper: np.ndarray,
        place: np.ndarray,
        metric: np.ndarray,
        scale: np.ndarray,
        form: Points,
        stored: StoredPoints,
    ) -> np.ndarray:
        """Round the columns of w (rows, columns) eight by eight and push their errors to those on their right."""
        w, errors = w.copy(), np.empty(w.shape, F32)
        for row in range(len(w)):
            for unit, eight in enumerate(place):
                own, s = slice(unit * EIGHT, (unit + 1) * EIGHT), scale[row, eight * EIGHT // form.group]
                values = np.zeros(EIGHT, F32)
                if s > 0:
                    numbers, signs, values = nearest_eight(w[row, own].copy(), metric[unit], s, form)
                    keep(eight, numbers, signs, form, stored.q[row], stored.minus[row])
                for c, value in zip(range(own.start, own.stop), values, strict=True):
                    errors[row, c] = (w[row, c] - value) / upper[c, c]
                    w[row, c + 1 :] -= errors[row, c] * upper[c, c + 1 :]
        return errors

    @staticmethod
    def descend(
        hessian: np.ndarray,
        inverse: np.ndarray,
        lacking: np.ndarray,
        stored: StoredPoints,
        now: np.ndarray,
        form: Points,
        sweeps: int,
    ) -> None:
        """Lower the error of rows in place; lacking: r, (rows, inputs)."""
        for row in range(len(lacking)):
            d, i, q, minus = (part[row] for part in stored.parts)
            one = GridRow(hessian, inverse, lacking[row], d, i, q, minus, now[row], form)
            for _ in range(sweeps):
                for block in np.flatnonzero(one.d > 0).tolist():
                    one.fit(block)
                    each = form.values // form.group
                    for group in range(block * each, (block + 1) * each):
                        one.search(block, group)


class Compiled:
    """The compiled loops, equal to the reference bit for bit."""

    @staticmethod
    def eliminate(
        w: np.ndarray,
        upper: np.ndarray,
        place: np.ndarray,
        metric: np.ndarray,
        scale: np.ndarray,
        form: Points,
        stored: StoredPoints,
    ) -> np.ndarray:
        from quantlib.methods import grid_kernels

        errors = np.empty(w.shape, F32)
        grid_kernels.eliminate(w, upper, place, metric, scale, form, stored.q, stored.minus, errors)
        return errors

    @staticmethod
    def descend(
        hessian: np.ndarray,
        inverse: np.ndarray,
        lacking: np.ndarray,
        stored: StoredPoints,
        now: np.ndarray,
        form: Points,
        sweeps: int,
    ) -> None:
        from quantlib.methods import grid_kernels

        grid_kernels.descend(hessian, inverse, lacking, *stored.parts, now, form, sweeps)


Loops = type[Reference] | type[Compiled]
