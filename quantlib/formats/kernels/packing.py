"""`Layout.pack` and `Layout.unpack` by kernels, for what works on the codes of many blocks."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from quantlib.formats.kernels.bits import pieces, read_code, write_code
from quantlib.formats.kernels.scalar import kernel
from quantlib.formats.layout import Layout
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


@kernel
def write_field(codes, nbytes, parts, out):
    """Undo `read_field` in blocks whose bits of this field are zero."""
    for b in range(codes.shape[0]):
        for k in range(codes.shape[1]):
            write_code(np.uint32(codes[b, k]), out, b * nbytes, parts, k)


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
        write_field(read_only(code), layout.nbytes, pieces_of(layout)[field.name], out.reshape(-1))
    return out
