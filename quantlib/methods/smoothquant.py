"""SmoothQuant: move the difficulty from activations, which have outlier channels, to weights, which have none.

    x Wᵀ = (x / s) (W · s)ᵀ,   s_j = max|x_j|^α / max|W_j|^(1−α);   then both sides to 8 bits (W8A8)

Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2022,
and the authors' code (`smooth_ln_fcs`, `quantize_activation_per_token_absmax`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import as_float32

F32 = np.float32
LEAST = F32(1e-5)
ALPHAS = tuple(i / 20 for i in range(21))


def smoothing_scales(largest: np.ndarray, weights: Sequence[np.ndarray], alpha: float = 0.5) -> np.ndarray:
    """s of matrices (outputs, inputs) that read the same inputs: float32 (inputs,).

    largest: max|x| of each channel over the calibration text, (inputs,). alpha: 0 moves nothing of the activations'
    spread, 1 all of it. Raises MethodError where shapes do not fit or alpha lies outside 0 … 1.
    """
    if not 0 <= alpha <= 1:
        raise MethodError(f"SmoothQuant's alpha lies between 0 and 1, not at {alpha:g}.")
    largest = as_float32(largest)
    if any(w.ndim != 2 or w.shape[1:] != largest.shape for w in weights) or not weights:
        raise MethodError(f"There are {largest.size:,} calibrated channels; each matrix must read exactly these.")
    of_weights = np.maximum(np.max([channel_largest(w) for w in weights], axis=0), LEAST)
    return np.maximum(largest ** F32(alpha) / of_weights ** F32(1 - alpha), LEAST).astype(F32)


def channel_largest(x: np.ndarray) -> np.ndarray:
    """max|x| of each channel: (..., channels) -> (channels,)."""
    return np.abs(x).reshape(-1, x.shape[-1]).max(0)


@dataclass(frozen=True, eq=False)
class Int8Rows:
    """x̂ = scale · code with one scale for each row, which is an output channel of a weight, a token of activations.

    codes: int8 (rows, inputs). scales: float32 (rows, 1), max(max|x|, 1e−5) / 127, or / 7 where 4 bits are used.
    """

    codes: np.ndarray
    scales: np.ndarray

    def decode(self) -> np.ndarray:
        """x̂, float32 (rows, inputs)."""
        return self.codes * self.scales


def int8_rows(x: np.ndarray, bits: int = 8) -> Int8Rows:
    """Rows (rows, inputs) to int8, ties to even. bits: 2 to 8, how many of the eight are used.

    Raises FormatError on NaN and infinity, MethodError for another number of bits.
    """
    if not 2 <= bits <= 8:
        raise MethodError(f"Rows in int8 use 2 to 8 bits, not {bits}.")
    x = as_float32(x)
    check_finite("INT8", x)
    scales = np.maximum(np.abs(x).max(-1, keepdims=True), LEAST) / F32(2 ** (bits - 1) - 1)
    return Int8Rows(np.rint(x / scales).astype(np.int8), scales)


def multiply(x: Int8Rows, weight: Int8Rows) -> np.ndarray:
    """x̂ Ŵᵀ as hardware computes it: whole numbers first, scales afterwards; float32 (tokens, outputs)."""
    return integer_product(x.codes, weight.codes).astype(F32) * x.scales * weight.scales.T


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    """‖found − exact‖ / ‖exact‖."""
    return float(np.linalg.norm(found - exact) / max(np.linalg.norm(exact), np.finfo(F32).tiny))


def integer_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a bᵀ of int8 matrices, exact: float64 holds every sum of products up to 2⁵³."""
    return a.astype(np.float64) @ b.astype(np.float64).T


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A layer with smoothed inputs and a weight of 8 bits. scales: s (inputs,); weight: Int8Rows of W · s.

    bits: how many of the eight are used, on both sides.
    """

    alpha: float
    scales: np.ndarray
    weight: Int8Rows
    bits: int = 8

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's output by W8A8, activations scaled by token: float32 (tokens, inputs) -> (tokens, outputs)."""
        return multiply(int8_rows(as_float32(x) / self.scales, self.bits), self.weight)

    def dequantized(self) -> np.ndarray:
        """Ŵ for inputs that are not smoothed: float32 (outputs, inputs)."""
        return self.weight.decode() / self.scales


def smoothquant(
    weights: Sequence[np.ndarray], largest: np.ndarray, alpha: float = 0.5, bits: int = 8
) -> tuple[Smoothed, ...]:
    """Smooth matrices that read the same inputs and quantize them by channel; see `smoothing_scales`."""
    weights = [as_float32(w) for w in weights]
    scales = smoothing_scales(largest, weights, alpha)
    return tuple(Smoothed(alpha, scales, int8_rows(w * scales, bits), bits) for w in weights)


@dataclass(frozen=True, eq=False)
class SmoothTrace:
    """What migration does, for each alpha: arrays start with an axis over `alphas` (tried,).

    scales: s, float32 (tried, inputs). activations, weights: max|x / s| and max|W · s| of each channel, float32
    (tried, inputs). errors: the output's error by W8A8 as a share of the output, float64 (tried,), per token and per
    channel. untouched: those of alpha-free W8A8 without smoothing: (activations, weights, error).
    """

    alphas: np.ndarray
    scales: np.ndarray
    activations: np.ndarray
    weights: np.ndarray
    errors: np.ndarray
    untouched: tuple[np.ndarray, np.ndarray, float]

    @property
    def winner(self) -> int:
        """The place of the alpha of least error."""
        return int(self.errors.argmin())


def smooth_trace(x: np.ndarray, weight: np.ndarray, alphas: Sequence[float] = ALPHAS, bits: int = 8) -> SmoothTrace:
    """Try alphas on activations x (tokens, inputs) and a weight (outputs, inputs)."""
    x, weight = as_float32(x), as_float32(weight)
    largest, of_weight, exact = channel_largest(x), channel_largest(weight), x @ weight.T

    def error(layer: Smoothed) -> float:
        return relative_error(layer(x), exact)

    layers = [smoothquant([weight], largest, alpha, bits)[0] for alpha in alphas]
    scales = np.stack([layer.scales for layer in layers])  # (tried, inputs)
    plain = Smoothed(0.0, np.ones(x.shape[-1], F32), int8_rows(weight, bits), bits)
    return SmoothTrace(
        alphas=np.array(alphas, float),
        scales=scales,
        activations=largest / scales,
        weights=of_weight * scales,
        errors=np.array([error(layer) for layer in layers]),
        untouched=(largest, of_weight, error(plain)),
    )
