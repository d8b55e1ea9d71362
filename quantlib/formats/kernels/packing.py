"""`Layout.pack` and `Layout.unpack` by kernels, for what works on the codes of many blocks."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from quantlib.formats.kernels.bits import pieces, read_code
from quantlib.formats.kernels.scalar import kernel
from quantlib.formats.kernels.simd import pick
from quantlib.formats.layout import Field, Layout
from quantlib.formats.rows import read_only


@cache
def pieces_of(layout: Layout) -> dict[str, np.ndarray]:
    """The pieces of every field's codes by name."""
    names = [field.name for field in layout.fields]
    return dict(zip(names, pieces(layout, *names), strict=True))


@kernel
def read_field(data, nbytes, parts, out):
    """The codes of one field. data: uint8, blocks of nbytes one after the other. out: (blocks, count)."""
    for b in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] = read_code(data, b * nbytes, parts, k)


@cache
def shares_of(field: Field) -> list[tuple[np.ndarray, np.ndarray]]:
    """The bytes that have bits of a field, int32 (bytes,), and what they take of its codes: int32 (bytes, shares, 4) of
    code, shift in the code, mask, shift in the byte; bytes of as many shares together.

    Made byte by byte, no code waits for its neighbour in the same byte, as it does when codes are put one by one.
    """
    taken: dict[int, list[list[int]]] = {}
    for number, code in enumerate(field.bits):
        for place, bit in enumerate(map(int, code)):
            shares = taken.setdefault(bit // 8, [])
            last = shares[-1] if shares else None
            if last and last[0] == number and place - last[1] == bit % 8 - last[3] == last[2].bit_length():
                last[2] = 2 * last[2] + 1
            else:
                shares.append([number, place, 1, bit % 8])
    together: dict[int, list[int]] = {}
    for byte, shares in taken.items():
        together.setdefault(len(shares), []).append(byte)
    tables = ((places, [taken[byte] for byte in places]) for places in together.values())
    return [tuple(read_only(np.array(part, np.int32)) for part in table) for table in tables]


@kernel
def write_field(codes, nbytes, places, shares, out):
    """Undo `read_field` in blocks whose bits of this field are zero."""
    size = 4 * shares.shape[1]
    for b in range(codes.shape[0]):
        for i in range(places.shape[0]):
            byte = np.uint32(0)
            for at in range(i * size, (i + 1) * size, 4):
                code = np.uint32(codes[b, pick(shares, at)])
                byte |= (code >> pick(shares, at + 1) & pick(shares, at + 2)) << pick(shares, at + 3)
            out[b * nbytes + pick(places, i)] |= np.uint8(byte)


def unpack(layout: Layout, data: np.ndarray) -> dict[str, np.ndarray]:
    """uint8 (blocks, nbytes) -> {field: (blocks, count)}."""
    codes, stored = {}, read_only(np.ascontiguousarray(data).reshape(-1))
    for field in layout.fields:
        out = np.empty((len(data), field.count), field.unsigned)
        read_field(stored, layout.nbytes, pieces_of(layout)[field.name], out)
        codes[field.name] = out.view(field.stored)
    return codes


def pack(layout: Layout, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """{field: (blocks, count)}, of the types that `unpack` gives -> uint8 (blocks, nbytes)."""
    out = np.zeros((len(codes[layout.fields[0].name]), layout.nbytes), np.uint8)
    for field in layout.fields:
        code = np.ascontiguousarray(codes[field.name], field.stored).view(field.unsigned)
        for places, shares in shares_of(field):
            write_field(read_only(code), layout.nbytes, places, shares, out.reshape(-1))
    return out
