"""How a group of weights gets its scale: the searches behind ggml's k-quants.

Everything is float32 and every sum runs from left to right: rounding makes the order of operations part of the bytes.
Sources: ggml-quants.c, make_qkx2_quants and make_qkx3_quants (`scale_and_minimum`), make_qx_quants (`symmetric_scale`),
make_q3_quants (`refined_scale`), make_qp_quants (`positive_scale`).
"""

from dataclasses import dataclass

import numpy as np

F32 = np.float32
# Dense around zero, where most weights are (kvalues_iq4nl in ggml-common.h).
VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
MIDPOINTS = (VALUES[1:].astype(F32) + VALUES[:-1].astype(F32)) / 2
LEAST = F32(1e-15)  # a group whose largest magnitude is below is taken for zero


@dataclass(frozen=True, eq=False)
class Search:
    """What a search tried and what it chose, for groups (..., n) of weights.

    scale, minimum: float32 (...), the winner's: x ≈ scale · code − minimum. codes: int32 (..., n), the winner's.
    scales, minima, errors: (..., candidates), in the order tried; an error is NaN where the candidate is unusable.
    winner: (...), the number of the winning candidate.
    """

    scale: np.ndarray
    minimum: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    minima: np.ndarray
    errors: np.ndarray
    winner: np.ndarray


def nearest_int(v: np.ndarray) -> np.ndarray:
    """Nearest integer of float32, ties to even: adding 1.5 · 2²³ leaves it in the low 23 bits. int32 of the same shape.

    Infinities and NaN give -2²² and 0 instead of an error, and so they do in ggml.
    """
    bits = (np.asarray(v, F32) + F32(12582912)).view(np.int32)
    return (bits & 0x7FFFFF) - 0x400000


def nearest_value(v: np.ndarray) -> np.ndarray:
    """The number of the nearest of `VALUES`, the higher one of two at the same distance. uint8 of the same shape."""
    return np.searchsorted(MIDPOINTS, v, side="right").astype(np.uint8)


def total(terms: np.ndarray) -> np.ndarray:
    """Sum over the last axis from left to right, starting at zero (numpy's own sum pairs the terms up)."""
    return np.cumsum(terms, axis=-1, dtype=F32)[..., -1] + F32(0)


