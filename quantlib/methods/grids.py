"""The grids that a method rounds to: for each row and each group of columns an even grid, chosen from the weights."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.integers import IntegerFormat
from quantlib.methods.rtn import AbsMax, ScaleChoice, candidates


@dataclass(frozen=True, eq=False)
class Grid:
    """x̂ = scale · (code − zero) − minimum. float32, int32, float32 (outputs, steps)."""

    scale: np.ndarray
    zero: np.ndarray
    minimum: np.ndarray


class Grids(Protocol):
    """Chooses the grid of `group` columns that follow each other; every `step` of them share its numbers."""

    @property
    def group(self) -> int: ...

    @property
    def step(self) -> int: ...

    @property
    def lowest(self) -> int: ...

    @property
    def highest(self) -> int: ...

    def choose(self, columns: np.ndarray, first: int) -> Grid:
        """The grid for columns float32 (outputs, group) of a weight, the first of which is column `first`."""
        ...


@dataclass(frozen=True)
class IntegerGrids:
    """The grids of an integer format with one scale for `group` columns of a row; group = inputs is per channel."""

    form: IntegerFormat
    group: int
    scale: ScaleChoice = field(default_factory=AbsMax)

    @property
    def step(self) -> int:
        return self.group

    @property
    def lowest(self) -> int:
        return self.form.lowest

    @property
    def highest(self) -> int:
        return self.form.highest

    def choose(self, columns: np.ndarray, first: int) -> Grid:
        scale, zero = candidates(columns[:, None], self.form, self.scale).best  # (outputs, 1)
        return Grid(scale, zero, np.zeros_like(scale))


def encode(grids: Grids, w: np.ndarray, scale: np.ndarray, zero: np.ndarray, minimum: np.ndarray) -> np.ndarray:
    """code = clip(round((w + minimum) / scale) + zero), ties to even: float32 (...) -> int16 (...); zero at scale 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        steps = np.where(scale != 0, np.rint((w + minimum) / scale), np.float32(0))
    return np.clip(steps + zero, grids.lowest, grids.highest).astype(np.int16)


def decode(code: np.ndarray, scale: np.ndarray, zero: np.ndarray, minimum: np.ndarray) -> np.ndarray:
    """x̂ = scale · (code − zero) − minimum: int16 (...) -> float32 (...)."""
    return scale * np.float32(np.int32(code) - zero) - minimum


def check_groups(grids: Grids, inputs: int) -> None:
    """Raises MethodError where groups do not divide the width of a layer."""
    if inputs % grids.group:
        raise MethodError(
            f"Groups of {grids.group} do not divide a layer of {inputs:,} inputs; choose a group size that does, or "
            f"one scale for each channel."
        )
