"""What was lost: measures of the distance between weights and what a format stored of them."""

from dataclasses import dataclass
from math import inf, log10, sqrt

import numpy as np

FEW = 1 << 12  # pairs: for so few numpy takes no longer, and needs no compiled code


@dataclass(frozen=True)
class Loss:
    """Sums over pairs (x, x̂), from which every measure follows; losses of parts add up to the loss of the whole.

    count: pairs. squared: sum x². squared_error: sum (x - x̂)². largest_error: max |x - x̂|. largest: max |x|.
    squared_stored: sum x̂².
    """

    count: int = 0
    squared: float = 0.0
    squared_error: float = 0.0
    largest_error: float = 0.0
    largest: float = 0.0
    squared_stored: float = 0.0

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(
            self.count + other.count,
            self.squared + other.squared,
            self.squared_error + other.squared_error,
            max(self.largest_error, other.largest_error),
            max(self.largest, other.largest),
            self.squared_stored + other.squared_stored,
        )

    @property
    def rms(self) -> float:
        """Root mean square of x."""
        return sqrt(self.squared / self.count) if self.count else 0.0

    @property
    def rmse(self) -> float:
        """Root mean square error, sqrt(mean (x - x̂)²), in the unit of the weights."""
        return sqrt(self.squared_error / self.count) if self.count else 0.0

    @property
    def relative(self) -> float:
        """rmse / rms: the error as a share of the typical weight."""
        return sqrt(self.squared_error / self.squared) if self.squared else 0.0

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise ratio, 10 log10(sum x² / sum (x - x̂)²), in dB; infinite without error."""
        return 10 * log10(self.squared / self.squared_error) if self.squared_error and self.squared else inf

    @property
    def cosine(self) -> float:
        """sum x·x̂ / sqrt(sum x² · sum x̂²), from 2 sum x·x̂ = sum x² + sum x̂² - sum (x - x̂)²; 1 between zeros."""
        if not self.squared or not self.squared_stored:
            return 1.0 if self.squared == self.squared_stored else 0.0
        product = (self.squared + self.squared_stored - self.squared_error) / 2
        return max(-1.0, min(1.0, product / sqrt(self.squared) / sqrt(self.squared_stored)))


def compare(x: np.ndarray, xhat: np.ndarray) -> Loss:
    """The loss of x̂ against x, arrays of one shape; sums are taken in float64. Raises ValueError on other shapes."""
    if x.shape != xhat.shape:
        raise ValueError(f"shapes differ: {x.shape} and {xhat.shape}")
    flat = [np.ascontiguousarray(a).reshape(-1) for a in (x, xhat)]
    if x.size <= FEW:
        return Loss(x.size, *sums_of_few(*flat))
    from quantlib.loss_kernel import sums  # compiled code is loaded when it is first needed

    return Loss(x.size, *sums(*flat))


def sums_of_few(x: np.ndarray, xhat: np.ndarray) -> tuple[float, ...]:
    """`loss_kernel.sums` without compiled code: sum x², sum (x - x̂)², max |x - x̂|, max |x|, sum x̂²."""
    x, xhat = x.astype(np.float64), xhat.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinities, which whoever asks for the loss refuses
        error = x - xhat
    largest = (float(np.abs(a).max(initial=0)) for a in (error, x))
    return float(x @ x), float(error @ error), *largest, float(xhat @ xhat)
