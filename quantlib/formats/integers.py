"""Integer grids: weights as small whole numbers times a scale, with or without a zero point."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats import bitstream
from quantlib.formats.blocks.block import Formula
from quantlib.formats.floats import BF16, FP16, FP32, FloatFormat
from quantlib.formats.layout import Field, Layout, word
from quantlib.formats.rows import check_row, check_rows, check_stored_rows

ZERO_BITS = 8  # a zero point is stored as a byte


@dataclass(frozen=True)
class IntegerFormat:
    """x̂ = scale · (q − zero), with q a whole number of `bits` bits (2 to 8).

    symmetric: zero is 0 and the range is centred; otherwise codes are 0 … 2^bits − 1 and the zero point moves them.
    restricted: whether a symmetric range leaves out −2^(bits−1), so that it is ±(2^(bits−1) − 1).
    scale_format: FP32, BF16 or FP16. group: weights that share a scale in stored rows, a multiple of 8; scales of whole
    channels or tensors are the business of `quantlib.methods.rtn`.
    """

    bits: int
    symmetric: bool = True
    restricted: bool = True
    scale_format: FloatFormat = FP16
    group: int = 128
    kind = "integer"
    uses_importance = requires_importance = False
    ggml_type = None

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise FormatError(f"An integer format has 2 to 8 bits, not {self.bits}.")
        if self.scale_format not in (FP32, BF16, FP16):
            raise FormatError(f"Scales of integers are FP32, BF16 or FP16, not {self.scale_format.name}.")
        if self.group < 8 or self.group % 8:
            raise FormatError(f"Integers are stored in groups of a multiple of 8 weights, not of {self.group}.")

    @property
    def name(self) -> str:
        """INT4, followed by what differs from a symmetric, restricted grid."""
        if self.symmetric:
            return f"INT{self.bits}" if self.restricted else f"INT{self.bits} full range"
        return f"INT{self.bits} asymmetric"

    @property
    def summary(self) -> str:
        """One plain sentence."""
        levels = self.highest - self.lowest + 1
        shared = f"one {self.scale_format.name} scale" + ("" if self.symmetric else " and a zero point")
        return f"Round-to-nearest on {levels} evenly spaced levels, {shared} for every {self.group} weights."

    @property
    def lowest(self) -> int:
        """The smallest code."""
        return self.restricted - self.offset if self.symmetric else 0

    @property
    def highest(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1 - self.offset

    @property
    def offset(self) -> int:
        """What is added to a code to store it without a sign: 2^(bits−1) for symmetric codes."""
        return 1 << (self.bits - 1) if self.symmetric else 0

    @property
    def overhead(self) -> int:
        """Bits that a scale, with its zero point, costs."""
        return self.scale_format.bits + (0 if self.symmetric else ZERO_BITS)

    @property
    def values(self) -> int:
        """Weights of a stored group."""
        return self.group

    @property
    def nbytes(self) -> int:
        """Bytes of a stored group: scale, zero point if any, codes."""
        return (self.overhead + self.group * self.bits) // 8

    @property
    def bpw(self) -> float:
        """Bits per weight of stored rows, scales and zero points counted."""
        return 8 * self.nbytes / self.values

    @cached_property
    def layout(self) -> Layout:
        """Where the scale, the zero point and the codes of a stored group lie."""
        at = self.scale_format.nbytes
        codes = self.overhead + self.bits * np.arange(self.group)[:, None] + np.arange(self.bits)
        scale = Field(
            "d", word(0, 1, at), "scale", "The group's scale, a float.", np.dtype(self.scale_format.dtype).name
        )
        zero = Field("z", word(at, 1, 1), "zero-point", "The zero point: the code that means 0.")
        q = Field(
            "q", codes, "code", f"One code for each weight, plus {self.offset}." if self.offset else "One code each."
        )
        return Layout(self.group, (scale, q) if self.symmetric else (scale, zero, q))

    @property
    def formula(self) -> Formula:
        """How a stored weight is decoded."""
        return Formula("{d}", "", f"{{d}} · ({{q}} − {self.offset if self.symmetric else '{z}'})")

    def scale_and_zero(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The grid that just covers [low, high]: float32 (...) -> scale float32 (...), zero int32 (...).

        Symmetric: scale = max(|low|, |high|) / (2^(bits−1) − 1), over the full range / (2^(bits−1) − ½), and zero = 0.
        Asymmetric: the range is widened to hold 0, so that 0 has a code of its own; scale = (high − low) / (2^bits − 1)
        and zero = round(−low / scale). The scale is rounded to `scale_format`, as it will be stored.
        Raises FormatError where the scale is too large for its format.
        """
        low, high = np.minimum(np.float32(low), np.float32(0)), np.maximum(np.float32(high), np.float32(0))
        with np.errstate(over="ignore"):
            if self.symmetric:
                exact = np.maximum(-low, high) / np.float32((self.highest - self.lowest) / 2)
            else:
                exact = (high - low) / np.float32(self.highest)
        scale = self.scale_format.decode(self.scale_format.encode(exact))
        if not np.isfinite(scale).all():
            raise FormatError(
                f"{self.name} needs a scale of {np.max(exact):.4g} here, too large for {self.scale_format.name}; "
                f"store the scales in FP32 or keep this tensor in a float format."
            )
        if self.symmetric:
            return scale, np.zeros(np.shape(scale), np.int32)
        return scale, np.clip(_steps(-low, scale), self.lowest, self.highest).astype(np.int32)

    def encode(self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | int = 0) -> np.ndarray:
        """q = clip(round(x / scale) + zero), ties to even: float32 (...) -> int16 (...); where scale is 0, q = zero.

        scale and zero broadcast against x. |x − x̂| ≤ scale / 2 for every x within half a scale of the range.
        """
        return np.clip(_steps(x, scale) + zero, self.lowest, self.highest).astype(np.int16)

    def value(self, q: np.ndarray, scale: np.ndarray, zero: np.ndarray | int = 0) -> np.ndarray:
        """x̂ = scale · (q − zero): whole numbers (...) -> float32 (...)."""
        return np.asarray(np.float32(scale) * np.float32(np.int32(q) - zero))

    def pack(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """Bytes of stored groups: {"d": (..., 1), "z": (..., 1), "q": (..., group)} -> uint8 (..., nbytes)."""
        return self.layout.pack(codes)

    def unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of stored groups, as stored (`offset` added): uint8 (..., nbytes) -> {field: (..., count)}."""
        return self.layout.unpack(data)

    def decode(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """x̂ = d · (q − offset or z): {field: (..., count)} -> float32 (..., group)."""
        zero = self.offset if self.symmetric else codes["z"].astype(np.int32)
        return self.value(codes["q"], np.asarray(codes["d"], np.float32), zero)

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights; FormatError where n is not a multiple of `group`."""
        check_row(self, n)
        return n // self.values * self.nbytes

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
        """Store rows, every group on the grid that just covers it: (..., n) -> uint8 (..., row_bytes(n)).

        Importance and effort have no say. Raises FormatError on a row that groups do not divide, on NaN and infinity,
        and on a scale too large for its format.
        """
        x = check_rows(self, x)
        groups = x.reshape(*x.shape[:-1], -1, self.group)  # (..., groups, values)
        scale, zero = self.scale_and_zero(groups.min(-1, keepdims=True), groups.max(-1, keepdims=True))
        stored = (self.encode(groups, scale, zero) + np.int16(self.offset)).astype(np.uint8)
        parts = [self.scale_format.quantize(scale), zero.astype(np.uint8), bitstream.pack(stored, self.bits)]
        if self.symmetric:
            del parts[1]
        return np.concatenate(parts, axis=-1).reshape(*x.shape[:-1], -1)

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
        data, n = check_stored_rows(self, data, n)
        groups = data.reshape(*data.shape[:-1], -1, self.nbytes)  # (..., groups, bytes)
        at, head = self.scale_format.nbytes, self.overhead // 8
        codes = {
            "d": self.scale_format.dequantize(groups[..., :at]),  # (..., groups, 1)
            "z": groups[..., at:head],
            "q": bitstream.unpack(groups[..., head:], self.bits),
        }
        return self.decode(codes).reshape(*data.shape[:-1], n)


def _steps(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x / scale to the nearest whole number, ties to even; 0 where the scale is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(scale != 0, np.rint(np.float32(x) / np.float32(scale)), np.float32(0))


INTEGERS = tuple(IntegerFormat(bits) for bits in (8, 7, 6, 5, 4, 3, 2))
