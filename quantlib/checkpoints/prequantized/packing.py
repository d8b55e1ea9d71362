"""Codes out of words: the bit streams in which quantized checkpoints pack codes, and the tiles of their scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, fault, shown
from quantlib.checkpoints.codecs import codec

# FP4 E2M1 by its code: sign in the highest bit.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)

DTYPES = {"I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "I8": np.dtype("i1"), "U8": np.dtype("u1")}


def unpacked(words: np.ndarray, bits: int, count: int) -> np.ndarray:
    """`count` codes of so many bits along the first axis of uint32 words, least significant first: int32 (count, ...).

    Codes may cross from one word to the next, as 3-bit codes do.
    """
    position = np.arange(count) * bits
    word, offset = position // 32, (position % 32).astype(np.uint64)
    padded = np.concatenate([words, np.zeros_like(words[:1])]).astype(np.uint64)  # (words + 1, ...)
    both = padded[word] | (padded[word + 1] << np.uint64(32))  # (count, ...): a word and the one after it
    shift = offset.reshape(-1, *(1,) * (words.ndim - 1))
    return ((both >> shift) & np.uint64(2**bits - 1)).astype(np.int32)


def nibbles(data: np.ndarray, high_first: bool = False) -> np.ndarray:
    """The two codes of each byte of (rows, bytes), next to each other: uint8 (rows, 2 * bytes)."""
    low, high = data & 15, data >> 4
    pair = (high, low) if high_first else (low, high)
    return np.stack(pair, axis=-1).reshape(*data.shape[:-1], -1)  # (rows, bytes, 2) -> (rows, codes)


def integers(tensor: Tensor) -> np.ndarray:
    """The integers of a stored tensor, in its shape, where they lie in the file."""
    return tensor.raw().view(DTYPES[tensor.format]).reshape(tensor.shape)


def floats(tensor: Tensor) -> np.ndarray:
    """The values of a small stored tensor as float32, in its shape."""
    return tensor.rows().reshape(tensor.shape)


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


def tiles(scale: np.ndarray, shape: tuple[int, int], tile: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Rows and columns that share one scale of (r, c): as given, or even shares; None where they do not fit."""
    (rows, columns), (r, c) = shape, scale.shape
    if tile is None:
        tile = (-(-rows // max(1, r)), -(-columns // max(1, c)))
    high, wide = tile
    fits = high > 0 and wide > 0 and -(-rows // high) == r and -(-columns // wide) == c
    return tile if fits else None


def spread(scale: np.ndarray, tile: tuple[int, int], start: int, stop: int, columns: int) -> np.ndarray:
    """The scale of each weight in rows start..stop: (rows, 1) where a row has one, else (rows, columns)."""
    rows = scale[np.arange(start, stop) // tile[0]]  # (rows, c)
    return rows if rows.shape[1] == 1 else np.repeat(rows, tile[1], axis=1)[:, :columns]
