"""Floating-point formats as values: sign, exponent and fraction, and how real numbers are rounded to them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import ml_dtypes
import numpy as np

from quantlib.formats.layout import Field, Layout
from quantlib.formats.rows import as_float32, check_stored_rows

Specials = Literal["ieee", "nan", "none"]


@dataclass(frozen=True)
class FloatParts:
    """The three bit fields of a stored number, as integers."""

    sign: int
    exponent: int
    fraction: int


@dataclass(frozen=True)
class FloatFormat:
    """A floating-point format: (−1)^sign · 1.fraction · 2^(exponent − bias), or 0.fraction · 2^(1 − bias) below those.

    specials says what the highest exponent field means: "ieee" infinities and NaN; "nan" numbers, but NaN where every
    bit is one; "none" numbers only. What is too large becomes infinity, NaN, or the largest number, in that order.
    dtype: the numpy type of the same format, used for whole rows. ggml_type: ggml's id, None where ggml has none.
    """

    name: str
    exponent_bits: int
    fraction_bits: int
    summary: str
    ggml_type: int | None = None
    dtype: np.dtype | None = None
    specials: Specials = "ieee"
    kind = "float"
    values = 1

    @property
    def bits(self) -> int:
        """Bits of a stored number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def nbytes(self) -> int:
        """Bytes of a stored number."""
        return (self.bits + 7) // 8

    @property
    def bpw(self) -> float:
        """Bits per weight as stored."""
        return float(8 * self.nbytes)

    @property
    def storage(self) -> np.dtype:
        """The unsigned integer type that holds the bits."""
        return np.dtype(f"u{self.nbytes}")

    @property
    def bias(self) -> int:
        """What is subtracted from the exponent field: 2^(exponent bits − 1) − 1."""
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def max(self) -> float:
        """The largest finite number."""
        return float(self.decode(self._max_bits))

    @property
    def smallest_normal(self) -> float:
        """The smallest number with all its fraction bits: 2^(1 − bias)."""
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_subnormal(self) -> float:
        """The smallest number above zero: 2^(1 − bias − fraction bits)."""
        return 2.0 ** (1 - self.bias - self.fraction_bits)

    @property
    def epsilon(self) -> float:
        """The gap between 1 and the next number: 2^(−fraction bits)."""
        return 2.0**-self.fraction_bits

    @cached_property
    def layout(self) -> Layout:
        """Where the three fields lie, for formats of whole bytes and others alike (unused bits on top are left out)."""
        f, e = self.fraction_bits, self.exponent_bits
        return Layout(
            1,
            (
                Field("fraction", np.arange(f)[None], "fraction", "What follows the leading one."),
                Field("exponent", f + np.arange(e)[None], "exponent", f"The power of two, plus {self.bias}."),
                Field("sign", np.array([[f + e]]), "sign", "1 for negative numbers."),
            ),
        )

    def encode(self, x: np.ndarray | float) -> np.ndarray:
        """Bits of the nearest number of the format, ties to the even one: float (...) -> unsigned integers (...).

        With e = max(⌊log₂|x|⌋, 1 − bias) the grid near x has the step 2^(e − fraction bits), and the code is
        (e + bias − 1) · 2^(fraction bits) + round(|x| / step): a carry into the exponent needs no care.
        """
        with np.errstate(invalid="ignore"):
            x = np.asarray(x, np.float64)
        size = np.abs(x)
        finite = np.where(np.isfinite(size), size, 0.0)
        _, exponent = np.frexp(np.maximum(finite, self.smallest_normal))  # = m · 2^exponent with 0.5 ≤ m < 1
        exponent = exponent.astype(np.int64) - 1
        steps = np.rint(np.ldexp(finite, self.fraction_bits - exponent)).astype(np.int64)
        code = ((exponent + self.bias - 1) << self.fraction_bits) + steps
        code = np.where((code > self._max_bits) | np.isinf(size), self._overflow_bits, code)
        code = np.where(np.isnan(x), self._nan_bits, code)
        return (code | np.signbit(x).astype(np.int64) << (self.bits - 1)).astype(self.storage)[()]

    def decode(self, bits: np.ndarray | int) -> np.ndarray:
        """Values of stored bits: unsigned integers (...) -> float32 (...). Exact."""
        sign, exponent, fraction = self._split(bits)
        significand = fraction + np.where(exponent > 0, 1 << self.fraction_bits, 0)
        value = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - self.bias - self.fraction_bits)
        magnitude = (exponent << self.fraction_bits) | fraction
        if self.specials == "ieee":
            value = np.where(magnitude == self._max_bits + 1, np.inf, value)
        value = np.where(magnitude > self._last_bits, np.nan, value)
        return np.where(sign == 1, -value, value).astype(np.float32)[()]

    def fields(self, bits: int) -> FloatParts:
        """Sign, exponent field and fraction field of one stored number."""
        return FloatParts(*(int(part) for part in self._split(bits)))

    def kind_of(self, bits: int) -> str:
        """What one stored number is: "zero", "subnormal", "normal", "infinity" or "nan"."""
        parts = self.fields(bits)
        magnitude = int(bits) & self._magnitude_mask
        if magnitude > self._last_bits:
            return "nan"
        if magnitude > self._max_bits:
            return "infinity"
        if parts.exponent:
            return "normal"
        return "subnormal" if parts.fraction else "zero"

    def neighbours(self, bits: int) -> tuple[int, int]:
        """Bits of the next value below and the next above one stored number.

        An end of the range is its own neighbour, NaN is its own on both sides; both zeros have the same neighbours.
        """
        if self.kind_of(bits) == "nan":
            return int(bits), int(bits)
        magnitude = int(bits) & self._magnitude_mask
        place = -magnitude if int(bits) >> (self.bits - 1) else magnitude  # values in order: …, −1, 0, 1, …
        ends = -self._last_bits, self._last_bits
        below, above = max(place - 1, ends[0]), min(place + 1, ends[1])
        return self._at(below), self._at(above)

    def spacing(self, bits: int) -> float:
        """The gap from one stored number to the next of larger magnitude: 2^(e − fraction bits).

        NaN for infinities and NaN.
        """
        if self.kind_of(bits) in ("infinity", "nan"):
            return float("nan")
        return 2.0 ** (max(self.fields(bits).exponent, 1) - self.bias - self.fraction_bits)

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights."""
        return n * self.nbytes

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None) -> np.ndarray:
        """Store rows: float (..., n) -> uint8 (..., row_bytes(n)). Infinities and NaN stay; importance has no say."""
        x = as_float32(x)
        with np.errstate(over="ignore", invalid="ignore"):
            stored = x.astype(self.dtype) if self.dtype is not None else self.encode(x)
        return np.ascontiguousarray(stored).view(np.uint8)

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
        data, _ = check_stored_rows(self, data, n)
        stored = data.view(self.storage)
        return stored.view(self.dtype).astype(np.float32) if self.dtype is not None else self.decode(stored)

    @property
    def _magnitude_mask(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def _max_bits(self) -> int:
        """Bits of the largest finite number."""
        if self.specials == "ieee":
            return ((1 << self.exponent_bits) - 1 << self.fraction_bits) - 1
        return self._magnitude_mask - (self.specials == "nan")

    @property
    def _last_bits(self) -> int:
        """Bits of the largest number, infinity counted; patterns above are NaN."""
        return self._max_bits + (self.specials == "ieee")

    @property
    def _overflow_bits(self) -> int:
        return {"ieee": self._last_bits, "nan": self._nan_bits, "none": self._max_bits}[self.specials]

    @property
    def _nan_bits(self) -> int:
        """The quiet NaN; zero in a format that has none."""
        if self.specials == "ieee":
            return self._last_bits | 1 << (self.fraction_bits - 1)
        return self._magnitude_mask if self.specials == "nan" else 0

    def _at(self, place: int) -> int:
        return -place | 1 << (self.bits - 1) if place < 0 else place

    def _split(self, bits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        bits = np.asarray(bits).astype(np.int64)
        exponent = (bits >> self.fraction_bits) & ((1 << self.exponent_bits) - 1)
        return bits >> (self.bits - 1) & 1, exponent, bits & ((1 << self.fraction_bits) - 1)


FP32 = FloatFormat(
    name="FP32",
    exponent_bits=8,
    fraction_bits=23,
    summary="Single precision: what arithmetic is done in, seven decimal digits.",
    ggml_type=0,
    dtype=np.dtype(np.float32),
)
BF16 = FloatFormat(
    name="BF16",
    exponent_bits=8,
    fraction_bits=7,
    summary="The upper half of FP32: its whole range with two to three decimal digits.",
    ggml_type=30,
    dtype=np.dtype(ml_dtypes.bfloat16),
)
FP16 = FloatFormat(
    name="FP16",
    exponent_bits=5,
    fraction_bits=10,
    summary="Half precision: three decimal digits, nothing above 65,504.",
    ggml_type=1,
    dtype=np.dtype(np.float16),
)

FLOATS = (FP32, BF16, FP16)
