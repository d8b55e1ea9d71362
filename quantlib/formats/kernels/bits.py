"""Codes at any bit addresses: each is a few pieces, a piece some neighbouring bits of one byte."""

import numpy as np

from quantlib.formats.kernels.scalar import inlined
from quantlib.formats.kernels.simd import pick, put
from quantlib.formats.rows import read_only


def pieces(layout, *names: str) -> list[np.ndarray]:
    """The pieces of every code of fields: int32 (count, pieces, 4) of byte, shift there, mask, shift in the code.

    A code of fewer pieces is filled up with empty ones.
    """
    return [read_only(_pieces(layout.field(name).bits)) for name in names]


def _pieces(bits: np.ndarray) -> np.ndarray:
    codes = []
    for code in bits:
        parts = []
        for place, bit in enumerate(code):
            byte, shift = divmod(int(bit), 8)
            if parts and parts[-1][0] == byte and parts[-1][1] + parts[-1][2] == shift:
                parts[-1][2] += 1
            else:
                parts.append([byte, shift, 1, place])
        codes.append([[byte, shift, (1 << width) - 1, place] for byte, shift, width, place in parts])
    most = max(map(len, codes))
    return np.array([code + [[0, 0, 0, 0]] * (most - len(code)) for code in codes], np.int32)


@inlined
def read_code(data, at, pieces, number):
    """Code `number` of the block that starts at data[at]."""
    code = 0
    count = pieces.shape[1]
    for i in range(number * count, (number + 1) * count):
        byte = np.int64(pick(data, at + pick(pieces, 4 * i)))
        code |= (byte >> pick(pieces, 4 * i + 1) & pick(pieces, 4 * i + 2)) << pick(pieces, 4 * i + 3)
    return code


@inlined
def write_code(code, data, at, pieces, number):
    """Set the bits of code `number` in a block of zeros that starts at data[at]."""
    count = pieces.shape[1]
    for i in range(number * count, (number + 1) * count):
        byte = (code >> pick(pieces, 4 * i + 3) & pick(pieces, 4 * i + 2)) << pick(pieces, 4 * i + 1)
        place = at + pick(pieces, 4 * i)
        put(data, place, pick(data, place) | np.uint8(byte))