def _divide(a: np.ndarray, b: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """a / b, and `otherwise` where b is zero."""
    return np.where(b != 0, a / b, F32(otherwise))


def scale_and_minimum(
    x: np.ndarray, weights: np.ndarray, levels: int, first: float, step: float, steps: int, absolute: bool = False
) -> Search:
    """Find d ≥ 0 and m ≥ 0 so that d · q − m, q in 0 … levels, comes closest to x.

    The first candidate spans the group from its lowest value (or 0) to its highest. Each further candidate stretches
    that range a little, rounds x to codes, and fits the line through (code, x) by weighted least squares; it wins when
    its weighted squared error is the least so far (`absolute`: its weighted absolute error). A winner's minimum is the
    low end from which later ones round.

    x, weights: float32 (..., n). Candidate s + 1 has the inverse scale (first + step · s + levels) / range, s ≤ steps.
    """
    high = x.max(axis=-1)
    low = np.take_along_axis(x, x.argmin(axis=-1)[..., None], axis=-1)[..., 0]  # of equal ones the first: −0 or 0
    low = np.where(low > 0, F32(0), low)
    sum_w = np.cumsum(weights, axis=-1)[..., -1]
    sum_x = np.cumsum(weights * x, axis=-1)[..., -1]

    def codes_of(inverse: np.ndarray) -> np.ndarray:
        return np.clip(nearest_int(inverse[..., None] * (x - low[..., None])), 0, levels)

    def error_of(codes: np.ndarray, scale: np.ndarray, low: np.ndarray) -> np.ndarray:
        miss = scale[..., None] * codes.astype(F32) + low[..., None] - x
        return total(weights * (np.abs(miss) if absolute else miss * miss))

    flat = high == low  # then every code is 0 and so is the scale
    inverse = F32(levels) / (high - low)
    codes = np.where(flat[..., None], 0, codes_of(inverse))
    scale = np.where(flat, F32(0), F32(1) / inverse)
    best = error_of(codes, scale, low)
    winner = np.zeros(x.shape[:-1], np.int64)
    tried = [(scale, -low, best)]

    for s in range(steps + 1):
        inverse = (F32(first) + F32(step) * F32(s) + F32(levels)) / (high - low)
        trial = codes_of(inverse)
        code = trial.astype(F32)
        sum_l = total(weights * code)
        sum_l2 = total(weights * code * code)
        sum_xl = total(weights * code * x)
        spread = sum_w * sum_l2 - sum_l * sum_l
        trial_scale = (sum_w * sum_xl - sum_x * sum_l) / spread
        trial_low = (sum_l2 * sum_x - sum_l * sum_xl) / spread
        above = trial_low > 0  # a minimum cannot be negative: fit the scale alone
        trial_scale = np.where(above, sum_xl / sum_l2, trial_scale)
        trial_low = np.where(above, F32(0), trial_low)
        error = error_of(trial, trial_scale, trial_low)

        usable = (spread > 0) & ~flat
        better = usable & (error < best)
        codes = np.where(better[..., None], trial, codes)
        scale = np.where(better, trial_scale, scale)
        low = np.where(better, trial_low, low)
        best = np.where(better, error, best)
        winner = np.where(better, s + 1, winner)
        tried.append((trial_scale, -trial_low, np.where(usable, error, F32(np.nan))))

    scales, minima, errors = (np.stack(column, axis=-1) for column in zip(*tried, strict=True))
    return Search(scale, -low, codes, scales, minima, errors, winner)


def symmetric_scale(x: np.ndarray, weights: np.ndarray, levels: int) -> Search:
    """Find d so that d · q, q in −levels … levels − 1, comes closest to x.

    The first candidate puts the value of largest magnitude at −levels. Eighteen more move it by tenths of a step up to
    ±0.9. For given codes the best scale is Σwxq / Σwq², and it removes (Σwxq)² / Σwq² of the error Σwx²: the candidate
    that removes most wins.

    x, weights: float32 (..., n). A group below 1e-15 everywhere has scale 0 and the codes −levels.
    """
    size = np.where(np.isnan(x), F32(0), np.abs(x))  # ggml passes over NaN, which a search can leave as a scale
    largest = np.take_along_axis(x, size.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    nothing = size.max(axis=-1) < LEAST
    scale = best = np.zeros(x.shape[:-1], F32)
    codes = np.full(x.shape, -levels, np.int32)
    winner = np.zeros(x.shape[:-1], np.int64)
    tried: list[tuple[np.ndarray, np.ndarray]] = []

    for s in (0, *range(-9, 0), *range(1, 10)):
        inverse = -(F32(levels) + F32(0.1) * F32(s)) / largest
        trial = np.clip(nearest_int(inverse[..., None] * x), -levels, levels - 1)
        code = trial.astype(F32)
        sum_xl = total(weights * x * code)
        sum_l2 = total(weights * code * code)
        trial_scale = _divide(sum_xl, sum_l2)

        first = s == 0
        better = ~nothing & (first | ((sum_l2 > 0) & (sum_xl * sum_xl > best * sum_l2)))
        codes = np.where(better[..., None], trial, codes)
        scale = np.where(better, trial_scale, scale)
        best = np.where(better, trial_scale * sum_xl, best)
        winner = np.where(better, len(tried), winner)
        miss = x - trial_scale[..., None] * code
        error = (weights.astype(float) * miss.astype(float) ** 2).sum(axis=-1)
        tried.append((trial_scale, np.where(nothing | (~first & (sum_l2 == 0)), np.nan, error)))

    scales, errors = (np.stack(column, axis=-1) for column in zip(*tried, strict=True))
    return Search(scale, np.zeros_like(scale), codes, scales, np.zeros_like(scales), errors, winner)


def refined_scale(x: np.ndarray, weights: np.ndarray, levels: int) -> Search:
    """Find d so that d · q, q in −levels … levels − 1, comes closest to x, by moving one code at a time.

    The value of largest magnitude goes to −levels. Then each code in turn moves to where it fits best against the scale
    that the others imply, five rounds at most. ggml does so only where Σwxq of the others is positive: a group whose
    largest value is positive keeps its first codes. Candidates are the states after each round.

    x, weights: float32 (..., n). A group below 1e-15 everywhere has scale 0 and the codes −levels.
    """
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=-1)[..., None], axis=-1)
    nothing = np.abs(largest[..., 0]) < LEAST
    codes = np.clip(nearest_int(F32(-levels) / largest * x), -levels, levels - 1)
    sum_xl = total(weights * x * codes.astype(F32))
    sum_l2 = total(weights * codes.astype(F32) * codes.astype(F32))
    winner = np.zeros(x.shape[:-1], np.int64)
    tried: list[tuple[np.ndarray, np.ndarray]] = []

    for turn in range(6):
        for i in range(x.shape[-1]) if turn > 0 else ():
            wx, w, old = weights[..., i] * x[..., i], weights[..., i], codes[..., i].astype(F32)
            rest_xl, rest_l2 = sum_xl - wx * old, sum_l2 - w * old * old  # what the other codes say
            moved = np.clip(nearest_int(x[..., i] * rest_l2 / rest_xl), -levels, levels - 1)
            new = moved.astype(F32)
            new_xl, new_l2 = rest_xl + wx * new, rest_l2 + w * new * new
            better = (rest_xl > 0) & (moved != codes[..., i]) & (new_l2 > 0)
            better &= new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2
            codes[..., i] = np.where(better, moved, codes[..., i])
            sum_xl, sum_l2 = np.where(better, new_xl, sum_xl), np.where(better, new_l2, sum_l2)
            winner = np.where(better, turn, winner)
        scale = np.where((sum_l2 > 0) & ~nothing, sum_xl / sum_l2, F32(0))
        miss = x - scale[..., None] * codes.astype(F32)
        error = (weights.astype(float) * miss.astype(float) ** 2).sum(axis=-1)
        tried.append((scale, np.where(nothing, np.nan, error)))

    scales, errors = (np.stack(column, axis=-1) for column in zip(*tried, strict=True))
    codes = np.where(nothing[..., None], -levels, codes)
    return Search(
        scale, np.zeros_like(scale), codes, scales, np.zeros_like(scales), errors, np.where(nothing, 0, winner)
    )


