"""Just enough of protobuf's wire format to read a SentencePiece model, bounded by the message at every step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from quantlib.checkpoints.base import fault

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(path: Path, data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(field number, wire type, value) of every field of a message: an integer, or the bytes of what it holds."""
    at, end = 0, len(data)
    while at < end:
        value: int | bytes
        tag, at = _varint(path, data, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(path, data, at)
        elif wire in (FIXED64, FIXED32, BYTES):
            size = {FIXED64: 8, FIXED32: 4}.get(wire)
            if size is None:
                size, at = _varint(path, data, at)
            if size > end - at:
                raise fault(
                    path, f"is no SentencePiece model: {size:,} bytes belong at byte {at:,}, {end - at:,} are left."
                )
            value, at = data[at : at + size], at + size
        else:
            raise fault(
                path, f"is no SentencePiece model: wire type {wire} at byte {at:,} of a message does not exist."
            )
        yield number, wire, value


def _varint(path: Path, data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if at + i >= len(data):
            break
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise fault(path, f"is no SentencePiece model: a number at byte {at:,} of a message does not end.")
