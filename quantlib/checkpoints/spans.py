"""Arrays in files that do not lie row after row: transposed, strided, in another byte order, or compressed.

A span is the bytes of one array or storage, wherever they come from. From a span, a shape and strides comes a tensor
whose rows are read when they are asked for, in memory that depends on the rows and not on the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.checkpoints.base import StoredFile, Tensor, mapped_tensor
from quantlib.checkpoints.codecs import codec

FEW = 1 << 14  # bytes that are read whole, however few of them are wanted
MANY = 1 << 22  # bytes that are read at once, at most
SPARSE = 4  # times more bytes are read than are wanted, at most

# Bits of one value by spelling, of types beside those of safetensors.
MORE_BITS = {"I4": 4, "U4": 4, "C128": 128, "F128": 128}


@dataclass(frozen=True)
class Span:
    """Bytes that hold an array. start: where they begin in the file, None where they are compressed."""

    file: StoredFile
    size: int
    start: int | None
    read: Callable[[int, int], np.ndarray]  # (start, stop) within the span -> uint8, read-only


def stored_span(file: StoredFile, start: int, size: int) -> Span:
    """Bytes of a file as they are."""
    return Span(file, size, start, lambda a, b: file.read(start + a, start + b))


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in values, of an array whose rows lie one after the other."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Values from the first to the last of an array, both included; 0 where it is empty."""
    return 0 if 0 in shape else 1 + sum((d - 1) * s for d, s in zip(shape, strides, strict=True))


def tensor_of(
    span: Span,
    name: str,
    spelling: str,
    itemsize: int,
    shape: tuple[int, ...],
    strides: Sequence[int] | None = None,
    offset: int = 0,
    swapped: bool = False,
) -> Tensor:
    """A tensor in a span, which is known to hold it. offset and strides count values; swapped: most significant first.

    spelling: the type of its values, as safetensors spells it where it has it.
    """
    known, decode = codec(spelling)
    strides = row_major(shape) if strides is None else tuple(strides)
    nbytes = math.prod(shape) * itemsize
    straight = not nbytes or all(d == 1 or s == c for d, s, c in zip(shape, strides, row_major(shape), strict=True))
    if straight and span.start is not None and not swapped:
        return mapped_tensor(span.file, name, shape, known, span.start + offset * itemsize, nbytes, decode)
    columns = shape[-1] if shape else 1
    leading, last = (shape[:-1], strides[-1]) if shape else ((), 1)

    def read(start: int, stop: int) -> np.ndarray:
        if straight:
            first = offset + start * columns
            out = span.read(first * itemsize, (first + (stop - start) * columns) * itemsize)
        else:
            parts = []
            for box in boxes(leading, start, stop):
                at = offset + sum(a * s for (a, _), s in zip(box, strides, strict=False))
                extents = (*(b - a for a, b in box), columns)
                parts.append(gathered(span.read, itemsize, extents, (*strides[:-1], last), at).reshape(-1))
            out = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if swapped and itemsize > 1:
            out = out.reshape(-1, itemsize)[:, ::-1].reshape(-1)
        return out.reshape(stop - start, columns * itemsize)

    start = span.start + offset * itemsize if span.start is not None and straight else None
    return Tensor(name, shape, known, nbytes, read, decode, span.file.path.name, start)


def boxes(dims: Sequence[int], start: int, stop: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Rows start..stop, counted over all dims, as boxes: a range for each dim. At most two for each dim."""
    if not dims:
        if start < stop:
            yield ()
        return
    inner = math.prod(dims[1:])
    if start >= stop or not inner:
        return
    (a, head), (b, tail) = divmod(start, inner), divmod(stop, inner)
    if a == b:
        yield from (((a, a + 1), *box) for box in boxes(dims[1:], head, tail))
        return
    if head:
        yield from (((a, a + 1), *box) for box in boxes(dims[1:], head, inner))
        a += 1
    if a < b:
        yield ((a, b), *((0, d) for d in dims[1:]))
    if tail:
        yield from (((b, b + 1), *box) for box in boxes(dims[1:], 0, tail))


def gathered(
    read: Callable[[int, int], np.ndarray], itemsize: int, shape: Sequence[int], strides: Sequence[int], offset: int
) -> np.ndarray:
    """The values of a strided box, row-major: uint8 (*shape, itemsize).

    The box is halved until reading what lies between its first and its last value wastes little.
    """
    out = np.empty((*shape, itemsize), np.uint8)
    waiting = [(out, tuple(shape), offset)]
    while waiting:
        part, dims, at = waiting.pop()
        wanted, spread = math.prod(dims) * itemsize, extent(dims, strides) * itemsize
        if not wanted:
            continue
        if spread <= FEW or spread <= min(MANY, SPARSE * wanted):
            data = read(at * itemsize, at * itemsize + spread)
            steps = (*(s * itemsize for s in strides), 1)
            part[...] = np.lib.stride_tricks.as_strided(data, (*dims, itemsize), steps, writeable=False)
            continue
        axis = max(range(len(dims)), key=lambda i: (dims[i] - 1) * strides[i])
        half = dims[axis] // 2
        before, after = (slice(None),) * axis, dims[axis + 1 :]
        waiting.append((part[(*before, slice(half, None))], (*dims[:axis], dims[axis] - half, *after),
                        at + half * strides[axis]))  # fmt: skip
        waiting.append((part[(*before, slice(None, half))], (*dims[:axis], half, *after), at))
    return out
