"""GGUF files, versions 2 and 3, little-endian: metadata, tensor infos, aligned data.

Nothing in the header is believed before it is checked against the file: counts against the bytes that are left, lengths
before they are read, offsets before they are used. Arrays stay where they are, so a vocabulary costs one walk over its
lengths and nothing more. Source: ggml's docs/gguf.md, and the checks of gguf_init_from_reader().
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from quantlib.checkpoints.base import (
    Checkpoint,
    MappedFile,
    MetadataValue,
    StoredFile,
    Tensor,
    fault,
    mapped_tensor,
    shown,
)
from quantlib.checkpoints.codecs import codec
from quantlib.checkpoints.gguf_types import (
    ARRAY,
    DEFAULT_ALIGNMENT,
    GGML_TYPES,
    MOST_DIMS,
    NUMBER_DTYPES,
    STRING,
    VALUE_TYPES,
    Limits,
    foreign_type,
    limits_of,
)

MAX_KEY = 65_535  # bytes, GGUF's own limit
MAX_STRINGS = 2**22  # of all arrays of strings together; the largest vocabulary with its merges has 0.8 million
MAX_KEYS = 2**16
MAX_TEXT = 2**26  # bytes of one value; the longest chat templates have some 100,000
MAX_TENSORS = 2**18
UNKNOWN = -1  # bytes of a tensor whose type is not known

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_INFOS = tuple(struct.Struct(f"<{n_dims}QIQ") for n_dims in range(MOST_DIMS + 1))  # dimensions, ggml type, offset


def open_gguf(path: Path) -> Checkpoint:
    """A GGUF file as a checkpoint: kind "gguf", metadata as MetadataValue by key, tensors in file order.

    Shapes are GGUF's dimensions reversed, so that rows come first. Given the first part of a split file, all parts are
    opened. Raises CheckpointError for every header that does not hold: one sentence with file, key or tensor, numbers.
    """
    return checkpoint_of_parts(path, *open_parts(path))


class HeaderContinues(Exception):
    """The header goes on beyond the bytes of the file that are known: `needed` bytes, at least."""

    def __init__(self, needed: int) -> None:
        self.needed = needed


def checkpoint_of_parts(
    path: Path, metadata: Mapping[str, MetadataValue], tensors: Mapping[str, Tensor], files: tuple[StoredFile, ...]
) -> Checkpoint:
    """The checkpoint of what open_parts() found."""
    architecture = metadata.get("general.architecture")
    name = architecture.value if architecture and isinstance(architecture.value, str) else None
    return Checkpoint(path, "gguf", metadata, name, tensors, files=files)


def open_parts(
    path: Path,
    open_file: Callable[[Path], StoredFile] = MappedFile,
    further: Callable[[StoredFile, HeaderContinues], None] | None = None,
) -> tuple[dict[str, MetadataValue], dict[str, Tensor], tuple[StoredFile, ...]]:
    """Metadata of the first file, tensors of all: a split file names its parts by number, beside each other.

    open_file: opens each part. further: makes more of a file known, of which only the start is.
    """
    files: list[StoredFile] = []

    def read() -> tuple[dict[str, MetadataValue], dict[str, Tensor]]:
        while True:
            try:
                return _Reader(files[-1]).read()
            except HeaderContinues as error:
                if further is None:
                    raise
                further(files[-1], error)

    try:
        files.append(open_file(path))
        metadata, tensors = read()
        for number, part in enumerate(_other_parts(path, metadata), start=1):
            files.append(open_file(part))
            other, more = read()
            files[-1].unmap()
            if len(tensors) + len(more) > MAX_TENSORS:
                raise fault(path, f"has parts with more than {MAX_TENSORS:,} tensors in all; no checkpoint has more.")
            if (said := _whole(other, "split.no")) != number:
                raise fault(part, f"says it is part number {said} of its split file, where {number} belongs.")
            for name, tensor in more.items():
                if name in tensors:
                    raise fault(part, f"holds the tensor {shown(name)}, which {shown(tensors[name].file)} has too.")
                tensors[name] = tensor
        if len(files) > 1 and (count := _whole(metadata, "split.tensors.count")) != len(tensors):
            raise fault(path, f"says its parts hold {count} tensors together, but they hold {len(tensors):,}.")
    except BaseException:
        for file in files:
            file.close()
        raise
    return metadata, tensors, tuple(files)


def _other_parts(path: Path, metadata: dict[str, MetadataValue]) -> list[Path]:
    """The files that follow the first of a split file; none where it is whole."""
    count = _whole(metadata, "split.count") or 1
    if count <= 1:
        return []
    name = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", path.name, re.DOTALL)
    if _whole(metadata, "split.no") != 0 or not name or int(name.group(2)) != count:
        raise fault(
            path,
            f"is one of {count:,} parts of a split file; open the first, whose name ends in -00001-of-{count:05}.gguf.",
        )
    return [path.with_name(f"{name.group(1)}-{i:05}-of-{count:05}.gguf") for i in range(2, count + 1)]


def _whole(metadata: dict[str, MetadataValue], key: str) -> int | None:
    """The integer under a key, None where there is none."""
    value = metadata[key].value if key in metadata else None
    return value if type(value) is int else None


class Strings(Sequence[str]):
    """A GGUF array of strings, left in the file: its length is known, its strings are found when one is asked for.

    Bytes that are no UTF-8 are shown as U+FFFD; `encoded` keeps the array's bytes exactly as they are stored.
    """

    def __init__(self, file: StoredFile, start: int, stop: int, count: int):
        self._file, self._start, self._stop, self._count = file, start, stop, count
        self._starts: np.ndarray | None = None

    @property
    def encoded(self) -> np.ndarray:
        """Lengths and bytes of all strings, as stored: uint8."""
        return self._file.bytes(self._start, self._stop)

    def __len__(self) -> int:
        return self._count

    def _at(self) -> np.ndarray:
        if self._starts is None:
            data, at, unpack = self.encoded.tobytes(), 0, _U64.unpack_from
            starts = np.empty(self._count, dtype=np.int64)
            for i in range(self._count):
                starts[i] = at
                at += 8 + unpack(data, at)[0]
            self._starts = starts
        return self._starts

    def _text(self, data: np.ndarray, at: int) -> str:
        length = _U64.unpack(data[at : at + 8].tobytes())[0]
        return data[at + 8 : at + 8 + length].tobytes().decode("utf-8", errors="replace")

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        data, starts = self.encoded, self._at()
        if isinstance(index, slice):
            return [self._text(data, at) for at in starts[index].tolist()]
        return self._text(data, int(starts[index]))

    def __iter__(self) -> Iterator[str]:
        data, at = self.encoded.tobytes(), 0
        for _ in range(self._count):
            end = at + 8 + _U64.unpack_from(data, at)[0]
            yield data[at + 8 : end].decode("utf-8", errors="replace")
            at = end

    def __repr__(self) -> str:
        return f"<{self._count:,} strings>"


_What = tuple[str, str | int]  # what is being read, for messages: put in words only when something is wrong


def _said(what: _What) -> str:
    return what[0] + (shown(what[1]) if isinstance(what[1], str) else f"{what[1]:,}")


class _Reader:
    """A cursor over a GGUF header; every read is bounded by the file."""

    def __init__(self, file: StoredFile):
        self.file, self.path, self.data, self.size, self.at = file, file.path, file.buffer, file.size, 0
        self.known = file.known
        self.strings = 0

    def read(self) -> tuple[dict[str, MetadataValue], dict[str, Tensor]]:
        n_tensors, n_keys = self._counts()
        metadata: dict[str, MetadataValue] = {}
        for i in range(n_keys):
            key = self._text(MAX_KEY, ("the name of metadata key ", i + 1))
            if not key:
                raise fault(self.path, f"has an empty name for its metadata key {i + 1:,}.")
            if key in metadata:
                raise fault(self.path, f"has the metadata key {shown(key)} twice.")
            metadata[key] = self._value(key)
        alignment, limits = self._alignment(metadata), limits_of(metadata)
        infos: dict[str, tuple[tuple[int, ...], int, int, int]] = {}
        for i in range(n_tensors):
            name = self._text(limits.name, ("the name of tensor ", i + 1))
            if name in infos:
                raise fault(self.path, f"describes the tensor {shown(name)} twice.")
            infos[name] = self._info(name, alignment, limits)
        data_start = -(-self.at // alignment) * alignment
        infos = self._with_sizes(infos, max(self.size - data_start, 0))
        self._check_layout(infos, data_start)
        tensors = {}
        for name, (shape, kind, offset, nbytes) in infos.items():
            spelling, decode = codec(GGML_TYPES[kind][0], kind) if kind in GGML_TYPES else (foreign_type(kind), None)
            tensors[name] = mapped_tensor(self.file, name, shape, spelling, data_start + offset, nbytes, decode)
        return metadata, tensors

    def _counts(self) -> tuple[int, int]:
        if self.size < 24:
            raise fault(self.path, f"is {self.size:,} bytes long, too short for the 24-byte start of a GGUF file.")
        if self.data[:4] != b"GGUF":
            raise fault(self.path, "does not start with the letters GGUF, so it is no GGUF file.")
        version = _U32.unpack_from(self.data, 4)[0]
        if version and version & 0xFFFF == 0:
            raise fault(self.path, "is a big-endian GGUF file; only little-endian ones are read, so convert it again.")
        if version == 1:
            raise fault(
                self.path, "is GGUF version 1, which llama.cpp no longer reads either; convert the model again."
            )
        if version not in (2, 3):
            raise fault(self.path, f"is GGUF version {version:,}; versions 2 and 3 are read.")
        n_tensors, n_keys = struct.unpack_from("<QQ", self.data, 8)
        self.at = 24
        # The shortest key takes 13 bytes (an empty name, a type, one byte), the shortest tensor info 24.
        for count, what, least, limit in (
            (n_keys, "metadata keys", 13, MAX_KEYS),
            (n_tensors, "tensors", 24, MAX_TENSORS),
        ):
            if count * least > self.size - 24:
                raise fault(self.path, f"claims {count:,} {what}, more than its {self.size:,} bytes can hold.")
            if count > limit:
                raise fault(self.path, f"claims {count:,} {what}, more than the {limit:,} that are read.")
        return n_tensors, n_keys

    def _take(self, count: int, what: _What) -> int:
        """Moves over `count` bytes that belong to `what`; returns where they start."""
        at = self.at
        if count > self.size - at:
            left = self.size - at
            raise fault(self.path, f"ends inside {_said(what)}: {count:,} bytes belong there and {left:,} are left.")
        self.at = at + count
        if self.at > self.known:
            raise HeaderContinues(self.at)
        return at

    def _u32(self, what: _What) -> int:
        return _U32.unpack_from(self.data, self._take(4, what))[0]

    def _u64(self, what: _What) -> int:
        return _U64.unpack_from(self.data, self._take(8, what))[0]

    def _text(self, limit: int, what: _What) -> str:
        length = self._u64(what)
        if length > limit:
            raise fault(self.path, f"gives {_said(what)} {length:,} bytes, more than the {limit:,} that are allowed.")
        at = self._take(length, what)
        try:
            return bytes(self.data[at : at + length]).decode("utf-8")
        except UnicodeDecodeError:
            raise fault(self.path, f"has bytes in {_said(what)} that are not valid UTF-8.") from None

    def _value(self, key: str) -> MetadataValue:
        what = ("the metadata value ", key)
        kind = self._u32(what)
        if kind == ARRAY:
            return self._array(key, what)
        if kind == STRING:
            length = self._u64(what)
            if MAX_TEXT < length <= self.size - self.at:
                raise fault(
                    self.path,
                    f"gives {_said(what)} {length:,} bytes of text, more than the {MAX_TEXT:,} that are read.",
                )
            at = self._take(length, what)
            # A value, unlike a name, is only shown: wrong bytes in it are no reason to refuse the file.
            return MetadataValue("string", bytes(self.data[at : at + length]).decode("utf-8", errors="replace"))
        if kind not in VALUE_TYPES:
            raise fault(self.path, f"gives {shown(key)} the value type {kind:,}, which GGUF does not have.")
        dtype = NUMBER_DTYPES[kind]
        value = np.frombuffer(self.data, dtype, 1, self._take(dtype.itemsize, what))[0].item()
        return MetadataValue(VALUE_TYPES[kind], bool(value) if VALUE_TYPES[kind] == "bool" else value)

    def _array(self, key: str, what: _What) -> MetadataValue:
        kind, count = self._u32(what), self._u64(what)
        left = self.size - self.at
        if kind == ARRAY:
            raise fault(self.path, f"makes {shown(key)} an array of arrays, which llama.cpp does not load either.")
        if kind not in VALUE_TYPES:
            raise fault(self.path, f"gives {shown(key)} elements of type {kind:,}, which GGUF does not have.")
        least = 8 if kind == STRING else NUMBER_DTYPES[kind].itemsize
        if count > left // least:
            raise fault(self.path, f"claims {count:,} elements for {shown(key)}, but only {left:,} bytes are left.")
        type_name = f"array[{VALUE_TYPES[kind]}]"
        if kind == STRING:
            return MetadataValue(type_name, self._string_array(key, count))
        at = self._take(count * least, what)
        values = self.file.bytes(at, self.at).view(NUMBER_DTYPES[kind])
        return MetadataValue(type_name, values.astype(np.bool_) if VALUE_TYPES[kind] == "bool" else values)

    def _string_array(self, key: str, count: int) -> Strings:
        self.strings += count
        if self.strings > MAX_STRINGS:
            raise fault(
                self.path,
                f"has arrays with {self.strings:,} strings up to {shown(key)}, more than the {MAX_STRINGS:,} read.",
            )
        start = at = self.at
        data, unpack, last = self.data, _U64.unpack_from, self.known - 8
        for i in range(count):
            if at > last:
                if self.known < self.size:
                    raise HeaderContinues(min(at + 8, self.size))
                raise fault(self.path, f"ends inside the string {i:,} of the {count:,} of {shown(key)}.")
            at += 8 + unpack(data, at)[0]
        if at > self.size:
            raise fault(self.path, f"ends inside the last of the {count:,} strings of {shown(key)}.")
        if at > self.known:
            raise HeaderContinues(at)
        self.at = at
        return Strings(self.file, start, at, count)

    def _alignment(self, metadata: dict[str, MetadataValue]) -> int:
        value = metadata.get("general.alignment", MetadataValue("uint32", DEFAULT_ALIGNMENT))
        if value.type != "uint32":
            raise fault(self.path, f"has a 'general.alignment' of type {value.type}, where uint32 belongs.")
        if not 1 <= value.value <= 2**20 or value.value & (value.value - 1):
            raise fault(
                self.path, f"has a 'general.alignment' of {value.value:,}, where a power of two to 1,048,576 belongs."
            )
        return value.value

    def _info(self, name: str, alignment: int, limits: Limits) -> tuple[tuple[int, ...], int, int, int]:
        """(shape, ggml type, offset, bytes) of the next tensor info."""
        what = ("the description of the tensor ", name)
        n_dims = self._u32(what)
        if n_dims > limits.dims:
            raise fault(self.path, f"gives {shown(name)} {n_dims:,} dimensions, more than the {limits.dims} of ggml.")
        info = _INFOS[n_dims]
        *ne, kind, offset = info.unpack_from(self.data, self._take(info.size, what))
        weights = math.prod(ne)
        if weights >= 2**63 or (ne and max(ne) >= 2**63):
            raise fault(self.path, f"gives {shown(name)} the dimensions {tuple(ne)}, whose product is beyond 2^63.")
        if offset % alignment:
            raise fault(self.path, f"places {shown(name)} at offset {offset:,}, which is no multiple of {alignment:,}.")
        if kind not in GGML_TYPES:
            return tuple(reversed(ne)), kind, offset, UNKNOWN
        type_name, values, block_bytes = GGML_TYPES[kind]
        if (ne[0] if ne else 1) % values:
            row = ne[0] if ne else 1
            raise fault(
                self.path,
                f"gives {shown(name)} rows of {row:,} weights, which {type_name} blocks of {values} do not fill.",
            )
        return tuple(reversed(ne)), kind, offset, weights // values * block_bytes

    @staticmethod
    def _with_sizes(
        infos: dict[str, tuple[tuple[int, ...], int, int, int]], size: int
    ) -> dict[str, tuple[tuple[int, ...], int, int, int]]:
        """The same, where a type is not known with the bytes up to the next tensor: as many as it can have."""
        if all(nbytes != UNKNOWN for _, _, _, nbytes in infos.values()):
            return infos
        starts = sorted({offset for _, _, offset, _ in infos.values()} | {size})
        out = {}
        for name, (shape, kind, offset, nbytes) in infos.items():
            if nbytes == UNKNOWN:
                after = bisect_right(starts, offset)
                nbytes = starts[after] - offset if after < len(starts) else 0
            out[name] = (shape, kind, offset, nbytes)
        return out

    def _check_layout(self, infos: dict[str, tuple[tuple[int, ...], int, int, int]], data_start: int) -> None:
        """Every tensor lies in the file and none over another."""
        size = max(self.size - data_start, 0)
        at, before = 0, None
        for name, (shape, kind, offset, nbytes) in sorted(infos.items(), key=lambda item: (item[1][2], item[1][3])):
            if offset + nbytes > size:
                raise fault(
                    self.path,
                    f"places {shown(name)} ({_type_name(kind)}, shape {list(shape)}) at the bytes {offset:,} to "
                    f"{offset + nbytes:,}, but its data section has {size:,} bytes: the file is truncated.",
                )
            if offset < at:
                raise fault(
                    self.path,
                    f"lets {shown(name)} start at offset {offset:,}, inside {shown(before)} that ends at {at:,}.",
                )
            at, before = offset + nbytes, name


def _type_name(kind: int) -> str:
    return GGML_TYPES[kind][0] if kind in GGML_TYPES else foreign_type(kind)
