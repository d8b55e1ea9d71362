"""Codes of any width from 1 to 8 bits stored side by side, least significant bits first."""

from math import gcd

import numpy as np


def unit(bits: int) -> tuple[int, int]:
    """The fewest codes of that width that fill whole bytes, and how many bytes: (4, 3) for 6 bits."""
    shared = gcd(8, bits)
    return 8 // shared, bits // shared


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes (..., n) of `bits` bits -> uint8 (..., n · bits / 8); n is a multiple of `unit(bits)[0]`.

    The first code takes the lowest bits of the first byte, as in the OCP microscaling formats.
    """
    if bits == 8:
        return np.ascontiguousarray(codes, np.uint8)
    values, nbytes = unit(bits)
    word = _word(nbytes)
    units = codes.reshape(*codes.shape[:-1], -1, values)  # (..., units, values)
    words = np.zeros(units.shape[:-1], word)
    for i in range(values):
        words |= units[..., i].astype(word) << word.type(bits * i)
    raw = words[..., None].view(np.uint8)[..., :nbytes]  # (..., units, bytes)
    return raw.reshape(*codes.shape[:-1], -1)


def unpack(data: np.ndarray, bits: int) -> np.ndarray:
    """uint8 (..., bytes) -> codes, uint8 (..., 8 · bytes / bits). Undoes `pack`."""
    if bits == 8:
        return data
    values, nbytes = unit(bits)
    word = _word(nbytes)
    raw = data.reshape(*data.shape[:-1], -1, nbytes)  # (..., units, bytes)
    wide = np.zeros((*raw.shape[:-1], word.itemsize), np.uint8)
    wide[..., :nbytes] = raw
    words = wide.view(word)  # (..., units, 1)
    shifts = (bits * np.arange(values)).astype(word)
    codes = (words >> shifts & word.type((1 << bits) - 1)).astype(np.uint8)  # (..., units, values)
    return codes.reshape(*data.shape[:-1], -1)


def _word(nbytes: int) -> np.dtype:
    return np.dtype(next(f"<u{size}" for size in (1, 2, 4, 8) if nbytes <= size))
