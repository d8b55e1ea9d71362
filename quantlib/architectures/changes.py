"""What happens to a tensor on its way to GGUF, as values: which rows move where, and which numbers change.

A change says it with small pure functions; `checkpoints.convert` applies it lazily, a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.architectures.config import Config

Shape = tuple[int, ...]
GetShape = Callable[[Shape, "Config"], Shape]


@dataclass(frozen=True)
class Change:
    """How a tensor of GGUF comes from one of Hugging Face's. Nothing said: as it is.

    source: the shape that the source must have for this shape in GGUF; the same where not said.
    rows(shape, config): which row of the source each row is, int (rows,); of a vector: which value; -1: zeros.
    arrange(x, shape, config): the elements in another order; x is the whole source, or where `by_matrix` one matrix of
    the stack, of any type, and so is what it returns, of GGUF's shape.
    values(x, rows, config): new numbers for the float32 (or float16) rows x (n, columns) with these numbers in GGUF.
    A change of a matrix is one of its bias too, unless it arranges elements.
    """

    source: GetShape | None = None
    rows: Callable[[Shape, Config], np.ndarray] | None = None
    arrange: Callable[[np.ndarray, Shape, Config], np.ndarray] | None = None
    by_matrix: bool = False
    values: Callable[[np.ndarray, np.ndarray, Config], np.ndarray] | None = None

    @property
    def moves_columns(self) -> bool:
        """Whether it is not one of whole rows."""
        return self.arrange is not None

    def source_shape(self, shape: Shape, config: Config) -> Shape:
        """The shape that the source must have for this shape in GGUF."""
        return shape if self.source is None else self.source(shape, config)

    def row_order(self, shape: Shape, config: Config) -> np.ndarray:
        """Which row of the source each row is: int (rows,); of a vector: which value."""
        return np.arange(row_count(shape)) if self.rows is None else self.rows(shape, config)


def row_count(shape: Shape) -> int:
    """Rows of a matrix or of a stack of them, values of a vector."""
    return shape[0] if len(shape) == 1 else prod(shape[:-1])


UNCHANGED = Change()
PLUS_ONE = Change(values=lambda x, rows, config: x + x.dtype.type(1))  # norms stored as their distance from 1
TRANSPOSED = Change(source=lambda s, config: s[::-1], arrange=lambda x, s, config: x.T)  # stored as (in, out)


def minus_exp(x: np.ndarray, rows: np.ndarray, config: Config) -> np.ndarray:
    """-exp(x), correctly rounded in nearly all cases: computed in float64, because float32 libraries differ."""
    del rows, config
    return (-np.exp(x.astype(np.float64))).astype(x.dtype)


MINUS_EXP = Change(values=minus_exp)


def permuted(heads: str) -> Change:
    """The rows of each head interleaved, as llama.cpp's rotary positions want them; heads: a name in Config.

    transformers rotates a head's value i with i + d/2, llama.cpp 2i with 2i + 1: row 2i + j of a head comes from row
    j * d/2 + i.
    """

    def rows(shape: Shape, config: Config) -> np.ndarray:
        count = getattr(config, heads)
        return np.arange(row_count(shape)).reshape(count, 2, -1).swapaxes(1, 2).reshape(-1)

    return Change(rows=rows)


def half(index: int) -> Change:
    """The first (0) or second (1) half of the rows of a fused matrix, or of each in a stack of them."""

    def rows(shape: Shape, config: Config) -> np.ndarray:
        del config
        stack, each = (shape[0], shape[1]) if len(shape) == 3 else (1, shape[0])
        return (np.arange(stack)[:, None] * 2 * each + index * each + np.arange(each)).reshape(-1)

    return Change(source=lambda s, config: (*s[:-2], 2 * s[-2], s[-1]) if len(s) > 1 else (2 * s[0],), rows=rows)


def every_other(index: int) -> Change:
    """The even (0) or odd (1) rows of a matrix in which two are interleaved, or of each in a stack."""
    return Change(
        source=lambda s, config: (*s[:-2], 2 * s[-2], s[-1]),
        rows=lambda s, config: 2 * np.arange(row_count(s)) + index,
    )


def scaled(factor: Callable[[Config], float]) -> Change:
    """Numbers multiplied with one of the config's."""
    return Change(values=lambda x, rows, config: x * x.dtype.type(factor(config)))


def from_row(start: Callable[[Config], int]) -> Change:
    """The rows from one on."""
    return Change(
        source=lambda s, config: (s[0] + start(config), *s[1:]),
        rows=lambda s, config: start(config) + np.arange(row_count(s)),
    )


def reshaped(source: GetShape) -> Change:
    """The same numbers in another shape."""
    return Change(source=source, arrange=lambda x, shape, config: x.reshape(shape))
