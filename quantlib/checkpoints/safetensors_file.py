"""safetensors files: an 8-byte length, a JSON header, and the bytes of the tensors one after the other.

The header is untrusted: every name, shape and offset is checked against the file before anything is believed, entry by
entry and without building what it describes. Source: the format section of the safetensors README and its validate().
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quantlib.checkpoints.base import Checkpoint, MappedFile, StoredFile, Tensor, fault, mapped_tensor, shown
from quantlib.checkpoints.codecs import codec
from quantlib.checkpoints.untrusted import decode_text

MAX_HEADER = 100_000_000  # bytes, the cap of the reference implementation
MAX_TENSORS = 2**18
MAX_DIMS = 16

# Bits of one value by dtype.
DTYPE_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}

# Possessive quantifiers: no hostile header makes these backtrack.
_SPACE = re.compile(rb"[ \t\r\n]*+")
_USUAL_KEY = re.compile(rb'[ \t\r\n]*+"([^"\\\x00-\x1f]*+)"[ \t\r\n]*+:[ \t\r\n]*+')  # without escapes
_USUAL_NEXT = re.compile(rb"[ \t\r\n]*+," + _USUAL_KEY.pattern)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# What all writers write; anything else takes the long way through the JSON parser.
_USUAL_ENTRY = re.compile(
    rb'\{"dtype": ?"([A-Z0-9_]{1,16}+)", ?"shape": ?\[((?:(?:[1-9]\d{0,17}|0)(?:, ?(?:[1-9]\d{0,17}|0))*+)?)\]'
    rb', ?"data_offsets": ?\[([1-9]\d{0,17}|0), ?([1-9]\d{0,17}|0)\]\}'
)
_FLAT_OBJECT = re.compile(rb'\{(?:[^{}"]++|"[^"\\{}]{0,64}+"){0,100}+\}')


def open_safetensors(path: Path) -> Checkpoint:
    """A safetensors file as a checkpoint: kind "safetensors", its __metadata__ strings as the metadata.

    Raises CheckpointError for whatever in the header does not hold: one sentence with file, tensor, numbers.
    """
    file = MappedFile(path)
    try:
        tensors, strings = read_header(file)
        file.unmap()
    except BaseException:
        file.close()
        raise
    return Checkpoint(path, "safetensors", strings, None, tensors, files=(file,))


def read_header(file: StoredFile, most: int = MAX_TENSORS) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file in the order of its header, and the strings of its __metadata__.

    most: as many tensors as the file may have, beside those of the other shards.
    """
    path, end = file.path, 8 + header_length(file)
    header = _Header(file, 8, end)
    entries: dict[str, tuple[str, tuple[int, ...], int, int]] = {}
    strings: dict[str, str] | None = None
    header.expect(b"{", "does not start with the '{' of a JSON object")
    for name in header.names():
        if name == "__metadata__":
            if strings is not None:
                raise fault(path, "has '__metadata__' twice in its header.")
            strings = header.string_map()
            continue
        if name in entries:
            raise fault(path, f"describes the tensor {shown(name)} twice in its header.")
        if len(entries) >= most:
            beside = f" beside the {MAX_TENSORS - most:,} of the files before it" if most < MAX_TENSORS else ""
            raise fault(
                path, f"describes more than {most:,} tensors{beside}; no checkpoint has more than {MAX_TENSORS:,}."
            )
        entries[name] = header.entry(name)
    header.expect_end()
    _check_layout(path, entries, file.size - end)
    tensors = {}
    for name, (dtype, shape, start, stop) in entries.items():
        spelling, decode = codec(dtype)
        tensors[name] = mapped_tensor(file, name, shape, spelling, end + start, stop - start, decode)
    return tensors, strings or {}


def header_length(file: StoredFile) -> int:
    """Bytes of the JSON header, as the first eight bytes say; CheckpointError where that cannot be."""
    if file.size < 8:
        raise fault(
            file.path, f"is {file.size} bytes long, too short for the 8-byte header length of a safetensors file."
        )
    length = int.from_bytes(file.bytes(0, 8).tobytes(), "little")
    if length > MAX_HEADER:
        raise fault(
            file.path, f"claims a header of {length:,} bytes, more than the {MAX_HEADER:,} that safetensors allows."
        )
    if length > file.size - 8:
        raise fault(
            file.path,
            f"claims a header of {length:,} bytes, but only {file.size - 8:,} bytes follow: the file is truncated.",
        )
    return length


