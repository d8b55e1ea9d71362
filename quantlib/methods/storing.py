"""What the blocks of a format can store, as numbers that a search moves: levels, sub-scales and super-scales.

    x̂ = d · sub[i] · level[k] − dmin · sub_minimum[j]

Every format with a code for each weight is a case of it: Q4_K has all five, Q4_0 only d and levels, in MXFP4 d is 1 and
the sub-scales are the powers of two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.blocks.block import BlockFormat
from quantlib.formats.blocks.search import VALUES
from quantlib.formats.blocks.ternary import BYTE, DIGIT, digit_of, pack_digits
from quantlib.formats.tables.small_floats import VALUES as FLOATS
from quantlib.formats.tables.small_floats import power_of_two, small_float

F32 = np.float32
ONE = np.ones(1, F32)
STEP, MINIMUM_STEP = F32(1 / 32), F32(1 / 4)


@dataclass(frozen=True, eq=False)
class Stored:
    """The numbers of rows as a search moves them: a weight is d · sub[i] · level[k] − dmin · sub_minimum[j].

    d, dmin: float32 (rows, blocks). i, j: int16 (rows, groups). k: int16 (rows, inputs).
    """

    d: np.ndarray
    dmin: np.ndarray
    i: np.ndarray
    j: np.ndarray
    k: np.ndarray

    @property
    def parts(self) -> tuple[np.ndarray, ...]:
        return self.d, self.dmin, self.i, self.j, self.k

    def copy(self) -> Stored:
        return Stored(*(part.copy() for part in self.parts))


class Ladder(NamedTuple):
    """What a search may take, as plain arrays for compiled code; the names are those of `Storing`.

    midpoints: float32, between the levels. values: weights in a block. reach: how many neighbours of a scale are tried
    on each side. step, minimum_step: of d, where there are no sub-scales, as shares of d.
    """

    levels: np.ndarray
    midpoints: np.ndarray
    subs: np.ndarray
    sub_minima: np.ndarray
    values: int
    group: int
    free: bool
    minima: bool
    reach: int
    step: np.float32
    minimum_step: np.float32


@dataclass(frozen=True, eq=False)
class Storing:
    """What a format can store. levels: float32, ascending. subs, sub_minima: what a sub-code stands for, ascending.

    group: weights with one sub-scale. free: d and dmin are half-precision floats of each block's own, else 1 and 0.
    minima: whether there are any. code: uint8, the code of each level; sub: of each sub-scale.
    """

    form: BlockFormat
    group: int
    levels: np.ndarray
    subs: np.ndarray
    sub_minima: np.ndarray
    free: bool
    minima: bool
    code: np.ndarray
    sub: np.ndarray

    def read(self, data: np.ndarray) -> Stored:
        """The numbers of stored rows, uint8 (rows, bytes)."""
        rows = len(data)
        fields = self.form.unpack(data.reshape(-1, self.form.nbytes))  # {field: (rows * blocks, count)}
        none = np.zeros((fields["q"].shape[0], self.form.values // self.group), np.int16)
        d = fields["d"].astype(F32) if self.free else np.ones((len(none), 1), F32)
        dmin, i, j = np.zeros_like(d), none, none
        if "sc" in fields or "e" in fields:
            i = _inverse(self.sub)[fields["sc" if "sc" in fields else "e"].astype(np.int64) & 255]
        if "dmin" in fields:
            dmin, j = fields["dmin"].astype(F32), fields["mn"].astype(np.int16)
        elif "m" in fields:
            dmin = -fields["m"].astype(F32)
        k = _inverse(self.code)[self._codes(fields["q"]).astype(np.int64) & 255]
        return Stored(*(np.ascontiguousarray(part).reshape(rows, -1) for part in (d, dmin, i, j, k)))

    def write(self, stored: Stored) -> np.ndarray:
        """Stored rows of these numbers: uint8 (rows, bytes)."""
        rows, names = len(stored.d), {f.name: f.stored for f in self.form.layout.fields}
        fields: dict[str, np.ndarray] = {"q": self.code[stored.k].reshape(-1, self.form.values)}
        if self.form.name == "TQ1_0":
            fields["q"] = pack_digits(fields["q"])
        if self.free:
            fields["d"] = stored.d.reshape(-1, 1)
        for name in ("sc", "e"):
            if name in names:
                fields[name] = self.sub[stored.i].reshape(-1, self.form.values // self.group)
        if "dmin" in names:
            fields |= {"dmin": stored.dmin.reshape(-1, 1), "mn": stored.j.reshape(-1, self.form.values // self.group)}
        elif "m" in names:
            fields["m"] = -stored.dmin.reshape(-1, 1)
        typed = {
            n: f.view(names[n]) if f.dtype == np.uint8 and names[n] == "i1" else f.astype(names[n])
            for n, f in fields.items()
        }
        return self.form.pack(typed).reshape(rows, -1)

    def decode(self, stored: Stored) -> np.ndarray:
        """x̂, float32 (rows, inputs)."""
        scale, minimum = self.grids(stored)
        level = self.levels[stored.k].reshape(*scale.shape, self.group)
        return (scale[..., None] * level - minimum[..., None]).reshape(stored.k.shape)

    def grids(self, stored: Stored) -> tuple[np.ndarray, np.ndarray]:
        """The scale and the minimum of each group, float32 (rows, groups)."""
        each = self.form.values // self.group
        scale = np.repeat(stored.d, each, axis=1) * self.subs[stored.i]
        return scale, np.repeat(stored.dmin, each, axis=1) * self.sub_minima[stored.j]

    def ladder(self, reach: int) -> Ladder:
        """What a search may take that looks at so many neighbours of a scale."""
        midpoints = (self.levels[1:] + self.levels[:-1]) / F32(2)
        sizes = self.form.values, self.group, self.free, self.minima, reach, STEP, MINIMUM_STEP
        return Ladder(self.levels, midpoints, self.subs, self.sub_minima, *sizes)

    def _codes(self, q: np.ndarray) -> np.ndarray:
        return digit_of(q[..., BYTE], DIGIT) if self.form.name == "TQ1_0" else q


def storing(form: BlockFormat) -> Storing:
    """What a format stores, in these terms. Raises MethodError for a format whose codes are not one for each weight."""
    found = STORED_BY_WEIGHT.get(form.name)
    if found is None:
        raise MethodError(f"{form.name} has no code for each weight; choose one of {', '.join(STORED_BY_WEIGHT)}.")
    group, levels, codes, subs, sub_codes, sub_minima, free = found
    minima = any(f.name in ("dmin", "m") for f in form.layout.fields)
    return Storing(form, group, levels, subs, sub_minima, free, minima, codes, sub_codes)


def _inverse(codes: np.ndarray) -> np.ndarray:
    """Which entry a code stands at; the nearest lower one for codes that are not used."""
    table = np.zeros(256, np.int16)
    table[codes] = np.arange(len(codes))
    return table


Declared = tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]


def _even(low: int, high: int, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers as levels, and their codes."""
    levels = np.arange(low, high + 1)
    return levels.astype(F32), (levels if signed else levels - low).astype(np.uint8)


