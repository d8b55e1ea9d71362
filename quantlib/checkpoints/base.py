"""What every reader yields: tensors that are read lazily, and the checkpoint that holds them."""

from __future__ import annotations

import math
import mmap
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from quantlib.errors import CheckpointError
from quantlib.showing import Shown, figure_of

MAX_SHOWN = 64  # characters of an untrusted name that a message repeats


def shown(text: object) -> str:
    """An untrusted name in quotes: one line, printable, at most MAX_SHOWN characters."""
    text = str(text)
    short = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
    return "'" + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in short) + "'"


def fault(path: Path, what: str) -> CheckpointError:
    """The error of one file: its name, then what is wrong with it."""
    return CheckpointError(f"{shown(path.name)} {what}")


class StoredFile(Protocol):
    """A file that a checkpoint is read from, on this machine or on the hub."""

    path: Path
    size: int
    stamp: tuple[int, int]

    @property
    def known(self) -> int:
        """How many bytes from the start on can be parsed."""

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """The bytes themselves, for parsers that work in place."""

    def bytes(self, start: int, stop: int) -> np.ndarray:
        """A read-only view of the bytes start..stop, uint8 (stop - start,)."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """The bytes start..stop, read into memory: uint8 (stop - start,), read-only."""

    def changed(self) -> bool:
        """Whether the file under this path is another one by now."""

    def download(self) -> None:
        """Makes the whole file local."""

    def unmap(self) -> None:
        """Lets the parsed bytes go."""

    def forget(self) -> None:
        """Lets go of what was read so far."""

    def close(self) -> None:
        """Lets the file go."""


class MappedFile:
    """A file opened read-only: threads may read it at once, and nothing is loaded before it is asked for.

    Headers are parsed in a mapping of it, which is there while it is needed: it takes a second file descriptor. Weights
    are read by calls that can fail: a mapping whose disk goes away, or whose file is cut, ends the process. stamp: the
    size and the time of change that it had when it was opened.
    """

    def __init__(self, path: Path):
        self.path = path
        self._map: mmap.mmap | None = None
        try:
            # A pipe or a device would block or never end: only regular files are opened.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise fault(path, "is not a regular file, so it cannot be read as a checkpoint.")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._close = weakref.finalize(self, os.close, self._descriptor)
            state = os.fstat(self._descriptor)
            self.size, self.stamp = state.st_size, (state.st_size, state.st_mtime_ns)
        except OSError as error:
            raise fault(path, f"cannot be opened: {(error.strerror or 'unknown reason').lower()}.") from None
        except ValueError:
            raise fault(path, "cannot be opened: its path holds a character that no path may hold.") from None

    @property
    def known(self) -> int:
        """How many bytes from the start on can be parsed: all of a file on this machine."""
        return self.size

    @property
    def buffer(self) -> mmap.mmap | bytes:
        """The mapping itself, for parsers that work on bytes in place."""
        self._check_open()
        if self._map is None and self.size:
            try:
                self._map = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # it was emptied, or there is no memory or descriptor left
                raise fault(self.path, "cannot be read: it has changed, or the system has no room for it.") from None
        return self._map if self._map is not None else b""

    def _check_open(self) -> None:
        if not self._close.alive:
            raise fault(self.path, "has been closed: open the checkpoint again to read from it.")

    def bytes(self, start: int, stop: int) -> np.ndarray:
        """A read-only view of the bytes start..stop, uint8 (stop - start,)."""
        return np.frombuffer(self.buffer, np.uint8)[start:stop]

    def read(self, start: int, stop: int) -> np.ndarray:
        """The bytes start..stop, read into memory: uint8 (stop - start,), read-only.

        Raises CheckpointError where the disk fails or the file has become shorter since it was opened.
        """
        self._check_open()
        out = np.empty(stop - start, np.uint8)
        at, view = 0, out.data
        while at < len(out):
            try:
                count = _read_into(self._descriptor, view[at:], start + at)
            except OSError as error:
                raise fault(self.path, f"cannot be read: {(error.strerror or 'unknown reason').lower()}.") from None
            if not count:
                raise fault(self.path, f"was cut to {start + at:,} bytes; it had {self.size:,} when it was opened.")
            at += count
        out.flags.writeable = False
        return out

    def changed(self) -> bool:
        """Whether the file under this path is another one by now, or none, or has been written to."""
        try:
            state = os.stat(self.path)
        except OSError:
            return True
        return (state.st_size, state.st_mtime_ns) != self.stamp

    def download(self) -> None:
        """Makes the whole file local, as it is."""

    def unmap(self) -> None:
        """Lets the mapping go once a header is parsed; views that are still held stay valid and keep it alive."""
        self._map = None

    def forget(self) -> None:
        """Lets go of the pages read so far, which stay in the system's file cache: memory held does not grow."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Lets the mapping go; views that are still held stay valid and keep it alive."""
        self._map = None
        self._close()


