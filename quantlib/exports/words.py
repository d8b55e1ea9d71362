"""Codes side by side in 32-bit words, the least significant bits first: how GPTQ, AWQ and compressed-tensors pack."""

import numpy as np

from quantlib.formats import bitstream

WORD = 32


def words(codes: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned codes (..., n) of `bits` bits -> int32 (..., ⌈n · bits / 32⌉); what is left of the last word is 0.

    Codes of 3, 5, 6 and 7 bits run across the border of two words.
    """
    n = codes.shape[-1]
    filled = -(-n * bits // WORD)  # words of a row
    whole = -(-filled * WORD // bits)  # codes that reach the end of the last word
    whole = -(-whole // 8) * 8  # eight codes of any width are whole bytes
    padded = np.zeros((*codes.shape[:-1], whole), np.uint8)
    padded[..., :n] = codes
    data = bitstream.pack(padded, bits)[..., : 4 * filled]
    return np.ascontiguousarray(data).view("<i4")
