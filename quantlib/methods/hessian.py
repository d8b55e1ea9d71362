"""What calibration leaves of a layer's inputs, and the Hessian of the layer's output error that follows from it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.rows import as_float32


class Gram:
    """Sums over the input activations x of a layer, one vector for each token: all that the methods need of a text.

    products: Σ x xᵀ, float32 (inputs, inputs). magnitudes: Σ |x|, largest: max |x|, float32 (inputs,). tokens: how many
    were added. It grows in place, batch by batch, so that activations need not be kept.
    """

    def __init__(self, inputs: int):
        self.products = np.zeros((inputs, inputs), np.float32)
        self.magnitudes, self.largest = np.zeros(inputs, np.float32), np.zeros(inputs, np.float32)
        self.tokens = 0

    @classmethod
    def of(cls, x: np.ndarray) -> "Gram":
        """The sums over x (tokens, inputs)."""
        return cls(np.shape(x)[-1]).add(x)

    def add(self, x: np.ndarray) -> "Gram":
        """Add the tokens of x (..., inputs); returns itself. Raises MethodError on another width, NaN and infinity."""
        x = as_float32(x).reshape(-1, np.shape(x)[-1])  # (tokens, inputs)
        if x.shape[1] != len(self.products):
            raise MethodError(f"These activations have {x.shape[1]:,} channels, not {len(self.products):,} as before.")
        with np.errstate(over="ignore", invalid="ignore"):
            products = x.T @ x
        if not np.isfinite(products).all():
            raise MethodError(
                "The calibration activations hold NaN or infinity, or are so large that their squares do: check the "
                "model on this text before quantizing it."
            )
        self.products += products
        size = np.abs(x)
        self.magnitudes += size.sum(0)
        np.maximum(self.largest, size.max(0, initial=0), out=self.largest)
        self.tokens += len(x)
        return self

    @classmethod
    def sum(cls, grams: Iterable["Gram"]) -> "Gram":
        """The sums over all tokens that were added to any of these."""
        grams = list(grams)
        out = cls(len(grams[0].products))
        for gram in grams:
            out._take(gram, 1.0)
        return out

    def leaning(self, average: "Gram", tokens: int) -> "Gram":
        """These sums as if so many more tokens had been added, like those of another on average."""
        out = Gram.sum([self])
        out._take(average, tokens / max(1, average.tokens))
        return out

    def _take(self, other: "Gram", times: float) -> None:
        self.products += np.float32(times) * other.products
        self.magnitudes += np.float32(times) * other.magnitudes
        np.maximum(self.largest, other.largest, out=self.largest)
        self.tokens += round(times * other.tokens)

    @property
    def hessian(self) -> np.ndarray:
        """2 Σ x xᵀ / tokens, float32 (inputs, inputs): of the mean squared output error, as GPTQ scales it."""
        if not self.tokens:
            raise MethodError("There are no calibration activations for this layer: give a text.")
        return self.products * np.float32(2 / self.tokens)

    @property
    def mean_magnitudes(self) -> np.ndarray:
        """Σ |x| / tokens of each input channel, float32 (inputs,): what AWQ's scales follow."""
        return self.magnitudes / np.float32(max(1, self.tokens))

    @property
    def mean_squares(self) -> np.ndarray:
        """Σ x² / tokens of each input channel, float32 (inputs,): a tensor's row of an importance matrix."""
        return np.diagonal(self.products) / np.float32(max(1, self.tokens))


def output_error(difference: np.ndarray, hessian: np.ndarray) -> float:
    """Mean over tokens of ‖(W − Ŵ) x‖²: difference W − Ŵ (outputs, inputs), hessian 2 Σ x xᵀ / tokens."""
    difference = np.asarray(difference, np.float32)
    return 0.5 * float(np.sum((difference @ hessian) * difference, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Factor:
    """The damped Hessian, ready for elimination in a given order of columns.

    upper: U, upper triangular with (H + λ I)⁻¹ = Uᵀ U, float32 (inputs, inputs), rows and columns in that order.
    hessian: the damped H in that order. order: int (inputs,), the columns by their place. dead: columns without input.
    """

    upper: np.ndarray
    hessian: np.ndarray
    order: np.ndarray
    dead: np.ndarray


def factorize(hessian: np.ndarray, damping: float = 0.01, by_activation: bool = False, together: int = 1) -> Factor:
    """Damp, order and invert a Hessian (inputs, inputs).

    Dead channels, whose diagonal is 0, get a diagonal of 1. damping: λ as a share of the mean of the diagonal.
    by_activation: the columns of largest diagonal first ("act-order"), `together` neighbours as one. Source: the GPTQ
    reference, `fasterquant`.
    Raises MethodError on a matrix that is no Hessian, that has no live channel, or that damping leaves singular.
    """
    h = _checked(hessian)
    diagonal = np.arange(len(h))
    dead = np.flatnonzero(h[diagonal, diagonal] == 0)
    if len(dead) == len(h):
        raise MethodError("Every input channel of this layer is 0 on the calibration text, so there is nothing to fit.")
    h[dead, dead] = 1
    runs = -h[diagonal, diagonal].reshape(-1, together).sum(axis=1)
    first = np.argsort(runs, kind="stable")[:, None] * together
    order = (first + np.arange(together)).ravel() if by_activation else diagonal
    h[diagonal, diagonal] += np.float32(damping) * h[diagonal, diagonal].mean()
    h = h[order[:, None], order]
    # Cholesky from the last column on gives H = R Rᵀ with R upper triangular; then U = R⁻¹, as H⁻¹ = R⁻ᵀ R⁻¹.
    try:
        lower = np.linalg.cholesky(h[::-1, ::-1].astype(np.float64))
    except np.linalg.LinAlgError:
        raise MethodError(
            f"The Hessian of this layer is singular even with a damping of {damping:g}: use more calibration text or "
            f"a larger damping."
        ) from None
    return Factor(_inverse(lower[::-1, ::-1]).astype(np.float32), h, order, dead)


def _inverse(upper: np.ndarray, small: int = 256) -> np.ndarray:
    """The inverse of an upper triangular matrix: [[A, B], [0, C]]⁻¹ = [[A⁻¹, −A⁻¹ B C⁻¹], [0, C⁻¹]]."""
    n = len(upper)
    if n <= small:
        return np.triu(np.linalg.inv(upper))
    half, out = n // 2, np.zeros_like(upper)
    out[:half, :half] = _inverse(upper[:half, :half])
    out[half:, half:] = _inverse(upper[half:, half:])
    out[:half, half:] = -(out[:half, :half] @ upper[:half, half:]) @ out[half:, half:]
    return out


def _checked(hessian: np.ndarray) -> np.ndarray:
    """A float32 copy of a square matrix that is finite and whose diagonal is not negative."""
    h = np.array(hessian, np.float32)
    if h.ndim != 2 or h.shape[0] != h.shape[1]:
        raise MethodError(f"A Hessian is a square matrix, not an array of shape {h.shape}.")
    if not np.isfinite(h).all() or (np.diagonal(h) < 0).any():
        raise MethodError("The Hessian holds NaN, infinity or a negative mean square: it is not one of activations.")
    return h
