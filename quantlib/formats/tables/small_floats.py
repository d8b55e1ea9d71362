"""The numbers of four-bit floats, and of the scales that they share."""

import numpy as np

F32 = np.float32
# The numbers of FP4 (E2M1), doubled so that they are whole; scales are halved in turn (kvalues_fp4 in ggml-common.h).
VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)


def power_of_two(e: np.ndarray) -> np.ndarray:
    """Half of an E8M0 scale, which has an exponent and nothing else: 2^(e − 128). uint8 (...) -> float32 (...)."""
    return np.ldexp(F32(1), e.astype(np.int32) - 128)


def whole_logarithm(x: np.ndarray) -> np.ndarray:
    """⌊log₂ x⌋ of float32, as ggml has it: rounded to float32 before the floor, so just below 2ⁿ it is n already."""
    return np.floor(np.log2(x.astype(float)).astype(F32))


def small_float(e: np.ndarray) -> np.ndarray:
    """Half of an unsigned E4M3 scale: (1 + fraction / 8) · 2^(exponent − 8). uint8 (...) -> float32 (...).

    The pattern 127 is no number and counts as 0. The highest bit means nothing.
    """
    exponent, fraction = (e >> 3 & 15).astype(np.int32), (e & 7).astype(F32)
    value = np.where(exponent > 0, np.ldexp(1 + fraction / 8, exponent - 7), np.ldexp(fraction, -9)) / F32(2)
    return np.where((e == 0) | (e == 127), F32(0), value).astype(F32)
