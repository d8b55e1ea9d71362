"""Zip archives as NumPy and PyTorch write them: what is in them and where, checked against the file before it is used.

A name is looked up in the archive's directory, and its bytes are read where they lie; what is compressed is inflated in
pieces. Archives that expand without measure, or whose members lie over each other, are refused. Source: PKWARE's
APPNOTE.TXT, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from quantlib.checkpoints.base import StoredFile, fault, shown
from quantlib.checkpoints.spans import Span, stored_span

MAX_MEMBERS = 2**19
STORED, DEFLATED = 0, 8
DENSEST = 1032  # bytes that deflate makes of one, at most
EXPANDS, ALLOWED = 200, 1 << 28  # an archive may expand so many times, and beyond that by so many bytes
ENCRYPTED = 1
STEP = 1 << 24  # bytes between the places at which inflating can begin again
MOST_STEPS = 256
PIECE = 1 << 16

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
FULL16, FULL32 = 2**16 - 1, 2**32 - 1


@dataclass(frozen=True)
class Member:
    """One file of an archive: how it is packed, its bytes there and unpacked, and where they begin."""

    name: str
    method: int
    packed: int
    size: int
    start: int


def members(file: StoredFile) -> dict[str, Member]:
    """The members of an archive by name, in the directory's order. Raises CheckpointError for what does not hold."""
    data = file.buffer
    count, start, size = _directory(file)
    found: dict[str, Member] = {}
    places: list[tuple[int, int, str]] = []
    at, expanded = start, 0
    for _ in range(count):
        if at + _ENTRY.size > start + size:
            raise fault(file.path, f"has a directory of {size:,} bytes, too few for the {count:,} members it claims.")
        sign, _, _, flags, method, _, _, _, packed, unpacked, *lengths, _, _, _, local = _ENTRY.unpack_from(data, at)
        long_name, long_extra, long_comment = lengths
        name_at = at + _ENTRY.size
        at = name_at + long_name + long_extra + long_comment
        if sign != b"PK\x01\x02" or at > start + size:
            raise fault(file.path, "has a damaged directory: it is no whole zip archive.")
        name = bytes(data[name_at : name_at + long_name]).decode("utf-8", "replace")
        extra = bytes(data[name_at + long_name : name_at + long_name + long_extra])
        unpacked, packed, local = _wide(file, name, extra, (unpacked, packed, local))
        if name in found:
            raise fault(file.path, f"holds {shown(name)} twice.")
        if flags & ENCRYPTED:
            raise fault(file.path, f"holds {shown(name)} under a password; unpack it first.")
        expanded += _expansion(file, name, method, packed, unpacked)
        begins = _contents(file, name, local, packed, start)
        found[name] = Member(name, method, packed, unpacked, begins)
        places.append((local, begins + packed, name))
    if expanded > EXPANDS * file.size + ALLOWED:
        raise fault(
            file.path, f"of {file.size:,} bytes claims to hold {expanded:,}; save it again without compression."
        )
    places.sort()
    for (_, end, before), (begin, _, name) in pairwise(places):
        if begin < end:
            raise fault(file.path, f"lets {shown(name)} begin inside {shown(before)}: it is no whole zip archive.")
    return found


def _directory(file: StoredFile) -> tuple[int, int, int]:
    """How many members there are, where the directory begins and how long it is."""
    tail = max(0, file.size - _END.size - FULL16)
    last = bytes(file.buffer[tail : file.size])
    at = last.rfind(b"PK\x05\x06")
    if at < 0 or len(last) - at < _END.size:
        raise fault(file.path, "lacks the directory at the end of a zip archive: it is cut, or it is none.")
    _, disk, begins, _, count, size, start, _ = _END.unpack_from(last, at)
    end = tail + at
    locator = end - _LOCATOR.size
    if count == FULL16 or FULL32 in (size, start):
        if locator < 0 or file.buffer[locator : locator + 4] != b"PK\x06\x07":
            raise fault(file.path, "has a damaged end: it is no whole zip archive.")
        end = _LOCATOR.unpack_from(file.buffer, locator)[2]
        if end + _END64.size > locator or file.buffer[end : end + 4] != b"PK\x06\x06":
            raise fault(file.path, "has a damaged end: it is no whole zip archive.")
        _, _, _, _, disk, begins, _, count, size, start = _END64.unpack_from(file.buffer, end)
    if disk or begins:
        raise fault(file.path, "is one of several parts of a zip archive; only whole ones are read.")
    if start + size > end:
        raise fault(file.path, f"places its directory at the bytes {start:,} to {start + size:,}, beyond its end.")
    if count > MAX_MEMBERS or count * _ENTRY.size > size:
        raise fault(file.path, f"claims {count:,} members, more than its directory of {size:,} bytes can hold.")
    return count, start, size


