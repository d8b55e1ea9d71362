"""ONNX models: the initializers of the graph, which are its weights, as tensors. What the graph computes is not read.

The file is a message of protocol buffers, walked in place: fields that are not needed are stepped over. Weights may lie
in a file beside it, which is named and checked. Source: onnx/onnx.proto and docs/ExternalData.md of ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, shown
from quantlib.checkpoints.codecs import codec
from quantlib.checkpoints.safetensors_file import MAX_DIMS, MAX_TENSORS
from quantlib.checkpoints.spans import MORE_BITS, stored_span, tensor_of
from quantlib.checkpoints.untrusted import plain_name

MAX_FIELDS = 1 << 22  # of the model and its graph; the largest graphs have some 100,000 nodes
MAX_FILES = 4096
MAX_SMALL = 1 << 22  # bytes of numbers of varying length, as small tensors have them
SHARED = 16  # times that the files' bytes may be used by the tensors in all
GRAPH, INITIALIZER, BESIDE = 7, 5, 1
DIMS, TYPE, FLOATS, INTS, LONGS, NAME, RAW, DOUBLES, ULONGS, EXTERNAL, LOCATION = 1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14

# What ONNX numbers its types -> how safetensors spells them, and the bits of one value.
TYPES = {
    1: ("F32", 32), 2: ("U8", 8), 3: ("I8", 8), 4: ("U16", 16), 5: ("I16", 16), 6: ("I32", 32), 7: ("I64", 64),
    9: ("BOOL", 8), 10: ("F16", 16), 11: ("F64", 64), 12: ("U32", 32), 13: ("U64", 64), 14: ("C64", 64),
    15: ("C128", 128), 16: ("BF16", 16), 17: ("F8_E4M3", 8), 18: ("F8_E4M3FNUZ", 8), 19: ("F8_E5M2", 8),
    20: ("F8_E5M2FNUZ", 8), 21: ("U4", 4), 22: ("I4", 4), 23: ("F4", 4), 24: ("F8_E8M0", 8),
}  # fmt: skip
TEXT = 8  # the type of tensors of text, which are no weights


def open_onnx(path: Path) -> Checkpoint:
    """An ONNX model as a checkpoint of its initializers: kind "onnx". Raises CheckpointError for what does not hold."""
    files: list[MappedFile] = [MappedFile(path)]
    try:
        tensors, warnings = _Model(files).read()
        for file in files:
            file.unmap()
    except BaseException:
        for file in files:
            file.close()
        raise
    return Checkpoint(path, "onnx", {}, None, tensors, tuple(warnings), tuple(files))


@dataclass
class _Initializer:
    """What a TensorProto says. parts: (field, start, stop) of the bytes of its values."""

    name: str = ""
    type: int = 0
    shape: list[int] = field(default_factory=list)
    parts: list[tuple[int, int, int]] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    outside: bool = False


class _Model:
    """A walk over the message."""

    def __init__(self, files: list[MappedFile]):
        self.files, self.file, self.path = files, files[0], files[0].path
        self.data, self.fields = self.file.buffer, 0
        self.beside: dict[str, MappedFile] = {}

    def read(self) -> tuple[dict[str, Tensor], list[str]]:
        tensors: dict[str, Tensor] = {}
        left = []
        graphs = 0
        for number, start, stop in self._fields(0, self.file.size):
            if number != GRAPH or stop is None:
                continue
            graphs += 1
            for inner, first, last in self._fields(start, stop):
                if inner != INITIALIZER or last is None:
                    continue
                found = self._initializer(first, last)
                if found.name in tensors:
                    raise fault(self.path, f"holds two weights of the name {shown(found.name)}.")
                if len(tensors) >= MAX_TENSORS:
                    raise fault(self.path, f"holds more than {MAX_TENSORS:,} weights; no checkpoint has more.")
                if found.type == TEXT:
                    left.append(found.name)
                else:
                    tensors[found.name] = self._tensor(found)
        if not graphs:
            raise fault(self.path, "is no model in ONNX: it holds no graph.")
        if not tensors:
            raise fault(self.path, "holds a graph in ONNX without weights of its own.")
        total, there = sum(t.nbytes for t in tensors.values()), sum(f.size for f in self.files)
        if total > SHARED * there:
            raise fault(self.path, f"describes weights of {total:,} bytes, over {SHARED} times those in its files.")
        warnings = [f"Weights that are texts are left out: {', '.join(map(shown, left[:4]))}."] if left else []
        return tensors, warnings

    # --- protocol buffers ---

    def _broken(self, at: int) -> Exception:
        return fault(self.path, f"is no model in ONNX, or a damaged one: it makes no sense at byte {at:,}.")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for i in range(10):
            if at + i >= end:
                break
            byte = self.data[at + i]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                return value & 2**64 - 1, at + i + 1
        raise self._broken(at)

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """(number, start, stop) of each field with bytes; (number, value, None) of each with a number."""
        while at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise fault(self.path, f"holds more than {MAX_FIELDS:,} parts, which no model has.")
            tag, at = self._varint(at, end)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = self._varint(at, end)
                yield number, value, None
                continue
            length = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                length, at = self._varint(at, end)
            if length is None or not number or at + length > end:
                raise self._broken(at)
            yield number, at, at + length
            at += length

    def _string(self, start: int, stop: int) -> str:
        if stop - start > 4096:
            raise fault(self.path, f"holds a name of {stop - start:,} bytes, longer than any.")
        try:
            return bytes(self.data[start:stop]).decode("utf-8")
        except UnicodeDecodeError:
            raise self._broken(start) from None

    def _initializer(self, start: int, stop: int) -> _Initializer:
        found = _Initializer()
        for number, at, end in self._fields(start, stop):
            if number == DIMS:
                found.shape += [at] if end is None else self._varints(at, end)
                if len(found.shape) > MAX_DIMS or any(d >= 2**62 for d in found.shape):
                    raise fault(self.path, f"gives {shown(found.name)} more, or larger, dimensions than are read.")
            elif number == TYPE and end is None:
                found.type = at
            elif number == LOCATION and end is None:
                found.outside = at == BESIDE
            elif number == NAME and end is not None:
                found.name = self._string(at, end)
            elif number == EXTERNAL and end is not None:
                pair = {n: self._string(a, b) for n, a, b in self._fields(at, end) if b is not None}
                found.external[pair.get(1, "")] = pair.get(2, "")
            elif number in (FLOATS, INTS, LONGS, RAW, DOUBLES, ULONGS):
                if end is None or len(found.parts) == 1:
                    raise fault(self.path, f"gives the values of {shown(found.name)} in several pieces; not read.")
                found.parts.append((number, at, end))
        return found

    def _varints(self, at: int, end: int) -> list[int]:
        values: list[int] = []
        while at < end and len(values) <= MAX_DIMS:
            value, at = self._varint(at, end)
            values.append(value)
        return values

    # --- tensors ---

    def _tensor(self, found: _Initializer) -> Tensor:
        name = found.name
        if found.type not in TYPES:
            raise fault(self.path, f"stores {shown(name)} as the type {found.type}, which is none of ONNX's numbers.")
        spelling, bits = TYPES[found.type]
        shape = tuple(found.shape)
        nbytes = -(-math.prod(shape) * bits // 8)
        if found.outside:
            return self._outside(found, shape, spelling, bits, nbytes)
        number, start, stop = found.parts[0] if found.parts else (RAW, 0, 0)
        if number in (INTS, LONGS, ULONGS):
            return self._varied(found, shape, spelling, bits, nbytes, start, stop)
        if stop - start != nbytes or (number == FLOATS and spelling not in ("F32", "C64")):
            raise self._other_size(name, nbytes, stop - start)
        return _straight(self.file, name, spelling, bits, shape, start, nbytes)

    def _other_size(self, name: str, nbytes: int, there: int) -> Exception:
        takes = f"{nbytes:,}" if nbytes < 2**64 else "over 2^64"
        return fault(self.path, f"gives {shown(name)} a shape of {takes} bytes, but {there:,} bytes of values.")

    def _outside(self, found: _Initializer, shape: tuple[int, ...], spelling: str, bits: int, nbytes: int) -> Tensor:
        """A tensor whose bytes lie in a file beside the model."""
        place = found.external.get("location", "")
        name = place.removeprefix("./")
        if not plain_name(name):
            raise fault(
                self.path, f"keeps {shown(found.name)} in {shown(place)}, which is no plain name of a file beside it."
            )
        if name not in self.beside:
            if len(self.beside) >= MAX_FILES:
                raise fault(self.path, f"names more than {MAX_FILES:,} files beside it.")
            if not (self.path.parent / name).is_file():
                raise fault(self.path, f"keeps its weights in {shown(name)}, which is not there; put it beside this.")
            self.beside[name] = MappedFile(self.path.parent / name)
            self.files.append(self.beside[name])
        file = self.beside[name]
        start = _whole(found.external.get("offset", ""), 0)
        length = _whole(found.external.get("length", ""), nbytes)
        if length != nbytes or not 0 <= start <= file.size - nbytes:
            raise fault(
                self.path,
                f"places {shown(found.name)} at byte {start:,} of {shown(name)}, which has {file.size:,} bytes, in "
                f"{length:,} bytes: that is not where its shape fits.",
            )
        return _straight(file, found.name, spelling, bits, shape, start, nbytes)

    def _varied(
        self, found: _Initializer, shape: tuple[int, ...], spelling: str, bits: int, nbytes: int, start: int, stop: int
    ) -> Tensor:
        """A tensor whose values are numbers of varying length; they are small."""
        size, file = math.prod(shape), self.file
        if stop - start > MAX_SMALL or size > stop - start or bits < 8:
            raise self._other_size(found.name, nbytes, stop - start)
        known, decode = codec(spelling)
        columns = shape[-1] if shape else 1
        row = columns * bits // 8
        dtype = np.dtype(f"<u{bits // 8}")
        if _count(file.bytes(start, stop)) != size:
            raise self._other_size(found.name, nbytes, stop - start)

        def read(a: int, b: int) -> np.ndarray:
            values = _numbers(file.read(start, stop))[a * columns : b * columns]
            return values.astype(dtype).view(np.uint8).reshape(b - a, row)

        return Tensor(found.name, shape, known, nbytes, read, decode, file.path.name)


def _whole(text: str, or_else: int) -> int:
    """A number in words, the other one where there is none, and -1 for anything else."""
    if not text:
        return or_else
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def _straight(
    file: StoredFile, name: str, spelling: str, bits: int, shape: tuple[int, ...], start: int, nbytes: int
) -> Tensor:
    """A tensor whose rows lie one after the other."""
    if bits % 8 == 0:
        return tensor_of(stored_span(file, start, nbytes), name, spelling, bits // 8, shape)
    known, decode = codec(spelling) if spelling not in MORE_BITS else (spelling, None)
    columns = shape[-1] if shape else 1
    if columns % 2:
        decode = None
    row = columns * bits // 8

    def read(a: int, b: int) -> np.ndarray:
        if columns % 2:
            raise fault(file.path, f"stores {shown(name)} with rows that do not end on a whole byte.")
        return file.read(start + a * row, start + b * row).reshape(b - a, row)

    return Tensor(name, shape, known, nbytes, read, decode, file.path.name, start)


def _count(data: np.ndarray) -> int:
    """How many numbers of varying length there are: each ends in a byte without the highest bit."""
    return int(np.count_nonzero(data < 128)) if not len(data) or data[-1] < 128 else -1


def _numbers(data: np.ndarray) -> np.ndarray:
    """Numbers of varying length, seven bits a byte, as uint64 (n)."""
    ends = np.flatnonzero(data < 128)
    if not len(ends):
        return np.empty(0, np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
    bits = (data.astype(np.uint64) & np.uint64(127)) << np.minimum(7 * place, 63).astype(np.uint64)
    return np.add.reduceat(bits, starts)
