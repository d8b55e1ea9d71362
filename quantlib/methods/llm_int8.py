"""LLM.int8(): 8 bits for nearly all of a product, 16 for the few input channels with outliers.

    y = (codes of x) (codes of W)ᵀ · s_x s_W / 127²  +  (outlier columns of x) (the same columns of Ŵ)ᵀ

Source: Dettmers et al., "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", 2022, and the CPU code of
bitsandbytes 0.50: activations are cast to FP16, a column is an outlier where any |x| reaches the threshold, such values
do not count in a row's scale, and scales are multiplied by 127 / s, not divided by s / 127.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import as_float32
from quantlib.methods.smoothquant import integer_product

F32 = np.float32
THRESHOLD = 6.0
UNIT = F32(6.200124e-05)  # 1 / 127², with the digits that bitsandbytes has
THRESHOLDS = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)


@dataclass(frozen=True, eq=False)
class Int8Weight:
    """Ŵ = code · largest / 127, one scale for each output. codes: int8 (outputs, inputs); largest: float32 (outputs,).

    In a bitsandbytes checkpoint these are `weight` and `SCB`.
    """

    codes: np.ndarray
    largest: np.ndarray

    def decode(self) -> np.ndarray:
        """Ŵ, float32 (outputs, inputs)."""
        return self.codes * self.largest[:, None] * F32(1 / 127)


@dataclass(frozen=True, eq=False)
class Product:
    """One product and its parts. codes: int8 (tokens, inputs), 0 in outlier columns; largest: float32 (tokens,).

    columns: int (outliers,), the channels kept in 16 bits. output: float16 (tokens, outputs).
    """

    codes: np.ndarray
    largest: np.ndarray
    columns: np.ndarray
    output: np.ndarray

    @property
    def share(self) -> float:
        """Outlier columns among all."""
        return len(self.columns) / self.codes.shape[1]


def int8_weight(weight: np.ndarray) -> Int8Weight:
    """A weight (outputs, inputs), cast to FP16 first, as int8 by output. Raises FormatError on NaN and infinity."""
    codes, largest, _ = _rows(_halves("a weight", weight), 0.0)
    return Int8Weight(codes, largest)


def multiply(x: np.ndarray, weight: Int8Weight, threshold: float = THRESHOLD) -> Product:
    """x Ŵᵀ for activations x (tokens, inputs), cast to FP16 first. threshold 0 keeps no column apart.

    Raises MethodError where the widths differ or the threshold is negative, FormatError on NaN and infinity.
    """
    x = _halves("activations", x)
    if x.ndim != 2 or x.shape[1] != weight.codes.shape[1]:
        raise MethodError(f"Activations of shape {x.shape} do not fit a weight of shape {weight.codes.shape}.")
    if not threshold >= 0:
        raise MethodError(f"The threshold of LLM.int8() is a magnitude, or 0 for none, not {threshold:g}.")
    codes, largest, columns = _rows(x, threshold)
    whole = integer_product(codes, weight.codes).astype(F32)
    output = (whole * (largest[:, None] * weight.largest) * UNIT).astype(np.float16)
    if len(columns):
        kept = (weight.codes[:, columns] * weight.largest[:, None] * F32(1 / 127)).astype(np.float16).astype(F32)
        output = (output.astype(F32) + x[:, columns] @ kept.T).astype(np.float16)
    return Product(codes, largest, columns, output)


@dataclass(frozen=True, eq=False)
class OutlierTrace:
    """What a threshold does. thresholds: float (tried,), 0 being none. columns: the outlier channels of each.

    magnitudes: float32 (inputs,), max|x| of each channel. errors: float64 (tried,), the output's error as a share of
    the FP32 output; the error with the chosen threshold stands beside the one without, at 0.
    """

    thresholds: np.ndarray
    magnitudes: np.ndarray
    columns: tuple[np.ndarray, ...]
    errors: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """The share of channels kept in 16 bits: float (tried,)."""
        return np.array([len(columns) / len(self.magnitudes) for columns in self.columns])


def outlier_trace(x: np.ndarray, weight: np.ndarray, thresholds: Sequence[float] = THRESHOLDS) -> OutlierTrace:
    """Try thresholds on activations x (tokens, inputs) and a weight (outputs, inputs)."""
    x, weight = as_float32(x), as_float32(weight)
    exact, stored = x @ weight.T, int8_weight(weight)
    products = [multiply(x, stored, threshold) for threshold in thresholds]
    norm = max(float(np.linalg.norm(exact)), float(np.finfo(F32).tiny))
    return OutlierTrace(
        thresholds=np.array(thresholds, float),
        magnitudes=np.abs(x).max(0),
        columns=tuple(product.columns for product in products),
        errors=np.array([np.linalg.norm(product.output.astype(F32) - exact) / norm for product in products]),
    )


def _halves(what: str, x: np.ndarray) -> np.ndarray:
    """Values rounded to FP16, as float32. Raises FormatError on NaN, infinity and what FP16 cannot hold."""
    x = as_float32(x)
    check_finite("INT8", x)
    with np.errstate(over="ignore"):
        half = x.astype(np.float16).astype(F32)
    if np.isinf(half).any():
        raise MethodError(f"LLM.int8() works on FP16, and {what} reach {np.abs(x).max():.4g}, above its 65,504.")
    return half


def _rows(x: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int8 codes by row, each row's largest magnitude, and the outlier columns, whose codes are 0."""
    size = np.abs(x)
    outlier = size >= threshold if threshold else np.zeros_like(x, bool)
    columns = np.flatnonzero(outlier.any(0))
    largest = np.where(outlier, F32(0), size).max(-1)  # (rows,)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint(np.where(outlier, F32(0), x) * (F32(127) * (F32(1) / largest))[:, None])
    codes[largest == 0] = 0
    codes[:, columns] = 0
    return codes.astype(np.int8), largest, columns