def _wide(file: StoredFile, name: str, extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Unpacked and packed size and place of a member, from its extra field where they take eight bytes."""
    if FULL32 not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            many = min(length, len(extra) - at - 4) // 8
            wide = list(struct.unpack_from(f"<{many}Q", extra, at + 4))
            if many < values.count(FULL32):
                break
            unpacked, packed, local = (wide.pop(0) if v == FULL32 else v for v in values)
            return unpacked, packed, local
        at += 4 + length
    raise fault(file.path, f"does not say how large {shown(name)} is: it is no whole zip archive.")


def _expansion(file: StoredFile, name: str, method: int, packed: int, unpacked: int) -> int:
    """Bytes that a member takes beyond those in the archive; CheckpointError where it cannot have so many."""
    if method == STORED and packed != unpacked:
        raise fault(file.path, f"stores {shown(name)} as it is, in {packed:,} bytes, but says it has {unpacked:,}.")
    if method == DEFLATED and unpacked > DENSEST * packed + PIECE:
        raise fault(file.path, f"claims that {packed:,} bytes of {shown(name)} expand to {unpacked:,}: no file does.")
    return unpacked if method == DEFLATED else 0


def _contents(file: StoredFile, name: str, local: int, packed: int, directory: int) -> int:
    """The byte where a member's contents begin, which its own header says; they end before the directory."""
    if local + _LOCAL.size > directory or file.buffer[local : local + 4] != b"PK\x03\x04":
        raise fault(file.path, f"places {shown(name)} where no member begins: it is no whole zip archive.")
    *_, long_name, long_extra = _LOCAL.unpack_from(file.buffer, local)
    begins: int = local + _LOCAL.size + long_name + long_extra
    if begins + packed > directory:
        raise fault(file.path, f"places {shown(name)} beyond the end of its contents: it is cut.")
    return begins


def span_of(file: StoredFile, member: Member) -> Span:
    """The contents of a member. Raises CheckpointError where it is packed by a method that is not read."""
    if member.method == STORED:
        return stored_span(file, member.start, member.size)
    if member.method != DEFLATED:
        raise fault(
            file.path, f"packs {shown(member.name)} by the method {member.method}, which is not read; only deflate is."
        )
    return Span(file, member.size, None, _Inflated(file, member).read)


class _Inflated:
    """A deflated member, readable from anywhere: every so many bytes the state of inflating is kept."""

    def __init__(self, file: StoredFile, member: Member):
        self._file, self._member = file, member
        self._step = max(STEP, member.size // MOST_STEPS)
        self._states: list[tuple[int, int, Any]] = [(0, 0, zlib.decompressobj(-15))]  # bytes out, bytes in, state
        self._latest = self._states[0]
        self._lock = threading.Lock()  # several threads read at once

    def read(self, start: int, stop: int) -> np.ndarray:
        """The bytes start..stop of the contents."""
        with self._lock:
            return self._read(start, stop)

    def _read(self, start: int, stop: int) -> np.ndarray:
        kept = self._states[bisect_right(self._states, start, key=lambda state: state[0]) - 1]
        at, used, state = self._latest if kept[0] <= self._latest[0] <= start else kept
        state = state.copy()
        out = np.empty(stop - start, np.uint8)
        begin, end = self._member.start, self._member.start + self._member.packed
        while at < stop:
            ahead = self._file.read(begin + used, min(begin + used + PIECE, end)).tobytes()
            try:
                piece = state.decompress(ahead, min(self._step - at % self._step, stop - at))
            except zlib.error:
                raise self._damaged() from None
            taken = len(ahead) - len(state.unconsumed_tail) - len(state.unused_data)
            if not piece and (state.eof or not taken):
                raise self._damaged()
            low = max(start, at)
            if low < at + len(piece):
                out[low - start : at + len(piece) - start] = np.frombuffer(piece, np.uint8)[low - at :]
            used, at = used + taken, at + len(piece)
            if at % self._step == 0 and at > self._states[-1][0]:
                self._states.append((at, used, state.copy()))
        self._latest = (at, used, state)
        out.flags.writeable = False
        return out

    def _damaged(self) -> Exception:
        return fault(self._file.path, f"holds {shown(self._member.name)} in bytes that cannot be decompressed.")
