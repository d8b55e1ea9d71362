"""Tensors made of other tensors, row by row and when they are read: no more is held than what is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from quantlib.architectures import Config
from quantlib.architectures.changes import Change, Shape
from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.codecs import codec

MXFP4 = 39  # ggml's number of the type
Rows = tuple[Tensor, int, int]  # a tensor and the rows start..stop of it


def row_bytes(tensor: Tensor) -> int:
    """Bytes of a row as it is stored."""
    return tensor.nbytes // tensor.nrows if tensor.nrows else 0


def joined(name: str, shape: tuple[int, ...], pieces: Sequence[Rows]) -> Tensor:
    """The rows of several tensors of one format after each other: stacked experts, or halves of a fused matrix."""
    first = pieces[0][0]
    ends = np.cumsum([stop - start for _, start, stop in pieces])
    width = row_bytes(first)

    def read(start: int, stop: int) -> np.ndarray:
        out, at = [np.empty((0, width), np.uint8)], start
        index = int(np.searchsorted(ends, start, side="right"))
        while at < stop:
            tensor, low, high = pieces[index]
            begin = int(ends[index]) - (high - low)
            end = min(stop, int(ends[index]))
            out.append(tensor.read(low + at - begin, low + end - begin))
            at, index = end, index + 1
        return out[1] if len(out) == 2 else np.concatenate(out)

    return Tensor(name, shape, first.format, width * math.prod(shape[:-1]), read, first.decode, first.file)


def changed(source: Tensor, name: str, shape: Shape, change: Change, config: Config) -> Tensor:
    """The tensor under GGUF's name, with its change made whenever rows of it are read."""
    out = replace(source, name=name)
    if change.arrange is not None:
        out = _arranged(out, shape, change.arrange, change.by_matrix, config)
    elif change.rows is not None:
        out = _gathered(out, shape, change.rows, config)
    return out if change.values is None else _recomputed(out, change.values, config)


def _gathered(tensor: Tensor, shape: Shape, rows: Callable[[Shape, Config], np.ndarray], config: Config) -> Tensor:
    """Rows of the tensor in another order, or some of them; of a vector, its values; a vector of one row."""
    order = cache(lambda: rows(shape, config))
    if len(shape) == len(tensor.shape) == 1:
        size = row_bytes(tensor) // tensor.shape[0]

        def read(start: int, stop: int) -> np.ndarray:
            return tensor.read(0, 1).reshape(-1, size)[order()].reshape(1, -1)[start:stop]

        nbytes = size * shape[0]
    else:
        width = row_bytes(tensor)

        def read(start: int, stop: int) -> np.ndarray:
            out = np.zeros((stop - start, width), np.uint8)
            for at, low, high, rows in _stretches(order()[start:stop]):
                found = tensor.read(low, high)
                out[at : at + (high - low if rows is None else len(rows))] = found if rows is None else found[rows]
            return out

        nbytes = width * math.prod(shape[:-1])
    return replace(tensor, shape=shape, nbytes=nbytes, read=read)


def _stretches(rows: np.ndarray) -> Iterator[tuple[int, int, int, np.ndarray | None]]:
    """Reads that together gather these rows: place of the first, start and stop in the source, and which rows of what
    was read (None: all of them). Rows that follow each other are read alone; where that would be many small reads, all
    between the first and last is read. Row -1 stands for zeros and is not read.
    """
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    if len(cuts) * 8 > len(rows) and rows.min() >= 0:
        low = int(rows.min())
        yield 0, low, int(rows.max()) + 1, rows - low
        return
    for part in np.split(np.arange(len(rows)), cuts) if len(rows) else ():
        first = int(rows[part[0]])
        if first < 0:
            part = part[1:]  # a zero row, and after it rows that count on from 0
            first = 0
        if len(part):
            yield int(part[0]), first, first + len(part), None


def _arranged(
    tensor: Tensor,
    shape: Shape,
    arrange: Callable[[np.ndarray, Shape, Config], np.ndarray],
    by_matrix: bool,
    config: Config,
) -> Tensor:
    """The elements of the tensor, or of each matrix of a stack, in another order; read whole, whatever is asked for."""
    size = row_bytes(tensor) // tensor.shape[-1]
    each = shape[1:] if by_matrix else shape
    matrices, rows = (shape[0] if by_matrix else 1), math.prod(each[:-1])
    theirs = tensor.shape[1:] if by_matrix else tensor.shape
    height = math.prod(theirs[:-1])

    def matrix(number: int) -> np.ndarray:
        x = np.ascontiguousarray(tensor.read(number * height, (number + 1) * height)).view(f"<u{size}")
        out = arrange(x.reshape(theirs), each, config)
        return np.ascontiguousarray(out).reshape(rows, each[-1]).view(np.uint8)

    def read(start: int, stop: int) -> np.ndarray:
        if stop <= start:
            return np.empty((0, size * shape[-1]), np.uint8)
        first, last = start // rows, -(-stop // rows)
        found = np.concatenate([matrix(number) for number in range(first, min(last, matrices))])
        return found[start - first * rows : stop - first * rows]

    return replace(tensor, shape=shape, nbytes=size * math.prod(shape), read=read)


def _recomputed(
    tensor: Tensor, change: Callable[[np.ndarray, np.ndarray, Config], np.ndarray], config: Config
) -> Tensor:
    """The tensor with new numbers: computed in half precision where it is stored so and in FP32 otherwise."""
    spelling, decode = codec("F32")
    dtype = np.float16 if tensor.format == "FP16" else np.float32

    def read(start: int, stop: int) -> np.ndarray:
        values = change(tensor.rows(start, stop).astype(dtype), np.arange(start, stop), config)
        return values.astype(np.float32).view(np.uint8)

    return Tensor(tensor.name, tensor.shape, spelling, 4 * tensor.size, read, decode, tensor.file)


def mxfp4(codes: Tensor, scales: Tensor, name: str, shape: Shape, change: Change, config: Config) -> Tensor:
    """Blocks of MXFP4 as ggml lays them out, from codes (..., rows, blocks, 16) and scales (..., rows, blocks).

    A block is a scale byte and 16 bytes of codes: byte j holds values j and j + 16, where the source has 2i and 2i + 1.
    """
    spelling, decode = codec("MXFP4", ggml_type=MXFP4)
    blocks = shape[-1] // 32
    order = cache(lambda: change.row_order(shape, config))

    def read(start: int, stop: int) -> np.ndarray:
        rows = order()[start:stop]
        if not rows.size:
            return np.empty((0, 17 * blocks), np.uint8)
        low, high = int(rows.min()), int(rows.max()) + 1
        found = codes.read(low * blocks, high * blocks).reshape(-1, blocks, 16)[rows - low]
        values = np.stack([found & 15, found >> 4], axis=-1).reshape(-1, blocks, 2, 16)  # in the order of the row
        out = np.empty((len(rows), blocks, 17), np.uint8)
        out[..., 0] = scales.read(low, high).reshape(-1, blocks)[rows - low]
        out[..., 1:] = values[..., 0, :] | values[..., 1, :] << 4
        return out.reshape(len(rows), -1)

    nbytes = 17 * blocks * math.prod(shape[:-1])
    return Tensor(name, shape, spelling, nbytes, read, decode, codes.file)


def computed(name: str, values: np.ndarray) -> Tensor:
    """A one-row FP32 tensor that no file stores."""
    data = np.asarray(values, np.float32).view(np.uint8).reshape(1, -1)
    spelling, decode = codec("F32")
    return Tensor(name, values.shape, spelling, data.nbytes, lambda start, stop: data[start:stop], decode)
