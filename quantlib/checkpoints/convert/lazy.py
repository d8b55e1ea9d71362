"""Tensors made of other tensors, row by row and when they are read: no more is held than what is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.codecs import codec

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


def permuted(tensor: Tensor, name: str, heads: int) -> Tensor:
    """A q or k projection with the rows of each head interleaved: the two halves of a head become neighbours.

    transformers rotates a head's value i with i + d/2, llama.cpp 2i with 2i + 1: row 2i + j of a head comes from row
    j * d/2 + i. Rows are gathered when they are read.
    """
    count = tensor.shape[0]
    half = count // heads // 2
    source = np.arange(count).reshape(heads, 2, half)  # (heads, halves, i)
    source = source.swapaxes(1, 2).reshape(-1)  # (heads, i, halves), flat
    if len(tensor.shape) == 1:

        def read(start: int, stop: int) -> np.ndarray:
            data = tensor.read(start, stop)
            return data.reshape(-1, count, data.shape[-1] // count)[:, source].reshape(stop - start, -1)
    else:

        def read(start: int, stop: int) -> np.ndarray:
            rows = source[start:stop]
            if not rows.size:
                return tensor.read(start, stop)
            low = int(rows.min())
            return tensor.read(low, int(rows.max()) + 1)[rows - low]

    return replace(tensor, name=name, read=read)


def transposed(tensor: Tensor, name: str) -> Tensor:
    """A matrix with rows and columns exchanged; a read gathers its columns from all rows of the source."""
    rows, columns = tensor.shape
    size = row_bytes(tensor) // columns  # bytes of a value

    def read(start: int, stop: int) -> np.ndarray:
        values = tensor.read(0, rows).reshape(rows, columns, size)
        return np.ascontiguousarray(values[:, start:stop].swapaxes(0, 1)).reshape(stop - start, rows * size)

    return replace(tensor, name=name, shape=(columns, rows), read=read)


def plus_one(tensor: Tensor, name: str) -> Tensor:
    """The tensor with 1 added to each value, in half precision where it is stored so and in FP32 otherwise."""
    spelling, decode = codec("F32")
    dtype = np.float16 if tensor.format == "FP16" else np.float32

    def read(start: int, stop: int) -> np.ndarray:
        values = tensor.rows(start, stop).astype(dtype) + dtype(1)
        return values.astype(np.float32).view(np.uint8)

    return Tensor(name, tensor.shape, spelling, 4 * tensor.size, read, decode, tensor.file)


def computed(name: str, values: np.ndarray) -> Tensor:
    """A one-row FP32 tensor that no file stores."""
    data = np.asarray(values, np.float32).view(np.uint8).reshape(1, -1)
    spelling, decode = codec("F32")
    return Tensor(name, values.shape, spelling, data.nbytes, lambda start, stop: data[start:stop], decode)
