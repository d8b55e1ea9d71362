"""HQQ: without any text, move each group's zero point so that the error is sparse: small for most weights.

    minimize over z:  Σ |w − s (q − z)|^p,   q = clip(round(w / s + z)),   p < 1

A norm below 1 forgives the few weights that fit badly. Half-quadratic splitting gives two steps that alternate: e, the
error after shrinking by the l_p proximal operator at strength 1/β, and z = mean(q − (w − e) / s); β grows.
Source: Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023.
"""

from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import as_float32
from quantlib.methods.awq import AffineGroups

F32 = np.float32
GROUPS_OF_64 = AffineGroups(4, 64)


@dataclass(frozen=True)
class Schedule:
    """p: of the norm. first, last: β from the first to the last step, in even factors, for weights whose grid step is
    1: errors are measured in steps, so that one schedule fits weights of any size. steps: how many, at most.
    """

    p: float = 0.7
    first: float = 1.0
    last: float = 1e4
    steps: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise MethodError(f"HQQ's norm has a power between 0 and 1, not {self.p:g}.")
        if self.steps < 1 or not 0 < self.first <= self.last:
            raise MethodError("HQQ takes at least one step, with β above 0 and never falling.")

    @property
    def betas(self) -> np.ndarray:
        return np.geomspace(self.first, self.last, self.steps)


@dataclass(frozen=True, eq=False)
class HqqTrace:
    """How the zero points moved. betas: float64 (steps,). zeros: float32 (steps + 1, outputs, groups), the start first.

    errors: float64 (steps + 1, outputs, groups), Σ |w − x̂|^p of each group, in grid steps. winner: int
    (outputs, groups), the place of each group's least error.
    """

    betas: np.ndarray
    zeros: np.ndarray
    errors: np.ndarray
    winner: np.ndarray


@dataclass(frozen=True, eq=False)
class Hqq:
    """x̂ = scales · (codes − zeros), the zeros being fractions. codes: uint8 (outputs, inputs); scales, zeros: float32
    (outputs, groups), rounded to FP16 as they are stored.
    """

    grid: AffineGroups
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    trace: HqqTrace

    @property
    def bpw(self) -> float:
        """Bits per weight: the codes, and a scale and a zero point in FP16 for each group."""
        return self.grid.bits + 32 / self.grid.group

    def dequantized(self) -> np.ndarray:
        """x̂, float32 (outputs, inputs)."""
        codes = self.codes.reshape(*self.scales.shape, -1).astype(F32)  # (outputs, groups, group)
        return ((codes - self.zeros[..., None]) * self.scales[..., None]).reshape(self.codes.shape)


def hqq(weight: np.ndarray, grid: AffineGroups = GROUPS_OF_64, schedule: Schedule = Schedule()) -> Hqq:
    """Choose zero points and codes of a weight (outputs, inputs), from the weight alone.

    The start is the grid from the lowest weight of a group to its highest; each group keeps the zero point of the least
    error, so none ends worse. Raises MethodError where groups do not divide the width, FormatError on NaN.
    """
    w = as_float32(weight)
    check_finite("HQQ", w)
    groups = grid.split(w)  # (outputs, groups, group)
    top = F32(2**grid.bits - 1)
    low, high = groups.min(-1), groups.max(-1)
    # As stored, never 0, and never so small that a zero point, a multiple of it, is too large for FP16 to resolve.
    scale = np.maximum((high - low) / top, np.maximum(np.abs(groups).max(-1) / F32(1024), F32(1e-7)))
    scale = _half(scale)[..., None]
    steps = groups / scale
    zero = _half(-low[..., None] / scale)
    tried, missed = [zero], [_error(steps, zero, top, schedule.p)]
    for beta in schedule.betas:
        codes = np.clip(np.rint(steps + zero), 0, top)
        kept = shrink(steps - (codes - zero), beta, schedule.p)
        zero = _half((codes - (steps - kept)).mean(-1, keepdims=True))
        tried.append(zero)
        missed.append(_error(steps, zero, top, schedule.p))
    zeros, errors = np.stack(tried)[..., 0], np.stack(missed)  # (steps + 1, outputs, groups)
    winner = errors.argmin(0)
    best = np.take_along_axis(zeros, winner[None], 0)[0]
    codes = np.clip(np.rint(steps + best[..., None]), 0, top).astype(np.uint8)
    trace = HqqTrace(schedule.betas, zeros, errors, winner)
    return Hqq(grid, codes.reshape(w.shape), scale[..., 0], best, trace)


def shrink(x: np.ndarray, beta: float, p: float) -> np.ndarray:
    """The soft threshold of l_p, sign(x) · max(0, |x| − |x|^(p−1) / β): what is near 0 vanishes, the rest stays."""
    size = np.abs(x)
    with np.errstate(divide="ignore"):
        return np.sign(x) * np.maximum(size - size ** F32(p - 1) / F32(beta), F32(0))


def _half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(F32)


def _error(steps: np.ndarray, zero: np.ndarray, top: np.floating, p: float) -> np.ndarray:
    miss = np.abs(steps + zero - np.clip(np.rint(steps + zero), 0, top))
    return (miss ** F32(p)).sum(-1, dtype=np.float64)
