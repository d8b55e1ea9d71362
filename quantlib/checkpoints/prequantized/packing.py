"""Codes out of words: the bit streams in which quantized checkpoints pack codes, and the tiles of their scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, fault, shown
from quantlib.checkpoints.codecs import codec

# FP4 E2M1 by its code: sign in the highest bit.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)

TILES = (128, 64, 32, 256, 16)  # of scales for tiles whose size nothing states, the usual one first

DTYPES: dict[str, np.dtype] = {
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}


def unpacked(words: np.ndarray, bits: int, count: int, first: int = 0) -> np.ndarray:
    """`count` codes of so many bits along the first axis of uint32 words, least significant first: int32 (count, ...).

    first: the bit at which they start. Codes may cross from one word to the next, as 3-bit codes do.
    """
    position = first + np.arange(count) * bits
    word, offset = position // 32, (position % 32).astype(np.uint64)
    padded = np.concatenate([words, np.zeros_like(words[:1])]).astype(np.uint64)  # (words + 1, ...)
    both = padded[word] | (padded[word + 1] << np.uint64(32))  # (count, ...): a word and the one after it
    shift = offset.reshape(-1, *(1,) * (words.ndim - 1))
    return ((both >> shift) & np.uint64(2**bits - 1)).astype(np.int32)


def words_of(start: int, stop: int, bits: int) -> tuple[int, int, int]:
    """The words start..stop that codes start..stop lie in, and the bit of the first word at which they begin."""
    first = start * bits // 32
    return first, -(-stop * bits // 32), start * bits - 32 * first


def nibbles(data: np.ndarray, high_first: bool = False) -> np.ndarray:
    """The two codes of each byte of (rows, bytes), next to each other: uint8 (rows, 2 * bytes)."""
    low, high = data & 15, data >> 4
    pair = (high, low) if high_first else (low, high)
    return np.stack(pair, axis=-1).reshape(*data.shape[:-1], -1)  # (rows, bytes, 2) -> (rows, codes)


def integers(tensor: Tensor) -> np.ndarray:
    """The integers of a stored tensor, in its shape, where they lie in the file."""
    return tensor.raw().view(DTYPES[tensor.format]).reshape(tensor.shape)


def floats(tensor: Tensor, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Values start..stop of a stored tensor, counted over all of it, as float32 (stop - start,)."""
    stop = tensor.size if stop is None else stop
    size = tensor.nbytes // max(1, tensor.size)  # bytes of a value
    return tensor.decoder()(tensor.raw().reshape(1, -1)[:, start * size : stop * size]).reshape(-1)


def need(path: Path, holds: bool, name: str, sentence: str) -> None:
    """CheckpointError where a stored tensor is not what its neighbours make it: the name, then what is wrong."""
    if not holds:
        raise fault(path, f"is quantized, but {shown(name)} {sentence}.")


def decoded_tensor(
    name: str, shape: tuple[int, ...], like: Tensor, origin: str, rows: Callable[[int, int], np.ndarray]
) -> Tensor:
    """A tensor whose rows start..stop are computed when they are read: float32 (stop - start, n)."""
    spelling, decode = codec("F32")

    def read(start: int, stop: int) -> np.ndarray:
        if start == stop:
            return np.empty((0, 4 * shape[-1]), np.uint8)
        return np.ascontiguousarray(rows(start, stop), np.float32).view(np.uint8)  # (rows, bytes)

    size = 4 * int(np.prod(shape, dtype=np.int64))
    return Tensor(name, shape, spelling, size, read, decode, like.file, origin=origin)


@dataclass(frozen=True)
class Scales:
    """A table of scales (r, c), each for a tile of `high` rows and `wide` columns; read where it is needed."""

    stored: Tensor
    rows: int
    columns: int
    high: int
    wide: int

    def of(self, start: int, stop: int) -> np.ndarray:
        """The scales of rows start..stop: float32 (stop - start, c)."""
        first, last = start // self.high, (stop - 1) // self.high + 1
        table = floats(self.stored, first * self.columns, last * self.columns).reshape(-1, self.columns)
        return table[np.arange(start, stop) // self.high - first]

    def spread(self, start: int, stop: int, columns: int) -> np.ndarray:
        """The scale of each weight: (stop - start, 1) where a row has one, else (stop - start, columns)."""
        each = self.of(start, stop)
        return each if self.columns == 1 else np.repeat(each, self.wide, axis=1)[:, :columns]


def scales(path: Path, stored: Tensor, shape: tuple[int, ...], block: tuple[int, int] | None = None) -> Scales:
    """The scales of weights of this shape: one for all, for each row, expert, column, group of a row, or tile.

    block: rows and columns of a tile, where something says so; else they are told by how many scales there are.
    Raises CheckpointError where the scales do not fit the weights in one of these ways.
    """
    need(path, stored.decodable and stored.size > 0, stored.name, "holds no scales")
    rows, columns = math.prod(shape[:-1]), shape[-1]
    table = _table(stored.shape, shape, block)
    need(path, table is not None, stored.name, "has another shape than the weights it scales")
    high, wide = table or (rows, columns)
    return Scales(stored, -(-rows // high), -(-columns // wide), high, wide)


def _table(of: tuple[int, ...], shape: tuple[int, ...], block: tuple[int, int] | None) -> tuple[int, int] | None:
    """Rows and columns of the tile that each scale of a table of shape `of` is for; None where it fits no tile."""
    rows, columns, size = math.prod(shape[:-1]), shape[-1], math.prod(of)
    if size == 1 or not rows or not columns:
        return (rows, columns) if size == 1 and rows and columns else None
    if of[-1] == columns == size and (len(of) > 1 or rows == 1):
        return rows, 1  # one for each column
    apart = [n for n in of if n != 1]
    for count in range(1, len(shape)):
        if apart == [n for n in shape[:count] if n != 1]:
            return rows // size, columns  # for each row, or for each matrix of a stack
    wide = of[-1] if len(of) > 1 else 1
    high = size // wide
    if wide == 1:
        return (rows // high, columns) if rows % high == 0 else None  # of parts that were joined
    if high == rows:
        return (1, columns // wide) if columns % wide == 0 else None
    inner = shape[-2] if len(shape) > 1 else 1
    for tile in (block,) if block else ((size, size) for size in TILES):
        stacked = inner == rows or inner % tile[0] == 0  # else tiles would reach from one matrix into the next
        if stacked and (-(-rows // tile[0]), -(-columns // tile[1])) == (high, wide):
            return tile
    even = block is None and inner == rows and high > 1 and rows % high == 0 and columns % wide == 0
    return (rows // high, columns // wide) if even else None