def _declared() -> dict[str, Declared]:
    """Of each format: the group, levels and their codes, sub-scales and their codes, sub-minima, whether d is free."""
    one = (ONE, np.zeros(1, np.uint8))
    floats = np.argsort(FLOATS, kind="stable")
    floats = floats[floats != 8]  # minus zero
    four_bit = (FLOATS[floats].astype(F32), floats.astype(np.uint8))
    table = (VALUES.astype(F32), np.arange(16, dtype=np.uint8))
    powers = np.arange(255, dtype=np.uint8)
    small = np.arange(127, dtype=np.uint8)
    plain = {
        "Q4_0": _even(-8, 7),
        "Q4_1": _even(0, 15),
        "Q5_0": _even(-16, 15),
        "Q5_1": _even(0, 31),
        "Q8_0": _even(-127, 127, True),
        "IQ4_NL": table,
    }
    out: dict[str, Declared] = {name: (32, *levels, *one, ONE, True) for name, levels in plain.items()}
    out["Q2_0"] = (64, *_even(-1, 2), *one, ONE, True)
    out["Q1_0"] = (128, np.array([-1, 1], F32), np.arange(2, dtype=np.uint8), *one, ONE, True)
    out["TQ1_0"] = out["TQ2_0"] = (256, *_even(-1, 1), *one, ONE, True)
    minima = np.arange(64, dtype=F32)
    out["Q2_K"] = (16, *_even(0, 3), *_even(0, 15), minima[:16], True)
    out["Q3_K"] = (16, *_even(-4, 3), *_even(-32, 31), ONE, True)
    out["Q4_K"] = (32, *_even(0, 15), *_even(0, 63), minima, True)
    out["Q5_K"] = (32, *_even(0, 31), *_even(0, 63), minima, True)
    out["Q6_K"] = (16, *_even(-32, 31), *_even(-128, 127, True), ONE, True)
    out["IQ4_XS"] = (32, *table, *_even(-32, 31), ONE, True)
    with np.errstate(over="ignore"):
        out["MXFP4"] = (32, *four_bit, power_of_two(powers), powers, ONE, False)
    out["NVFP4"] = (16, *four_bit, small_float(small), small, ONE, False)
    return out


STORED_BY_WEIGHT = _declared()