class _Header:
    """A cursor over the header's bytes, which are parsed in place."""

    def __init__(self, file: StoredFile, start: int, end: int):
        self.path, self.data, self.at, self.end = file.path, file.buffer, start, end

    def _skip(self) -> bytes:
        space = _SPACE.match(self.data, self.at, self.end)
        self.at = space.end() if space else self.at
        return self.data[self.at : min(self.at + 1, self.end)]

    def expect(self, char: bytes, otherwise: str, name: str | None = None) -> None:
        if self._skip() != char:
            after = "" if name is None else f" after {shown(name)}"
            raise fault(self.path, f"{otherwise}{after}: the JSON header is broken at its byte {self.at - 8:,}.")
        self.at += 1

    def expect_end(self) -> None:
        if self._skip():
            raise fault(self.path, f"has more after the JSON object of its header, at its byte {self.at - 8:,}.")

    def string(self, what: str) -> str:
        self._skip()
        found = _STRING.match(self.data, self.at, self.end)
        if not found:
            raise fault(
                self.path, f"lacks {what} where one belongs: the JSON header is broken at its byte {self.at - 8:,}."
            )
        self.at = found.end()
        text = decode_text(self.path, found.group(), what)
        try:
            value = json.loads(text)
            value.encode("utf-8")
        except ValueError:
            raise fault(
                self.path, f"has {what} with a character that JSON does not allow, before byte {self.at - 8:,}."
            ) from None
        return value

    def names(self) -> Iterator[str]:
        """The keys of the object whose brace has been passed; the caller takes each value before the next key."""
        if self._skip() == b"}":
            self.at += 1
            return
        usual = _USUAL_KEY.match(self.data, self.at, self.end)
        while True:
            if usual:
                self.at = usual.end()
                name = decode_text(self.path, usual.group(1), "a name")
            else:
                name = self.string("a name")
                self.expect(b":", "lacks the ':'", name)
                self._skip()
            yield name
            usual = _USUAL_NEXT.match(self.data, self.at, self.end)
            if usual:
                continue
            if self._skip() == b"}":
                self.at += 1
                return
            self.expect(b",", "lacks a ','", name)
            usual = _USUAL_KEY.match(self.data, self.at, self.end)

    def string_map(self) -> dict[str, str]:
        self.expect(b"{", "has a '__metadata__' that is not an object of strings")
        out: dict[str, str] = {}
        for key in self.names():
            if key in out:
                raise fault(self.path, f"has the key {shown(key)} twice in '__metadata__'.")
            if self.data[self.at : self.at + 1] != b'"':
                raise fault(self.path, f"has a value for {shown(key)} in '__metadata__' that is not a string.")
            out[key] = self.string("a string")
        return out

    def entry(self, name: str) -> tuple[str, tuple[int, ...], int, int]:
        """dtype, shape and offsets of one tensor, each of the right type and agreeing with the others."""
        usual = _USUAL_ENTRY.match(self.data, self.at, self.end)
        if usual:
            self.at = usual.end()
            dtype, shape, start, stop = usual.groups()
            return _agreeing(self.path, name, dtype.decode(), _sizes(shape), int(start), int(stop))
        found = _FLAT_OBJECT.match(self.data, self.at, self.end)
        if not found:
            raise fault(
                self.path, f"does not describe {shown(name)} by an object with 'dtype', 'shape' and 'data_offsets'."
            )
        self.at = found.end()
        dtype, shape, offsets = _as_json(self.path, name, found.group())
        if type(dtype) is not str:
            raise fault(self.path, f"stores {shown(name)} as {shown(dtype)}, which is no dtype of safetensors.")
        if not _counts(shape):
            raise fault(self.path, f"gives {shown(name)} a shape that is not a list of non-negative integers.")
        if not _counts(offsets) or len(offsets) != 2:
            raise fault(self.path, f"gives {shown(name)} 'data_offsets' that are not two non-negative integers.")
        return _agreeing(self.path, name, dtype, tuple(shape), *offsets)


def _sizes(text: bytes) -> tuple[int, ...]:
    return tuple(map(int, text.split(b","))) if text else ()


def _agreeing(
    path: Path, name: str, dtype: str, shape: tuple[int, ...], start: int, stop: int
) -> tuple[str, tuple[int, ...], int, int]:
    """The same, once dtype, shape and offsets are known to agree."""
    if dtype not in DTYPE_BITS:
        raise fault(path, f"stores {shown(name)} as {shown(dtype)}, which is no dtype of safetensors.")
    if len(shape) > MAX_DIMS:
        raise fault(path, f"gives {shown(name)} {len(shape)} dimensions, more than the {MAX_DIMS} that are read.")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8:
        raise fault(path, f"gives {shown(name)} {math.prod(shape):,} values of {dtype}, which do not fill whole bytes.")
    if stop - start != bits // 8:
        raise fault(
            path,
            f"gives {shown(name)} the bytes {_n(start)} to {_n(stop)}, but {dtype} of shape "
            f"{_shape(shape)} takes {_n(bits // 8)} bytes.",
        )
    return dtype, shape, start, stop


def _as_json(path: Path, name: str, text: bytes) -> tuple[Any, Any, Any]:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(items)) != len(items):
            raise fault(path, f"has a key twice in the description of {shown(name)}.")
        return dict(items)

    try:
        entry = json.loads(decode_text(path, text, "a description of a tensor"), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        raise fault(path, f"describes {shown(name)} by something that is not valid JSON.") from None
    return entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _shape(shape: tuple[int, ...]) -> str:
    return shown(list(shape)).strip("'")


def _n(value: int) -> str:
    return f"{value:,}" if value < 2**64 else "over 2^64"


def _check_layout(path: Path, entries: dict[str, tuple[str, tuple[int, ...], int, int]], size: int) -> None:
    """The tensors tile the data section: in range, no overlap, no holes, nothing left over."""
    at, before = 0, None
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if stop > size:
            raise fault(
                path,
                f"places {shown(name)} at the bytes {start:,} to {stop:,}, but its data section has {size:,} bytes: "
                "the file is truncated.",
            )
        if start < at:
            raise fault(
                path, f"lets {shown(name)} start at byte {start:,}, inside {shown(before)} that ends at {at:,}."
            )
        if start > at:
            raise fault(path, f"leaves the bytes {at:,} to {start:,} before {shown(name)} to no tensor.")
        at, before = stop, name
    if at != size:
        raise fault(path, f"has {size - at:,} bytes after its last tensor that belong to none.")
