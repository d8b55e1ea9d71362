"""`Layout.pack` and `Layout.unpack` by kernels, for what works on the codes of many blocks."""

from collections.abc import Mapping
from functools import cache

import numpy as np

from quantlib.formats.kernels.scalar import kernel
from quantlib.formats.layout import Field, Layout
from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import pick, put

RUN = 7  # numbers that say where a run lies


@cache
def runs_of(field: Field) -> np.ndarray:
    """Where the bits of a field lie, in runs.

    int32 (runs · 7,): first code, codes from one to the next, first byte, how many, shift in a code, mask, shift in a
    byte. The bytes of a run follow each other and hold the same bits of codes that are equally far apart, mostly
    neighbours: the layouts were made for processors that take many at once, and so these loops are.
    """
    shares = [(*share[1:], number, share[0]) for number, code in enumerate(field.bits) for share in _shares(code)]
    runs: list[list[int]] = []
    for place, mask, shift, number, byte in sorted(shares):
        if runs and runs[-1][4:] == [place, mask, shift] and runs[-1][2] + runs[-1][3] == byte:
            first, apart, _, many, *_ = runs[-1]
            if many == 1 or first + many * apart == number:
                runs[-1][1], runs[-1][3] = (number - first) // many, many + 1
                continue
        runs.append([number, 1, byte, 1, place, mask, shift])
    return read_only(np.array(runs, np.int32).reshape(-1))


def _shares(code: np.ndarray) -> list[tuple[int, int, int, int]]:
    """The bytes that have neighbouring bits of one code: byte, shift in the code, mask, shift in the byte."""
    starts = [
        place
        for place, bit in enumerate(code)
        if place == 0 or bit != code[place - 1] + 1 or bit // 8 != code[place - 1] // 8
    ]
    return [
        (int(code[first]) // 8, first, (1 << (end - first)) - 1, int(code[first]) % 8)
        for first, end in zip(starts, [*starts[1:], len(code)], strict=True)
    ]


@inlined
def bits_of(runs, at):
    """The shift in a code, the mask and the shift in a byte of a run."""
    return np.uint32(pick(runs, at + 4)), np.uint32(pick(runs, at + 5)), np.uint32(pick(runs, at + 6))


@inlined
def add(source, first, down, mask, up, target, at):
    """Add some bits of one number to another."""
    put(target, at, np.uint32(pick(target, at)) | (np.uint32(pick(source, first)) >> down & mask) << up)


@kernel
def read_field(data, nbytes, runs, count, out):
    """Add the codes of one field. data: uint8, blocks of nbytes one after the other. out: (blocks · count,), zeros."""
    for b in range(out.size // count):
        for at in range(0, runs.size, RUN):
            code, apart, byte = b * count + pick(runs, at), pick(runs, at + 1), b * nbytes + pick(runs, at + 2)
            place, mask, shift = bits_of(runs, at)
            for i in range(pick(runs, at + 3)):
                add(data, byte + i, shift, mask, place, out, code + i * apart)


@kernel
def write_field(codes, count, runs, nbytes, out):
    """Undo `read_field` in blocks whose bits of this field are zero. codes: (blocks · count,)."""
    for b in range(codes.size // count):
        for at in range(0, runs.size, RUN):
            code, apart, byte = b * count + pick(runs, at), pick(runs, at + 1), b * nbytes + pick(runs, at + 2)
            place, mask, shift = bits_of(runs, at)
            for i in range(pick(runs, at + 3)):
                add(codes, code + i * apart, place, mask, shift, out, byte + i)


def unpack(layout: Layout, data: np.ndarray) -> dict[str, np.ndarray]:
    """uint8 (blocks, nbytes) -> {field: (blocks, count)}."""
    codes, stored = {}, read_only(np.ascontiguousarray(data).reshape(-1))
    for field in layout.fields:
        out = np.zeros((len(data), field.count), field.unsigned)
        read_field(stored, layout.nbytes, runs_of(field), field.count, out.reshape(-1))
        codes[field.name] = out.view(field.stored)
    return codes


def pack(layout: Layout, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """{field: (blocks, count)}, of the types that `unpack` gives -> uint8 (blocks, nbytes)."""
    out = np.zeros((len(codes[layout.fields[0].name]), layout.nbytes), np.uint8)
    for field in layout.fields:
        code = np.ascontiguousarray(codes[field.name], field.stored).view(field.unsigned)
        write_field(read_only(code).reshape(-1), field.count, runs_of(field), layout.nbytes, out.reshape(-1))
    return out
