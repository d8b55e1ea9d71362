"""Round-to-nearest: every weight takes the nearest code, and all there is to choose is the scale."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats.finite import check_finite
from quantlib.formats.granularity import Granularity, PerGroup
from quantlib.formats.integers import IntegerFormat
from quantlib.formats.rows import as_float32

Range = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class AbsMax:
    """The range that just covers the weights: nothing is clipped."""

    power = 2.0  # of the errors that a trace counts

    def ranges(self, groups: np.ndarray, symmetric: bool) -> Iterator[Range]:
        """Ranges worth trying for groups (..., values): the lowest and highest weight to cover, (..., 1) each."""
        yield groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)


@dataclass(frozen=True)
class Percentile:
    """The range of the middle `p` percent of the weights; those outside are clipped.

    Symmetric: up to the p-th percentile of |x|. Asymmetric: from percentile (100 − p) / 2 to (100 + p) / 2 of x.
    """

    p: float
    power = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.p <= 100:
            raise FormatError(f"A percentile lies above 0 and is at most 100, not {self.p}.")

    def ranges(self, groups: np.ndarray, symmetric: bool) -> Iterator[Range]:
        """One range, as `AbsMax.ranges`."""
        if symmetric:
            size = _percentile(np.abs(groups), self.p)
            yield -size, size
        else:
            yield _percentile(groups, (100 - self.p) / 2), _percentile(groups, (100 + self.p) / 2)


@dataclass(frozen=True)
class LeastSquares:
    """The range of least squared error among the covering one and `steps` that are smaller, down to `smallest` of it.

    The covering range is tried first and kept on a tie, so the error is never above that of `AbsMax`.
    """

    steps: int = 40
    smallest: float = 0.5
    power = 2.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.smallest < 1:
            raise FormatError(
                f"Least squares tries at least one range of a size between 0 and 1, not {self.steps} down to "
                f"{self.smallest}."
            )

    def ranges(self, groups: np.ndarray, symmetric: bool) -> Iterator[Range]:
        """The covering range, then smaller and smaller ones, as `AbsMax.ranges`."""
        for low, high in AbsMax().ranges(groups, symmetric):
            for factor in np.linspace(1, self.smallest, self.steps + 1, dtype=np.float32):
                yield low * factor, high * factor


@dataclass(frozen=True)
class LeastPower(LeastSquares):
    """As `LeastSquares`, for the least sum of |error|^power: the search of the GPTQ reference's quantizer.

    Defaults: that quantizer's, `mse` on: the power 2.4 and every hundredth of the range from 1 to 0.21.
    """

    steps: int = 79
    smallest: float = 0.21
    power: float = 2.4


ScaleChoice = AbsMax | Percentile | LeastSquares | LeastPower


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every grid that was tried: scales, zeros and errors (candidates, ...), winner (...), an index of the first axis.

    The axes behind are those of `Rounded.scales`. errors: sums of |x − x̂|², float64 (of another power in LeastPower).
    """

    scales: np.ndarray
    zeros: np.ndarray
    errors: np.ndarray
    winner: np.ndarray

    @property
    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero of each group's winner."""
        return tuple(np.take_along_axis(part, self.winner[None], 0)[0] for part in (self.scales, self.zeros))


@dataclass(frozen=True, eq=False)
class Rounded:
    """A tensor on an integer grid: x̂ = scale · (code − zero).

    codes: int16, decoded: float32, of the tensor's shape. scales: float32, zeros: int32, of shape () per tensor,
    (channels,) per channel, (..., groups) per group. squared_error: Σ (x − x̂)² over the tensor.
    """

    format: IntegerFormat
    granularity: Granularity
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    decoded: np.ndarray
    squared_error: float
    trace: Candidates

    @property
    def bpw(self) -> float:
        """Bits per weight: bits + overhead · scales / weights, zero points counted with their scales."""
        return self.format.bits + self.format.overhead * self.scales.size / self.codes.size


def round_to_nearest(
    x: np.ndarray,
    form: IntegerFormat,
    granularity: Granularity | None = None,
    scale: ScaleChoice = AbsMax(),
) -> Rounded:
    """Quantize x (any shape) to the nearest codes, with the scale of each group of weights chosen as `scale` says.

    granularity: `PerGroup(form.group)` where it is not given; form.group counts nowhere else.
    Raises FormatError on NaN and infinity, on a tensor without weights, on a granularity that does not fit its shape,
    and on a scale too large for its format.
    """
    x = as_float32(x)
    if not x.size:
        raise FormatError("There are no weights here to round.")
    check_finite(form.name, x)
    granularity = PerGroup(form.group) if granularity is None else granularity
    groups = granularity.split(x)  # (..., values)
    trace = candidates(groups, form, scale)
    best, zero = (part[..., None] for part in trace.best)
    codes = form.encode(groups, best, zero)
    decoded = form.value(codes, best, zero)
    return Rounded(
        format=form,
        granularity=granularity,
        codes=granularity.join(codes, x.shape),
        scales=best[..., 0],
        zeros=zero[..., 0],
        decoded=granularity.join(decoded, x.shape),
        squared_error=float(np.square(groups - decoded, dtype=np.float64).sum()),
        trace=trace,
    )


def candidates(groups: np.ndarray, form: IntegerFormat, scale: ScaleChoice) -> Candidates:
    """The grids that `scale` tries for groups float32 (..., values), and the one of least error; the first on a tie."""
    tried = [_tried(groups, form, scale.power, *limits) for limits in scale.ranges(groups, form.symmetric)]
    scales, zeros, errors = (np.stack(part) for part in zip(*tried, strict=True))  # (candidates, ...)
    return Candidates(scales, zeros, errors, errors.argmin(0))


def _tried(
    groups: np.ndarray, form: IntegerFormat, power: float, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The grid that covers a range, and the error of rounding to it: scale, zero, error, (...) each."""
    scale, zero = form.scale_and_zero(low, high)
    error = np.abs(groups - form.value(form.encode(groups, scale, zero), scale, zero), dtype=np.float64)
    return scale[..., 0], zero[..., 0], (error**power).sum(-1)


def _percentile(x: np.ndarray, p: float) -> np.ndarray:
    return np.percentile(x, p, axis=-1, keepdims=True).astype(np.float32)
