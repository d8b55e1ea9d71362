"""Writing GGUF version 3 as a stream: the whole header first, then the tensors' bytes chunk by chunk, in order.

The bytes are those that llama.cpp writes: keys in the order given, dimensions without trailing ones, offsets and the
end of every tensor padded with zeros to the alignment. Source: gguf_write_out() in ggml's gguf.cpp.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from quantlib.checkpoints.base import MetadataValue, shown
from quantlib.checkpoints.gguf_file import Strings
from quantlib.checkpoints.gguf_types import (
    ARRAY,
    DEFAULT_ALIGNMENT,
    GGML_IDS,
    GGML_TYPES,
    NUMBER_DTYPES,
    STRING,
    VALUE_IDS,
    Limits,
    limits_of,
)
from quantlib.errors import CheckpointError


class TensorInfo(NamedTuple):
    """What the header says of a tensor: name, row-major shape, format by the catalogue's or ggml's name."""

    name: str
    shape: tuple[int, ...]
    format: str

    @property
    def nbytes(self) -> int:
        """Bytes of its data, without padding; CheckpointError where rows do not fill whole blocks."""
        _, values, block_bytes = self._type()
        row = self.shape[-1] if self.shape else 1
        if row % values:
            raise CheckpointError(
                f"{shown(self.name)} has rows of {row:,} weights, which {self.format} blocks of {values} do not fill."
            )
        return math.prod(self.shape) // values * block_bytes

    @property
    def ggml_type(self) -> int:
        """The id of its ggml type."""
        return self._type()[0]

    def _type(self) -> tuple[int, int, int]:
        kind = GGML_IDS.get(self.format)
        if kind is None:
            raise CheckpointError(f"GGUF cannot store {shown(self.name)} as {self.format}: no ggml type has that name.")
        return kind, *GGML_TYPES[kind][1:]


@dataclass(frozen=True)
class Layout:
    """A GGUF file before its data: the header's bytes with padding, and where each tensor lies in the data section."""

    header: bytes
    alignment: int
    tensors: tuple[TensorInfo, ...]
    offsets: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        if not self.tensors:
            return len(self.header)
        return self.end_of(len(self.tensors))

    def end_of(self, count: int) -> int:
        """Bytes up to the end of the first `count` tensors, with their padding."""
        if not count:
            return len(self.header)
        return len(self.header) + self.offsets[count - 1] + _padded(self.tensors[count - 1].nbytes, self.alignment)


def gguf_layout(metadata: Mapping[str, MetadataValue], tensors: Iterable[tuple[str, tuple[int, ...], str]]) -> Layout:
    """The header and the offsets of a GGUF file from (name, row-major shape, format) of its tensors, in order.

    Raises CheckpointError for what GGUF cannot hold: an unknown format, rows that do not fill whole blocks, a name
    beyond 63 bytes, more than 4 dimensions, a value that does not fit its type.
    """
    infos = tuple(TensorInfo(name, tuple(shape), format) for name, shape, format in tensors)
    alignment = int(metadata["general.alignment"].value) if "general.alignment" in metadata else DEFAULT_ALIGNMENT
    parts = [struct.pack("<4sIQQ", b"GGUF", 3, len(infos), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), encode_value(key, value)]
    offsets: list[int] = []
    names: set[str] = set()
    at, limits = 0, limits_of(metadata)
    for info in infos:
        if info.name in names:
            raise CheckpointError(f"GGUF cannot hold two tensors with the name {shown(info.name)}.")
        names.add(info.name)
        offsets.append(at)
        parts.append(_encode_info(info, at, limits))
        at += _padded(info.nbytes, alignment)
    header = b"".join(parts)
    return Layout(header + bytes(-len(header) % alignment), alignment, infos, tuple(offsets))


def gguf_size(metadata: Mapping[str, MetadataValue], tensors: Iterable[tuple[str, tuple[int, ...], str]]) -> int:
    """Bytes of the GGUF file with this metadata and these tensors (name, row-major shape, format)."""
    return gguf_layout(metadata, tensors).nbytes


class Writable(Protocol):
    """What takes bytes one after the other."""

    def write(self, data: Any, /) -> int: ...


