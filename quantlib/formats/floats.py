"""Floating-point formats as values: sign, exponent and fraction, and how real numbers are rounded to them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import ml_dtypes
import numpy as np

from quantlib.errors import FormatError
from quantlib.formats import bitstream
from quantlib.formats.finite import check_numbers
from quantlib.formats.layout import Field, Layout
from quantlib.formats.rows import as_float32, check_row, check_stored_rows

Specials = Literal["ieee", "nan", "none"]
MOST_LISTED = 16  # bits of a format whose numbers are listed one by one


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
    signed: whether there is a sign bit. subnormals: whether the lowest exponent field means zero and subnormal numbers,
    not one more power of two.
    padding: zero bits stored below the number. ggml_type: ggml's id, None where ggml has none.
    dtype: the numpy type of the same numbers and rounding, used for whole rows.
    """

    name: str
    exponent_bits: int
    fraction_bits: int
    summary: str
    ggml_type: int | None = None
    dtype: np.dtype | None = None
    specials: Specials = "ieee"
    signed: bool = True
    subnormals: bool = True
    padding: int = 0
    kind = "float"
    uses_importance = requires_importance = False

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return int(self.signed) + self.exponent_bits + self.fraction_bits

    @property
    def values(self) -> int:
        """Numbers that share whole bytes: 1, but 2 of four bits and 4 of six."""
        return bitstream.unit(self.bits + self.padding)[0]

    @property
    def nbytes(self) -> int:
        """Bytes of `values` stored numbers."""
        return bitstream.unit(self.bits + self.padding)[1]

    @property
    def bpw(self) -> float:
        """Bits per weight as stored."""
        return 8 * self.nbytes / self.values

    @property
    def storage(self) -> np.dtype:
        """The unsigned integer type that holds the bits of one number."""
        return np.dtype(next(f"u{size}" for size in (1, 2, 4) if self.bits <= 8 * size))

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
        """The smallest number with all its fraction bits: 2^(1 − bias), 2^(−bias) in a format without subnormals."""
        return 2.0**self._lowest_exponent

    @property
    def smallest_subnormal(self) -> float:
        """The smallest number above zero: smallest_normal · 2^(−fraction bits)."""
        return 2.0 ** (self._lowest_exponent - self.fraction_bits)

    @property
    def epsilon(self) -> float:
        """The gap between 1 and the next number: 2^(−fraction bits)."""
        return 2.0**-self.fraction_bits

    @property
    def finite_count(self) -> int:
        """How many different finite numbers there are; the two zeros are one."""
        return 2 * self._max_bits + 1 if self.signed else self._max_bits + 1

    @property
    def infinities(self) -> tuple[int, ...]:
        """Bits of the infinities: the positive and the negative one, or none."""
        return (self._last_bits, self._last_bits | self._sign_bit) if self.specials == "ieee" else ()

    @property
    def nans(self) -> tuple[range, ...]:
        """Bits of all NaN: those without and those with the sign bit."""
        positive = range(self._last_bits + 1, self._magnitude_mask + 1)
        negative = range(positive.start + self._sign_bit, positive.stop + self._sign_bit)
        return tuple(part for part in (positive, negative)[: 1 + self.signed] if part)

    def numbers(self) -> np.ndarray:
        """Every finite number in increasing order: float32 (finite_count,).

        Raises FormatError for a format of more than 16 bits.
        """
        if self.bits > MOST_LISTED:
            raise FormatError(
                f"{self.name} has {self.finite_count:,} numbers, too many to list: choose a format of at most "
                f"{MOST_LISTED} bits."
            )
        places = np.arange(-self._max_bits if self.signed else 0, self._max_bits + 1)
        return self.decode(np.where(places < 0, self._sign_bit - places, places))

    @cached_property
    def layout(self) -> Layout:
        """Where the fields of the `values` numbers lie that share whole bytes."""
        f, e = self.fraction_bits, self.exponent_bits
        first = (self.bits + self.padding) * np.arange(self.values)[:, None]  # (values, 1)
        at = first + self.padding
        fields = (
            Field("padding", first + np.arange(self.padding), "fraction", "Zeros: fraction bits that FP32 would have."),
            Field("fraction", at + np.arange(f), "fraction", "What follows the leading one."),
            Field("exponent", at + f + np.arange(e), "exponent", f"The power of two, plus {self.bias}."),
            Field("sign", at + f + e + np.arange(int(self.signed)), "sign", "1 for negative numbers."),
        )
        return Layout(self.values, tuple(field for field in fields if field.width))

    def encode(self, x: np.ndarray | float) -> np.ndarray:
        """Bits of the nearest number of the format, ties to the even one: float (...) -> unsigned integers (...).

        With e = max(⌊log₂|x|⌋, 1 − bias) the grid near x has the step 2^(e − fraction bits), and the code is
        (e + bias − 1) · 2^(fraction bits) + round(|x| / step): a carry into the exponent needs no care.

        What rounds beyond the largest number, infinity too, becomes infinity (FP32, BF16, FP16, TF32, FP8_E5M2), NaN
        (FP8_E4M3, FP8_E8M0) or the largest number (FP6, FP4); clip x to ±max where it should stay finite. NaN stays,
        but is a zero in FP6 and FP4, of the other sign as in ml_dtypes. In FP8_E8M0 zero and negative numbers are NaN,
        and what lies below its smallest number becomes that.
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
        if not self.subnormals:
            code = np.where(x > 0, np.maximum(code, 0), self._nan_bits)
        return (code ^ np.where(np.signbit(x), self._sign_bit, 0)).astype(self.storage)[()]

    def decode(self, bits: np.ndarray | int) -> np.ndarray:
        """Values of stored bits: unsigned integers (...) -> float32 (...). Exact."""
        sign, exponent, fraction = self._split(bits)
        normal = (exponent > 0) | (not self.subnormals)
        significand = fraction + np.where(normal, 1 << self.fraction_bits, 0)
        power = np.maximum(exponent - self.bias, self._lowest_exponent) - self.fraction_bits
        value = np.ldexp(significand.astype(np.float64), power)
        magnitude = (exponent << self.fraction_bits) | fraction
        if self.specials == "ieee":
            value = np.where(magnitude == self._max_bits + 1, np.inf, value)
        value = np.where(magnitude > self._last_bits, np.nan, value)
        return np.where(sign == 1, -value, value).astype(np.float32)[()]

    def convert(self, bits: np.ndarray | int, target: "FloatFormat") -> np.ndarray:
        """The same numbers in another format: bits (...) -> bits of the nearest numbers of `target` (...).

        Every number of every format here is one of FP32, so there is a single rounding, that of `target.encode`.
        """
        return target.encode(self.decode(bits))

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
        if parts.exponent or not self.subnormals:
            return "normal"
        return "subnormal" if parts.fraction else "zero"

    def neighbours(self, bits: int) -> tuple[int, int]:
        """Bits of the next value below and the next above one stored number.

        An end of the range is its own neighbour, NaN is its own on both sides; both zeros have the same neighbours.
        """
        if self.kind_of(bits) == "nan":
            return int(bits), int(bits)
        magnitude = int(bits) & self._magnitude_mask
        place = -magnitude if int(bits) & self._sign_bit else magnitude  # values in order: …, −1, 0, 1, …
        ends = -self._last_bits if self.signed else 0, self._last_bits
        below, above = max(place - 1, ends[0]), min(place + 1, ends[1])
        return self._at(below), self._at(above)

    def spacing(self, bits: int) -> float:
        """The gap from one stored number to the next of larger magnitude: 2^(e − fraction bits).

        NaN for infinities and NaN.
        """
        if self.kind_of(bits) in ("infinity", "nan"):
            return float("nan")
        exponent = max(self.fields(bits).exponent - self.bias, self._lowest_exponent)
        return 2.0 ** (exponent - self.fraction_bits)

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights; FormatError where n is not a multiple of `values`."""
        check_row(self, n)
        return n // self.values * self.nbytes

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
        """Store rows: float (..., n) -> uint8 (..., row_bytes(n)). Infinities and NaN stay.

        Importance and effort have no say.

        Numbers of less than a byte follow each other from the lowest bits on: two FP4 in a byte, four FP6 in three.
        Raises FormatError on a row that `values` does not divide, and on NaN in a format that has none.
        """
        x = as_float32(x)
        check_row(self, x.shape[-1])
        if self.specials == "none":
            check_numbers(self.name, x)
        with np.errstate(over="ignore", invalid="ignore"):
            stored = x.astype(self.dtype).view(self.storage) if self.dtype is not None else self.encode(x)
        if self.bits < 8:
            return bitstream.pack(stored, self.bits)
        shifted = stored << self.storage.type(self.padding) if self.padding else stored
        return np.ascontiguousarray(shifted).view(np.uint8)

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
        data, _ = check_stored_rows(self, data, n)
        if self.bits < 8:
            stored = bitstream.unpack(data, self.bits)
        else:
            stored = data.view(self.storage)
            stored = stored >> self.storage.type(self.padding) if self.padding else stored
        return stored.view(self.dtype).astype(np.float32) if self.dtype is not None else self.decode(stored)

    @property
    def _lowest_exponent(self) -> int:
        """The power of two of the smallest normal number."""
        return self.subnormals - self.bias

    @property
    def _sign_bit(self) -> int:
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def _magnitude_mask(self) -> int:
        return (1 << (self.bits - self.signed)) - 1

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
        """The quiet NaN; minus zero in a format that has none."""
        if self.specials == "ieee":
            return self._last_bits | 1 << (self.fraction_bits - 1)
        return self._magnitude_mask if self.specials == "nan" else self._sign_bit

    def _at(self, place: int) -> int:
        return -place | self._sign_bit if place < 0 else place

    def _split(self, bits: np.ndarray | int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        bits = np.asarray(bits).astype(np.int64)
        exponent = (bits >> self.fraction_bits) & ((1 << self.exponent_bits) - 1)
        sign = np.where(bits & self._sign_bit, 1, 0)
        return sign, exponent, bits & ((1 << self.fraction_bits) - 1)


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
TF32 = FloatFormat(
    name="TF32",
    exponent_bits=8,
    fraction_bits=10,
    summary="What tensor cores multiply: FP32's range with FP16's precision, 19 bits kept in the space of an FP32.",
    padding=13,
)
FP8_E5M2 = FloatFormat(
    name="FP8_E5M2",
    exponent_bits=5,
    fraction_bits=2,
    summary="The upper half of FP16: its range up to 57,344 with less than one decimal digit.",
    dtype=np.dtype(ml_dtypes.float8_e5m2),
)
FP8_E4M3 = FloatFormat(
    name="FP8_E4M3",
    exponent_bits=4,
    fraction_bits=3,
    summary="Eight bits up to 448 without infinities (the 'fn' kind): the usual FP8 of weights and activations.",
    dtype=np.dtype(ml_dtypes.float8_e4m3fn),
    specials="nan",
)
FP8_E8M0 = FloatFormat(
    name="FP8_E8M0",
    exponent_bits=8,
    fraction_bits=0,
    summary="A power of two and nothing else, no sign and no zero: the scale of a microscaling block, not a weight.",
    specials="nan",
    signed=False,
    subnormals=False,
)  # no dtype: ml_dtypes rounds all of 2^-127 .. 2^-126 up, though their lower half is nearer to 2^-127
FP6_E3M2 = FloatFormat(
    name="FP6_E3M2",
    exponent_bits=3,
    fraction_bits=2,
    summary="Six bits up to 28, numbers only: an element of the microscaling format MXFP6, four in three bytes.",
    dtype=np.dtype(ml_dtypes.float6_e3m2fn),
    specials="none",
)
FP6_E2M3 = FloatFormat(
    name="FP6_E2M3",
    exponent_bits=2,
    fraction_bits=3,
    summary="Six bits up to 7.5, numbers only: the finer element of MXFP6, four in three bytes.",
    dtype=np.dtype(ml_dtypes.float6_e2m3fn),
    specials="none",
)
FP4_E2M1 = FloatFormat(
    name="FP4_E2M1",
    exponent_bits=2,
    fraction_bits=1,
    summary="0, 0.5, 1, 1.5, 2, 3, 4 and 6 with a sign: an element of MXFP4 and NVFP4, two in a byte.",
    dtype=np.dtype(ml_dtypes.float4_e2m1fn),
    specials="none",
)

FLOATS = (FP32, BF16, FP16, TF32, FP8_E5M2, FP8_E4M3, FP8_E8M0, FP6_E3M2, FP6_E2M3, FP4_E2M1)