def _read_into(descriptor: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset)
    data = os.pread(descriptor, len(view), offset)
    view[: len(data)] = data
    return len(data)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named array of a checkpoint, read row by row from wherever it lives.

    shape is row-major, (..., rows, columns); a row is the last dimension, and rows are counted over all the others.
    """

    name: str
    shape: tuple[int, ...]
    format: str  # as in the catalogue of formats, or the file's own spelling where the catalogue lacks it
    nbytes: int
    read: Callable[[int, int], np.ndarray] = field(repr=False)  # (start, stop) -> uint8 (stop - start, row_bytes)
    decode: Callable[[np.ndarray], np.ndarray] | None = field(repr=False, default=None)
    file: str = ""  # name of the file that holds it
    offset: int | None = None  # byte of that file where it starts, where it lies in one piece
    origin: str = ""  # how the file stores it, where `format` is what it is decoded to
    stored: Callable[[str], str] | None = field(
        repr=False, default=None
    )  # what a conversion makes it, of what is asked

    @property
    def n(self) -> int:
        """Weights in a row."""
        return self.shape[-1] if self.shape else 1

    @property
    def nrows(self) -> int:
        """Rows: the product of all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def size(self) -> int:
        """Weights in all."""
        return math.prod(self.shape)

    @property
    def decodable(self) -> bool:
        """Whether rows() knows this format."""
        return self.decode is not None

    def _range(self, start: int, stop: int | None) -> tuple[int, int]:
        stop = self.nrows if stop is None else stop
        if not 0 <= start <= stop <= self.nrows:
            raise CheckpointError(
                f"Rows {start} to {stop} were asked of {shown(self.name)}, which has the rows 0 to {self.nrows}."
            )
        return start, stop

    def raw(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The stored bytes of rows start..stop, undecoded: uint8 (stop - start, row_bytes)."""
        return self.read(*self._range(start, stop))

    def rows(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start..stop decoded to float32 (stop - start, n); CheckpointError where the format is not known yet."""
        start, stop = self._range(start, stop)
        self.decoder()
        if start == stop or self.n == 0:
            return np.empty((stop - start, self.n), dtype=np.float32)
        return self.decoded(self.read(start, stop))

    def decoded(self, raw: np.ndarray) -> np.ndarray:
        """Stored bytes of rows, uint8 (rows, row_bytes), as float32 (rows, n); CheckpointError as of rows()."""
        decode = self.decoder()
        if not len(raw) or self.n == 0:
            return np.empty((len(raw), self.n), dtype=np.float32)
        return decode(raw).reshape(len(raw), self.n)

    def figure(self, theme: str = "light") -> Any:
        """How its weights are distributed, as a Plotly figure; of a large tensor, a sample of its rows."""
        return figure_of(self, theme)

    def decoder(self) -> Callable[[np.ndarray], np.ndarray]:
        """What makes float32 of stored bytes; CheckpointError where the format is not known yet."""
        if self.decode is None:
            raise CheckpointError(
                f"{self.format} cannot be decoded yet, so the values of {shown(self.name)} are out of reach."
            )
        return self.decode


@dataclass(frozen=True)
class MetadataValue:
    """One value of a GGUF header: its type by GGUF's name ("uint32", "string", "array[string]") and what it holds.

    Arrays of numbers are read-only numpy arrays, arrays of strings lazy sequences.
    """

    type: str
    value: Any

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint(Shown):
    """An opened checkpoint: names, shapes and formats at once, values when they are asked for.

    kind is "safetensors", "huggingface", "gguf", "pytorch", "numpy" or "onnx". metadata holds MetadataValue by key for
    GGUF, and the parsed "config" (and what else was found) for the others. origin: its hf:// address, where it has one.
    Closing it makes later reads fail with a CheckpointError.
    """

    source: Path
    kind: str
    metadata: Mapping[str, Any]
    architecture: str | None
    tensors: Mapping[str, Tensor]
    warnings: tuple[str, ...] = ()
    files: tuple[StoredFile, ...] = field(default=(), repr=False)
    origin: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def size(self) -> int:
        """Weights in all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def identity(self) -> tuple[tuple[str, int, int], ...]:
        """Which files it is read from: path, size and time of change of each, as they were when it was opened."""
        return tuple((str(file.path.resolve()), *file.stamp) for file in self.files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files on this machine that hold its tensors."""
        return () if self.origin else tuple(file.path for file in self.files)

    @property
    def folder(self) -> Path | None:
        """The folder on this machine that its configuration and its tokenizer lie in, if it has any."""
        if self.origin or self.kind != "huggingface":
            return None
        return self.source if self.source.is_dir() else self.source.parent

    def value(self, key: str, default: object = None) -> Any:
        """The plain value of a metadata key."""
        found = self.metadata.get(key, default)
        return found.value if isinstance(found, MetadataValue) else found

    def text(self, key: str) -> str | None:
        """The text under a metadata key; None where there is none, or something else."""
        found = self.value(key)
        return found if isinstance(found, str) else None

    def flag(self, key: str, default: bool) -> bool:
        """Whether a metadata key is true; the default where there is none, or something else."""
        found = self.value(key)
        return found if isinstance(found, bool) else default

    def download(self) -> None:
        """Makes all files local: those on the hub go to the cache; CheckpointError where they cannot."""
        for file in self.files:
            file.download()

    def forget(self) -> None:
        """Lets go of what was read so far, so that reading a whole file does not hold it in memory."""
        for file in self.files:
            file.forget()

    def close(self) -> None:
        """Lets the files go."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensors.values())


def mapped_tensor(
    file: StoredFile,
    name: str,
    shape: tuple[int, ...],
    format: str,
    offset: int,
    nbytes: int,
    decode: Callable[[np.ndarray], np.ndarray] | None,
) -> Tensor:
    """A tensor whose rows lie one after the other in a mapped file, from the byte offset on."""
    nrows = math.prod(shape[:-1])
    if nrows and nbytes % nrows:
        # Rows of half-byte dtypes that do not end on a byte: the file is valid, but a row has no address.
        def refuse(start: int, stop: int) -> np.ndarray:
            raise fault(file.path, f"stores {shown(name)} with rows that do not end on a whole byte.")

        return Tensor(name, shape, format, nbytes, refuse, None, file.path.name, offset)
    row_bytes = nbytes // nrows if nrows else 0

    def read(start: int, stop: int) -> np.ndarray:
        return file.read(offset + start * row_bytes, offset + stop * row_bytes).reshape(stop - start, row_bytes)

    return Tensor(name, shape, format, nbytes, read, decode, file.path.name, offset)
