"""From one scale for 256 weights to Q4_K, a step at a time: what each step costs in bits, and what it buys."""

from dataclasses import dataclass

import numpy as np

from quantlib.formats import FORMATS
from quantlib.formats.blocks.kquants import nearest_sub_codes
from quantlib.metrics import compare

FORMAT = FORMATS["Q4_K"]
SUPER, BLOCK, LEVELS = 256, 32, 16
HALF, SUB = 16, 6  # bits of an FP16 number, and of a sub-scale or a sub-minimum


@dataclass(frozen=True)
class Part:
    """Some of the bits that a super-block takes. role: what they store, as the palette names it."""

    role: str
    words: str
    bits: int


@dataclass(frozen=True, eq=False)
class Rung:
    """Super-blocks x (blocks, 256) stored one way: ŵ = scale · q − minimum, q in 0 … 15.

    scales, minima: float32 (blocks, groups); groups is 1 or 8. decoded: ŵ, float32 (blocks, 256).
    """

    name: str
    parts: tuple[Part, ...]
    scales: np.ndarray
    minima: np.ndarray
    decoded: np.ndarray
    relative: float

    @property
    def bpw(self) -> float:
        """Bits per weight, everything counted."""
        return sum(part.bits for part in self.parts) / SUPER


CODES = Part("code", "256 codes of 4 bits", 4 * SUPER)
ONE = (CODES, Part("scale", "one FP16 scale", HALF), Part("minimum", "one FP16 minimum", HALF))
EIGHT = (CODES, Part("scale", "eight FP16 scales", 8 * HALF), Part("minimum", "eight FP16 minima", 8 * HALF))
SIX = (
    CODES,
    Part("sub-scale", "eight sub-scales of 6 bits", 8 * SUB),
    Part("sub-minimum", "eight sub-minima of 6 bits", 8 * SUB),
    Part("super-scale", "one FP16 super-scale", HALF),
    Part("super-minimum", "one FP16 super-minimum", HALF),
)


def climb(x: np.ndarray) -> tuple[Rung, ...]:
    """Store super-blocks x, float32 (blocks, 256), in four ways, each of which changes one thing in the one before.

    The first three set the lowest weight (or 0) on the lowest level and the highest on the highest. The last is Q4_K as
    ggml writes it, whose search chooses other scales and minima for the same bytes.
    """
    eight = _span(x, BLOCK)
    return (
        _rung("One scale for all", ONE, x, *_span(x, SUPER)),
        _rung("A scale for every 32", EIGHT, x, *eight),
        _rung("Those scales in 6 bits", SIX, x, *(_in_six_bits(values) for values in eight)),
        _searched(x),
    )


def _span(x: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and minimum of every `group` weights, from the lowest to the highest, as FP16: (blocks, groups) each."""
    groups = x.reshape(len(x), -1, group)
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    return _half((high - low) / (LEVELS - 1)), _half(-low)


def _half(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def _in_six_bits(values: np.ndarray) -> np.ndarray:
    """Each of the eight (blocks, 8) as a whole number up to 63 times one FP16 number: what is read back."""
    with np.errstate(divide="ignore"):  # where all eight are 0
        one, small = nearest_sub_codes(values, 63)
    return _half(one)[:, None] * np.minimum(small, 63).astype(np.float32)


def _rung(name: str, parts: tuple[Part, ...], x: np.ndarray, scales: np.ndarray, minima: np.ndarray) -> Rung:
    groups = x.reshape(*scales.shape, -1)
    scale, minimum = scales[..., None], minima[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.where(scale > 0, np.clip(np.rint((groups + minimum) / scale), 0, LEVELS - 1), 0)
    decoded = (scale * codes - minimum).astype(np.float32).reshape(x.shape)
    return Rung(name, parts, scales, minima, decoded, compare(x, decoded).relative)


def _searched(x: np.ndarray) -> Rung:
    codes = FORMAT.unpack(FORMAT.quantize(x).reshape(len(x), -1))
    d, dmin = (codes[name].astype(np.float32).reshape(-1, 1) for name in ("d", "dmin"))
    decoded = FORMAT.decode(codes).reshape(x.shape)
    return Rung(
        "The scales searched for", SIX, d * codes["sc"], dmin * codes["mn"], decoded, compare(x, decoded).relative
    )
