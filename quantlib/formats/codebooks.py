"""Codebooks: a weight is the number of the nearest entry of a fixed table, times the largest magnitude of its block."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantlib.errors import FormatError
from quantlib.formats.blocks.block import Formula
from quantlib.formats.finite import check_finite
from quantlib.formats.layout import Field, Layout, word
from quantlib.formats.rows import as_float32, check_row, check_rows, check_stored_rows

SCALE_BYTES = 4  # the largest magnitude of a block is stored as an FP32
NESTED_BLOCK = 256  # scales that share a scale of their own under double quantization


@dataclass(frozen=True)
class CodebookFormat:
    """x̂ = absmax · table[q], absmax the largest |x| of a block and table[q] the entry nearest to x / absmax.

    table: 16 or 256 numbers from −1 to 1, by code. block: weights that share a scale.
    Stored rows are blocks of the scale in FP32 followed by the codes; two codes of four bits share a byte, the first in
    the high half. Source: Dettmers and others, QLoRA, section 3, and the `functional` module of bitsandbytes.
    """

    name: str
    summary: str
    table: tuple[float, ...]
    block: int
    kind = "codebook"
    uses_importance = requires_importance = False
    ggml_type = None

    def __post_init__(self) -> None:
        if len(self.table) not in (16, 256):
            raise FormatError(f"A codebook has 16 or 256 entries, not {len(self.table)}.")
        if self.block < 2 or self.block % 2:
            raise FormatError(f"A block of a codebook format has an even number of weights, not {self.block}.")

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return 4 if len(self.table) == 16 else 8

    @property
    def values(self) -> int:
        """Weights in a block."""
        return self.block

    @property
    def nbytes(self) -> int:
        """Bytes of a block: scale and codes."""
        return SCALE_BYTES + self.block * self.bits // 8

    @property
    def bpw(self) -> float:
        """Bits per weight of stored rows, scales counted."""
        return 8 * self.nbytes / self.values

    @cached_property
    def entries(self) -> np.ndarray:
        """The table as float32 (entries,), by code."""
        return np.array(self.table, np.float32)

    @cached_property
    def order(self) -> np.ndarray:
        """Codes in the order of their values: uint8 (entries,). A zero with the sign bit comes before one without."""
        return np.argsort(self.entries, kind="stable").astype(np.uint8)

    @cached_property
    def layout(self) -> Layout:
        """Where the scale and the codes of a block lie."""
        address = self.bits * np.arange(self.block)
        first = address ^ 4 if self.bits == 4 else address
        codes = 8 * SCALE_BYTES + first[:, None] + np.arange(self.bits)
        return Layout(
            self.block,
            (
                Field("d", word(0, 1, SCALE_BYTES), "scale", "The largest magnitude of the block, an FP32.", "f4"),
                Field("q", codes, "code", "The number of a table entry for each weight."),
            ),
        )

    @property
    def formula(self) -> Formula:
        """How a stored weight is decoded."""
        return Formula("{d}", "", "{d} · table[{q}]")

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """Codes of the entries nearest to x, numbers from −1 to 1: float32 (...) -> uint8 (...).

        Halfway between two entries the lower one is taken.
        """
        ordered = self.entries[self.order]
        middle = (ordered[1:] + ordered[:-1]) / np.float32(2)
        if len(middle) > 15:
            return self.order[np.searchsorted(middle, x)]
        place = np.zeros(np.shape(x), np.uint8)
        for m in middle:  # counting what lies below is several times faster than fifteen-way search
            place += x > m
        return self.order[place]

    def encode(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes and scales of blocks: float32 (..., values) -> codes uint8 (..., values), absmax float32 (..., 1).

        Weights are multiplied by the float32 inverse of absmax, not divided, as in bitsandbytes. A block of zeros, and
        one whose inverse is infinite (absmax below 2^−128), has the code of 0 wherever a product has no value.
        """
        absmax = np.abs(blocks).max(axis=-1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scaled = blocks * (np.float32(1) / absmax)
        return self.nearest(np.where(np.isnan(scaled), np.float32(0), scaled)), absmax

    def pack(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """Bytes of blocks: {"d": (..., 1), "q": (..., values)} -> uint8 (..., nbytes)."""
        return self.layout.pack(codes)

    def unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        """Scale and codes of blocks: uint8 (..., nbytes) -> {"d": (..., 1), "q": (..., values)}."""
        return self.layout.unpack(data)

    def decode(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """x̂ = d · table[q]: {"d": (..., 1), "q": (..., values)} -> float32 (..., values)."""
        return self.entries[codes["q"]] * np.float32(codes["d"])

    def row_bytes(self, n: int) -> int:
        """Bytes of a row of n weights; FormatError where n is not a multiple of `block`."""
        check_row(self, n)
        return n // self.values * self.nbytes

    def quantize(self, x: np.ndarray, importance: np.ndarray | None = None, effort: str = "standard") -> np.ndarray:
        """Store rows: (..., n) -> uint8 (..., row_bytes(n)). Importance and effort have no say.

        Raises FormatError on a row that blocks do not divide, and on NaN and infinity.
        """
        x = check_rows(self, x)
        codes, absmax = self.encode(x.reshape(*x.shape[:-1], -1, self.block))
        parts = absmax.view(np.uint8), _pack(codes, self.bits)  # (..., blocks, bytes) each
        return np.concatenate(parts, axis=-1).reshape(*x.shape[:-1], -1)

    def dequantize(self, data: np.ndarray, n: int | None = None) -> np.ndarray:
        """Decode stored rows: uint8 (..., row_bytes) -> float32 (..., n). Raises FormatError on a broken row."""
        data, n = check_stored_rows(self, data, n)
        blocks = data.reshape(*data.shape[:-1], -1, self.nbytes)  # (..., blocks, bytes)
        absmax = np.ascontiguousarray(blocks[..., :SCALE_BYTES]).view(np.float32)  # (..., blocks, 1)
        codes = {"d": absmax, "q": _unpack(blocks[..., SCALE_BYTES:], self.bits)}
        return self.decode(codes).reshape(*data.shape[:-1], n)


@dataclass(frozen=True, eq=False)
class NestedScales:
    """Scales under double quantization: absmax ≈ DYNAMIC8 codes of (absmax − offset), in blocks of 256.

    codes: uint8 (blocks,). absmax: float32, one for each 256 codes. offset: the mean of all scales of the tensor.
    """

    codes: np.ndarray
    absmax: np.ndarray
    offset: np.float32

    @property
    def nbytes(self) -> int:
        """Bytes stored, the offset counted."""
        return self.codes.nbytes + self.absmax.nbytes + 4

    def decode(self) -> np.ndarray:
        """The scales that weights are decoded with: float32 (blocks,)."""
        return _scaled(DYNAMIC8.entries[self.codes], self.absmax, NESTED_BLOCK) + self.offset


@dataclass(frozen=True, eq=False)
class Blockwise:
    """A tensor in a codebook format, stored as bitsandbytes stores it: blocks run over the flattened tensor.

    codes: uint8 (weights,). scales: float32 (blocks,), or NestedScales. The last block may be short.
    """

    format: CodebookFormat
    shape: tuple[int, ...]
    codes: np.ndarray
    scales: np.ndarray | NestedScales

    @property
    def packed(self) -> np.ndarray:
        """The stored codes: uint8 (bytes,), two codes of four bits in a byte, the first in the high half."""
        return _pack(np.pad(self.codes, (0, self.codes.size * self.bits % 8 // 4)), self.bits)

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return self.format.bits

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return (self.codes.size * self.bits + 7) // 8 + self.scales.nbytes

    @property
    def bpw(self) -> float:
        """Bits per weight, everything counted."""
        return 8 * self.nbytes / self.codes.size

    def decode(self) -> np.ndarray:
        """x̂ = scale · table[q]: float32 of the tensor's shape."""
        absmax = self.scales.decode() if isinstance(self.scales, NestedScales) else self.scales
        return _scaled(self.format.entries[self.codes], absmax, self.format.block).reshape(self.shape)


def quantize_blockwise(x: np.ndarray, form: CodebookFormat, double: bool = False) -> Blockwise:
    """Quantize a whole tensor (any shape) in blocks of its flattened weights.

    double: quantize the scales too, by `nest_scales`. That takes the mean of all scales, so it belongs to a tensor and
    not to a row: stored rows (`form.quantize`) always have FP32 scales.
    Raises FormatError on NaN and infinity, and on a tensor without weights.
    """
    x = as_float32(x)
    check_finite(form.name, x)
    codes, absmax = _blocks(x.reshape(-1), form)
    return Blockwise(form, x.shape, codes, nest_scales(absmax) if double else absmax)


def nest_scales(absmax: np.ndarray) -> NestedScales:
    """Double quantization of scales: float32 (blocks,) -> DYNAMIC8 codes of what is left without their mean.

    Source: QLoRA, section 3 (there with FP8 codes), as implemented by bitsandbytes.
    """
    offset = np.float32(np.mean(absmax, dtype=np.float64))
    codes, nested = _blocks(absmax - offset, DYNAMIC8)
    return NestedScales(codes, nested, offset)


def _blocks(flat: np.ndarray, form: CodebookFormat) -> tuple[np.ndarray, np.ndarray]:
    """Codes (weights,) and absmax (blocks,) of flat weights; the last block may be short."""
    if not flat.size:
        raise FormatError(f"There are no weights here to store in {form.name}.")
    padded = np.pad(flat, (0, -flat.size % form.block)).reshape(-1, form.block)  # zeros change no absmax
    codes, absmax = form.encode(padded)
    return codes.reshape(-1)[: flat.size], absmax[:, 0]


def _scaled(values: np.ndarray, absmax: np.ndarray, block: int) -> np.ndarray:
    return values * np.repeat(absmax, block)[: values.size]


def _pack(codes: np.ndarray, bits: int) -> np.ndarray:
    return codes[..., ::2] << 4 | codes[..., 1::2] if bits == 4 else codes


def _unpack(data: np.ndarray, bits: int) -> np.ndarray:
    return np.stack([data >> 4, data & 15], axis=-1).reshape(*data.shape[:-1], -1) if bits == 4 else data


def dynamic_table() -> tuple[float, ...]:
    """The 256 numbers of the dynamic 8-bit code: a decimal exponent, and a fraction of the bits that it leaves.

    For i = 0 … 6: ±10^(i−6) times the middles of 2^i equal parts of [0.1, 1]; besides, 0 and 1.
    Source: Dettmers, 8-Bit Approximations for Parallelism in Deep Learning, section 2.
    """
    parts = [np.float32(10.0 ** (i - 6)) * _middles(2**i) for i in range(7)]
    positive = np.concatenate(parts)
    return tuple(np.sort(np.concatenate([-positive, positive, np.array([0, 1], np.float32)])).tolist())


def _middles(parts: int) -> np.ndarray:
    """Middles of equal parts of [0.1, 1] to the last bit of bitsandbytes's: float32 (parts,).

    The ends are counted up from 0.1 in the lower half and down from 1 in the upper, with a step in float32 and
    one rounding each.
    """
    low, i = np.float32(0.1), np.arange(parts + 1)
    step = float((np.float32(1) - low) / np.float32(parts))
    ends = np.where(i < (parts + 1) // 2, float(low) + step * i, 1 - step * (parts - i)).astype(np.float32)
    return (ends[:-1] + ends[1:]) / np.float32(2)


NF4 = CodebookFormat(
    name="NF4",
    summary="16 quantiles of the normal distribution, one FP32 scale for every 64 weights: QLoRA's format.",
    table=(
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
        0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
    block=64,
)  # fmt: skip
_FP4_SIZES = (0, 0.0625, 8, 12, 4, 6, 2, 3)  # of 12; a sign, two bits of exponent and one of fraction
FP4_BNB = CodebookFormat(
    name="FP4_BNB",
    summary="The 4-bit floats of bitsandbytes, close to FP4_E2M1 on another scale, with one FP32 for every 64 weights.",
    table=tuple(sign * size / 12 for sign in (1, -1) for size in _FP4_SIZES),
    block=64,
)
DYNAMIC8 = CodebookFormat(
    name="DYNAMIC8",
    summary="256 numbers dense around zero, one FP32 scale for every 256 weights: what 8-bit optimizers store.",
    table=dynamic_table(),
    block=256,
)

CODEBOOKS = (DYNAMIC8, NF4, FP4_BNB)