def positive_scale(x: np.ndarray, weights: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Find d and codes 0 … levels so that d · q comes closest to a few positive numbers; gives (d, codes).

    Nine ranges are tried as in the other searches. Then each code in turn is moved to where it fits best against the
    scale that the others imply, five rounds at most.

    x, weights: float32 (..., n). d: float32 (...). codes: uint8 (..., n).
    """
    largest = np.maximum(x.max(axis=-1), F32(0))
    nothing = largest < LEAST

    def error_of(codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
        miss = x - scale[..., None] * codes.astype(F32)
        return total(weights * miss * miss)

    inverse = F32(levels) / largest
    best = error_of(nearest_int(inverse[..., None] * x).astype(np.uint8), F32(1) / inverse)
    for s in (-4, -3, -2, -1, 1, 2, 3, 4):
        trial = (F32(0.1) * F32(s) + F32(levels)) / largest
        error = error_of(np.minimum(nearest_int(trial[..., None] * x), levels), F32(1) / trial)
        inverse, best = np.where(error < best, trial, inverse), np.where(error < best, error, best)

    trial = np.minimum(nearest_int(inverse[..., None] * x), levels)
    codes = trial.astype(np.uint8)
    sum_xl = total(weights * x * trial.astype(F32))
    sum_l2 = total(weights * trial.astype(F32) * trial.astype(F32))
    for _ in range(5):
        for i in range(x.shape[-1]):
            wx, w, old = weights[..., i] * x[..., i], weights[..., i], codes[..., i].astype(F32)
            rest_xl, rest_l2 = sum_xl - wx * old, sum_l2 - w * old * old  # what the other codes say
            moved = np.minimum(nearest_int(x[..., i] * rest_l2 / rest_xl), levels)
            new = moved.astype(F32)
            new_xl, new_l2 = rest_xl + wx * new, rest_l2 + w * new * new
            better = (rest_xl > 0) & (rest_l2 > 0) & (moved != codes[..., i])
            better &= new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2
            codes[..., i] = np.where(better, moved, codes[..., i]).astype(np.uint8)
            sum_xl, sum_l2 = np.where(better, new_xl, sum_xl), np.where(better, new_l2, sum_l2)

    d = np.where((sum_l2 > 0) & ~nothing, sum_xl / sum_l2, F32(0))
    return d, np.where(nothing[..., None], np.uint8(0), codes)