class GGUFWriter:
    """Streams a GGUF file into an open binary file: the header at once, then data in the order of the layout.

    Give write() the bytes of the tensors one after the other, in pieces of any size; padding is written between them.
    done: so many tensors are in the file already, with the header, and it stands after them. finish() checks that
    nothing is missing. Renaming the file into place is the caller's.
    """

    def __init__(self, file: Writable, layout: Layout, done: int = 0):
        self._file, self._layout = file, layout
        self._index, self._written = done, 0
        if not done:
            file.write(layout.header)
        self._skip_empty()

    @property
    def current(self) -> TensorInfo | None:
        """The tensor whose bytes come next; None when all are written."""
        tensors = self._layout.tensors
        return tensors[self._index] if self._index < len(tensors) else None

    def write(self, data: bytes | memoryview | np.ndarray) -> None:
        """The next bytes of the current tensor; CheckpointError when they are more than it still takes."""
        view = np.ascontiguousarray(data).data.cast("B") if isinstance(data, np.ndarray) else memoryview(data)
        info = self.current
        left = info.nbytes - self._written if info else 0
        if view.nbytes > left:
            name = shown(info.name) if info else "the end of the file"
            raise CheckpointError(f"{view.nbytes:,} bytes were given for {name}, which takes {left:,} more.")
        self._file.write(view)
        self._written += view.nbytes
        if view.nbytes == left and info:
            self._end_tensor(info)
            self._skip_empty()

    def finish(self) -> None:
        """Checks that every tensor was written in full."""
        if self.current is not None:
            raise CheckpointError(
                f"{shown(self.current.name)} lacks {self.current.nbytes - self._written:,} of its "
                f"{self.current.nbytes:,} bytes, so the file is not complete."
            )

    def _end_tensor(self, info: TensorInfo) -> None:
        self._file.write(bytes(-info.nbytes % self._layout.alignment))
        self._index, self._written = self._index + 1, 0

    def _skip_empty(self) -> None:
        while self.current is not None and self.current.nbytes == 0:
            self._end_tensor(self.current)


def write_gguf(
    file: BinaryIO,
    metadata: Mapping[str, MetadataValue],
    tensors: Sequence[tuple[tuple[str, tuple[int, ...], str], Iterable[bytes | np.ndarray]]],
) -> None:
    """Writes a whole GGUF file: each tensor with its bytes in chunks, asked for only when their turn comes."""
    writer = GGUFWriter(file, gguf_layout(metadata, [info for info, _ in tensors]))
    for _, chunks in tensors:
        for chunk in chunks:
            writer.write(chunk)
    writer.finish()


def encode_value(key: str, value: MetadataValue) -> bytes:
    """A metadata value as GGUF stores it: the id of its type, then the value; CheckpointError where it does not fit."""
    try:
        if not value.type.startswith("array["):
            return struct.pack("<I", VALUE_IDS[value.type]) + _encode(value.type, value.value)
        element = value.type[len("array[") : -1]
        head = struct.pack("<IIQ", ARRAY, VALUE_IDS[element], len(value.value))
        if isinstance(value.value, Strings):
            return head + value.value.encoded.tobytes()
        if VALUE_IDS[element] == STRING:
            return head + b"".join(map(_string, value.value))
        return head + np.asarray(value.value, NUMBER_DTYPES[VALUE_IDS[element]]).tobytes()
    except (KeyError, struct.error, OverflowError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"GGUF cannot store the metadata value {shown(key)} as {value.type}: {error}.") from None


def _encode(type_name: str, value: Any) -> bytes:
    if type_name == "string":
        return _string(value)
    return struct.pack("<" + _STRUCT[type_name], value)


_STRUCT = {
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "float32": "f",
    "bool": "?",
    "uint64": "Q",
    "int64": "q",
    "float64": "d",
}


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _encode_info(info: TensorInfo, offset: int, limits: Limits) -> bytes:
    name = info.name.encode("utf-8")
    if len(name) > limits.name:
        raise CheckpointError(f"GGUF names have at most {limits.name} bytes, and {shown(info.name)} has {len(name)}.")
    ne = list(reversed(info.shape)) or [1]
    while len(ne) > 1 and ne[-1] == 1 and not limits.exact:
        ne.pop()
    if len(ne) > limits.dims:
        raise CheckpointError(
            f"GGUF tensors have at most {limits.dims} dimensions, and {shown(info.name)} has {len(ne)}."
        )
    return struct.pack(f"<Q{len(name)}sI{len(ne)}QIQ", len(name), name, len(ne), *ne, info.ggml_type, offset)


def _padded(nbytes: int, alignment: int) -> int:
    return -(-nbytes // alignment) * alignment
