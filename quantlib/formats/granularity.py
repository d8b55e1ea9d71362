"""Which weights of a tensor share a scale: all of them, those of a channel, or those of a group."""

from dataclasses import dataclass
from math import prod

import numpy as np

from quantlib.errors import FormatError


@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor."""

    def __str__(self) -> str:
        return "per tensor"

    def split(self, x: np.ndarray) -> np.ndarray:
        """x (any shape) -> (values,): the weights that share a scale lie on the last axis."""
        return x.reshape(-1)

    def join(self, groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undoes `split`: (values,) -> the tensor's shape."""
        return groups.reshape(shape)

    def scales(self, shape: tuple[int, ...]) -> int:
        """How many scales a tensor of that shape has."""
        return 1


@dataclass(frozen=True)
class PerChannel:
    """One scale for each index along an axis; axis 0 of a weight (outputs, inputs) is its output channels."""

    axis: int = 0

    def __str__(self) -> str:
        return "per channel" if self.axis == 0 else f"per channel of axis {self.axis}"

    def split(self, x: np.ndarray) -> np.ndarray:
        """x -> (channels, values). Raises FormatError where x has no such axis."""
        self._check(x.shape)
        return np.moveaxis(x, self.axis, 0).reshape(x.shape[self.axis], -1)

    def join(self, groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undoes `split`: (channels, values) -> the tensor's shape."""
        self._check(shape)
        rest = list(shape)
        channels = rest.pop(self.axis)
        return np.ascontiguousarray(np.moveaxis(groups.reshape(channels, *rest), 0, self.axis))

    def scales(self, shape: tuple[int, ...]) -> int:
        """How many scales a tensor of that shape has."""
        self._check(shape)
        return shape[self.axis]

    def _check(self, shape: tuple[int, ...]) -> None:
        if not -len(shape) <= self.axis < len(shape):
            raise FormatError(f"A tensor of shape {tuple(shape)} has no axis {self.axis} to take channels from.")


@dataclass(frozen=True)
class PerGroup:
    """One scale for every n weights that follow each other in a row."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise FormatError(f"A group has at least one weight, not {self.n}.")

    def __str__(self) -> str:
        return f"per group of {self.n}"

    def split(self, x: np.ndarray) -> np.ndarray:
        """x (..., row) -> (..., groups, n). Raises FormatError where n does not divide the row."""
        self._check(x.shape)
        return x.reshape(*x.shape[:-1], -1, self.n)

    def join(self, groups: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undoes `split`: (..., groups, n) -> the tensor's shape."""
        return groups.reshape(shape)

    def scales(self, shape: tuple[int, ...]) -> int:
        """How many scales a tensor of that shape has."""
        self._check(shape)
        return prod(shape) // self.n

    def _check(self, shape: tuple[int, ...]) -> None:
        if not shape or shape[-1] % self.n:
            row = shape[-1] if shape else 1
            raise FormatError(
                f"Groups of {self.n} do not divide a row of {row:,} weights; choose a group size that does."
            )


Granularity = PerTensor | PerChannel | PerGroup
