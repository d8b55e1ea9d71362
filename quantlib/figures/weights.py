"""What the figures need of a tensor: a bounded sample of its weights, and their bit patterns."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

SAMPLE = 1 << 20


class Rows(Protocol):
    """A tensor as checkpoints give it: rows of weights, decoded on demand."""

    shape: tuple[int, ...]
    n: int
    nrows: int

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Sample:
    """Weights of a tensor, all of them or evenly spaced rows: float32 (seen,) out of `total`."""

    values: np.ndarray
    total: int

    @property
    def seen(self) -> int:
        return self.values.size

    @property
    def whole(self) -> bool:
        return self.seen == self.total


def sample(tensor: Rows, limit: int = SAMPLE) -> Sample:
    """At most `limit` weights (at least one row): the whole tensor where it is that small, else evenly spaced rows."""
    total = tensor.n * tensor.nrows
    if total <= limit:
        return Sample(tensor.rows().reshape(-1), total)
    wanted = max(1, limit // tensor.n)
    picked = np.unique(np.linspace(0, tensor.nrows - 1, wanted).astype(np.int64))
    return Sample(np.concatenate([tensor.rows(int(row), int(row) + 1).reshape(-1) for row in picked]), total)


def weight_at(tensor: Rows, row: int, column: int) -> np.float32:
    """One weight."""
    return np.float32(tensor.rows(row, row + 1).reshape(-1)[column])


def block_at(tensor: Rows, values: int, index: int) -> np.ndarray:
    """Block number `index` of `values` weights, counted row by row. float32 (values,)"""
    row, at = divmod(index, tensor.n // values)
    return tensor.rows(row, row + 1).reshape(-1, values)[at]


def block_of(tensor: Rows, values: int, row: int, column: int) -> tuple[int, int]:
    """The number of the block of `values` weights that a weight is in, counted row by row, and its place in it."""
    return divmod(row * tensor.n + column, values)


def first_blocks(tensor: Rows, values: int, most: int) -> np.ndarray:
    """The first blocks of `values` weights, of whole rows, about `most` of them: float32 (blocks, values)."""
    return tensor.rows(0, min(tensor.nrows, max(1, most * values // tensor.n))).reshape(-1, values)


def columns_of_block(columns: np.ndarray, values: int, index: int) -> np.ndarray:
    """What belongs to each column (n,) of a row, cut out for block number `index` as `block_at` cuts: (values,)"""
    return columns.reshape(-1, values)[index % (columns.size // values)]


def fp32_bits(x: np.ndarray) -> np.ndarray:
    """The FP32 bit patterns of x: float32 (...) -> uint32 (...). How numbers travel to the browser."""
    return np.asarray(x, np.float32, order="C").view(np.uint32)


def parse_bits(text: str | None) -> int | None:
    """A bit pattern written as hexadecimal digits ("3d2c0000", at most 8); None where the text is none."""
    if not text or len(text) > 8 or any(c not in "0123456789abcdefABCDEF" for c in text):
        return None
    return int(text, 16)
