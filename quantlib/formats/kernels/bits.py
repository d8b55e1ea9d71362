"""Codes at any bit addresses: each is a few pieces, a piece some neighbouring bits of four bytes."""

import numpy as np

from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import pick, pick_word, put_word


def pieces(layout, *names: str) -> list[np.ndarray]:
    """The pieces of every code of fields: int32 (count, pieces, 4) of byte, shift there, mask, shift in the code.

    A code of fewer pieces is filled up with empty ones. No piece reaches beyond the block.
    """
    return [read_only(_pieces(layout.field(name).bits, layout.nbytes)) for name in names]


def _pieces(bits: np.ndarray, nbytes: int) -> np.ndarray:
    codes = []
    for code in bits:
        starts = [place for place, bit in enumerate(code) if place == 0 or bit != code[place - 1] + 1]
        parts = []
        for place, end in zip(starts, [*starts[1:], len(code)], strict=True):
            byte = min(int(code[place]) // 8, nbytes - 4)
            parts.append([byte, int(code[place]) - 8 * byte, (1 << (end - place)) - 1, place])
        codes.append(parts)
    most = max(map(len, codes))
    return np.array([code + [[0, 0, 0, 0]] * (most - len(code)) for code in codes], np.int32)


@inlined
def read_piece(data, at, pieces, i):
    """The bits of piece i of all, where they belong in their code."""
    word = np.int32(pick_word(data, at + pick(pieces, 4 * i)))
    return (word >> pick(pieces, 4 * i + 1) & pick(pieces, 4 * i + 2)) << pick(pieces, 4 * i + 3)


@inlined
def read_code(data, at, pieces, number):
    """Code `number` of the block that starts at data[at]."""
    count = pieces.shape[1]
    if count == 1:
        return np.int64(read_piece(data, at, pieces, number))
    code = read_piece(data, at, pieces, number * count) | read_piece(data, at, pieces, number * count + 1)
    for i in range(number * count + 2, (number + 1) * count):
        code |= read_piece(data, at, pieces, i)
    return np.int64(code)


@inlined
def write_code(code, data, at, pieces, number):
    """Set the bits of code `number` in a block of zeros that starts at data[at]."""
    count = pieces.shape[1]
    for i in range(number * count, (number + 1) * count):
        word = (code >> pick(pieces, 4 * i + 3) & pick(pieces, 4 * i + 2)) << pick(pieces, 4 * i + 1)
        place = at + pick(pieces, 4 * i)
        put_word(data, place, pick_word(data, place) | np.uint32(word))
