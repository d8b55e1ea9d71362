"""Signs of the i-quants: grids hold magnitudes, so each eight weights have a byte of signs, or seven bits of one."""

import numpy as np


def split_signs(x: np.ndarray, weights: np.ndarray, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and signs of groups of weights, bit i of a sign set where weight i of the eight is negative.

    even: only seven bits are stored and the eighth follows, for every eight signs must hold an even number of minuses.
    Where they do not, the weight that matters least (least weight · x²) gets the wrong sign: its magnitude is negative.

    x, weights: float32 (..., n) -> magnitudes float32 (..., n), signs uint8 (..., n / 8).
    """
    eights = x.reshape(*x.shape[:-1], -1, 8)
    minus = ~(eights >= 0)
    if even:
        cost = weights.reshape(eights.shape) * eights * eights
        cost[..., 1:] = np.where(np.isnan(cost[..., 1:]), np.inf, cost[..., 1:])  # ∞ · 0: never the least
        least = np.arange(8) == cost.argmin(axis=-1)[..., None]
        odd = minus.sum(axis=-1, keepdims=True) % 2 == 1
        minus = minus ^ (least & odd)
    magnitude = np.where(minus, -eights, eights).reshape(x.shape)
    signs = np.packbits(minus, axis=-1, bitorder="little")[..., 0]
    return magnitude, signs & 127 if even else signs


def expand_signs(signs: np.ndarray, even: bool) -> np.ndarray:
    """1 and −1 for each weight: uint8 (..., n) -> int8 (..., 8 · n). even: the eighth sign makes minuses even."""
    minus = np.unpackbits(signs[..., None], axis=-1, bitorder="little")  # (..., n, 8)
    if even:
        minus[..., 7] = minus[..., :7].sum(axis=-1) % 2
    return (1 - 2 * minus.astype(np.int8)).reshape(*signs.shape[:-1], -1)
