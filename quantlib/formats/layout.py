"""Where every bit of every code lies in a stored block.

A `Field` gives each of its codes the block bit addresses of its bits (8 · byte + bit), least significant bit first.
From that one declaration come packing, unpacking, the size, and the map from a byte back to what it means; split scales
and separate planes of high bits stop being special cases.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from quantlib.errors import FormatError

ROLES = (
    "code",
    "scale",
    "minimum",
    "zero-point",
    "sub-scale",
    "sub-minimum",
    "super-scale",
    "super-minimum",
    "sign",
    "exponent",
    "fraction",
    "sum",
)


@dataclass(frozen=True, eq=False)
class Field:
    """Codes of one kind and where their bits lie.

    bits: int (count, width), block bit addresses, least significant bit first.
    role: one of `ROLES`, what the codes mean. doc: one plain sentence.
    dtype: how the bits read: "" unsigned, "i1" and "i2" signed, "f2" and "f4" floats of half and single precision.
    of_weight: (values,), which of the codes each weight uses, where they do not simply follow the weights in order.
    """

    name: str
    bits: np.ndarray = dataclasses.field(repr=False)
    role: str
    doc: str
    dtype: str = ""
    of_weight: np.ndarray | None = dataclasses.field(default=None, repr=False)

    @property
    def count(self) -> int:
        """Codes of this field in a block."""
        return self.bits.shape[0]

    @property
    def width(self) -> int:
        """Bits of one code."""
        return self.bits.shape[1]

    @property
    def unsigned(self) -> np.dtype:
        """The smallest unsigned type that holds the bits of one code."""
        return np.dtype(next(f"u{size}" for size in (1, 2, 4, 8) if self.width <= 8 * size))

    @property
    def stored(self) -> np.dtype:
        """The type of the codes that `Layout.unpack` gives."""
        return np.dtype(self.dtype) if self.dtype else self.unsigned


@dataclass(frozen=True)
class Owner:
    """What one stored bit belongs to: bit `bit` of code number `element` of field `field`."""

    field: Field
    element: int
    bit: int


@dataclass(frozen=True, eq=False)
class Layout:
    """The fields of one stored block; together they use every bit exactly once.

    values: weights in a block.
    """

    values: int
    fields: tuple[Field, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return sum(field.bits.size for field in self.fields) // 8

    @property
    def bpw(self) -> float:
        """Bits per weight, everything counted."""
        return 8 * self.nbytes / self.values

    def field(self, name: str) -> Field:
        """The field of that name; FormatError where there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise FormatError(f"No field is called {name!r} here: the fields are {', '.join(f.name for f in self.fields)}.")

    def unpack(self, data: np.ndarray) -> dict[str, np.ndarray]:
        """The codes of stored blocks: uint8 (..., nbytes) -> {field name: (..., count)}. Lossless."""
        if data.dtype != np.uint8 or data.ndim == 0 or data.shape[-1] != self.nbytes:
            raise FormatError(f"A block is {self.nbytes} bytes of uint8, not {data.dtype} of shape {data.shape}.")
        raw = np.unpackbits(data, axis=-1, bitorder="little")  # (..., 8 * nbytes)
        codes = {}
        for field in self.fields:
            places = np.uint64(1) << np.arange(field.width, dtype=np.uint64)
            code = raw[..., field.bits].astype(np.uint64) @ places  # (..., count)
            codes[field.name] = code.astype(field.unsigned).view(field.stored)
        return codes

    def pack(self, codes: Mapping[str, np.ndarray]) -> np.ndarray:
        """Stored blocks from codes: {field name: (..., count)} -> uint8 (..., nbytes). Undoes `unpack`.

        Raises FormatError where a code does not fit in its field's bits.
        """
        shape = np.asarray(codes[self.fields[0].name]).shape[:-1]
        raw = np.zeros((*shape, 8 * self.nbytes), np.uint8)
        for field in self.fields:
            code = np.asarray(codes[field.name])
            if not field.dtype and code.size and (code.min() < 0 or code.max() >> field.width):
                raise FormatError(f"A code of {field.name} does not fit in {field.width} bits.")
            code = np.ascontiguousarray(code, field.stored).view(field.unsigned)
            raw[..., field.bits] = (code[..., None] >> np.arange(field.width, dtype=field.unsigned)) & 1
        return np.packbits(raw, axis=-1, bitorder="little")

    def overflowed(self, data: np.ndarray) -> np.ndarray:
        """Which blocks hold a half-precision number that is infinite or NaN: uint8 (blocks, nbytes) -> (blocks,)."""
        found = np.zeros(len(data), bool)
        for masks in self._half_exponents:
            found |= np.logical_and.reduce([data[:, byte] & mask == mask for byte, mask in masks])
        return found

    @cached_property
    def _half_exponents(self) -> list[list[tuple[int, np.uint8]]]:
        """Where the exponent of each half-precision number stands: (byte, its bits there); all are 1 past the range."""
        exponents = [bits[10:15] for field in self.fields if field.dtype == "f2" for bits in field.bits]
        return [
            [
                (int(byte), np.uint8(sum(1 << int(bit % 8) for bit in bits if bit // 8 == byte)))
                for byte in set(bits // 8)
            ]
            for bits in exponents
        ]

    def element(self, name: str, weight: int) -> int:
        """Which code of field `name` weight number `weight` of the block uses."""
        field = self.field(name)
        return weight * field.count // self.values if field.of_weight is None else int(field.of_weight[weight])

    def bits_of(self, weight: int) -> dict[str, np.ndarray]:
        """Block bit addresses that decoding one weight reads: {field name: (width,)}."""
        return {field.name: field.bits[self.element(field.name, weight)] for field in self.fields}

    @cached_property
    def owner_map(self) -> np.ndarray:
        """For every bit address: int (8 * nbytes, 3) of (field number, element, bit of the code)."""
        table = np.full((8 * self.nbytes, 3), -1, np.int32)
        for number, field in enumerate(self.fields):
            element, bit = np.indices(field.bits.shape)
            table[field.bits] = np.stack([np.full_like(element, number), element, bit], axis=-1)
        table.flags.writeable = False
        return table

    def byte_map(self) -> list[tuple[int, int, str]]:
        """Neighbouring bytes of one kind together: (first, last, what the first one holds, lowest bits first).

        Bytes are of one kind where their bits are the same bits of codes of the same fields. Where a few kinds follow
        each other again and again, they are told once, and the last line says how far that goes.
        """
        kinds, spelled = zip(*(self._spell_byte(byte) for byte in range(self.nbytes)), strict=True)
        first = [0, *(at for at in range(1, self.nbytes) if kinds[at] != kinds[at - 1])]
        last = [at - 1 for at in first[1:]] + [self.nbytes - 1]
        lines = [(a, b, spelled[a] + ", …" * ("[" in spelled[a] and b > a)) for a, b in zip(first, last, strict=True)]
        shapes = [(kinds[a], b - a) for a, b in zip(first, last, strict=True)]
        for start in range(len(lines)):
            for period in range(2, (len(lines) - start) // 3 + 1):
                pattern = shapes[start : start + period]
                stop = start
                while shapes[stop : stop + period] == pattern:
                    stop += period
                if stop - start > 2 * period:
                    kept, again = lines[: start + period], lines[start + period : stop]
                    return [*kept, (again[0][0], again[-1][1], "and so on"), *lines[stop:]]
        return lines

    def _spell_byte(self, byte: int) -> tuple[tuple[object, ...], str]:
        """The kind of a byte, and what it holds in words."""
        bits = self.owner_map[8 * byte : 8 * byte + 8]
        starts = [0, *(bit for bit in range(1, 8) if (bits[bit, :2] != bits[bit - 1, :2]).any()), 8]
        kind, words = [], []
        for start, stop in pairwise(starts):
            (number, element, low), high = (int(v) for v in bits[start]), int(bits[stop - 1, 2])
            field = self.fields[number]
            kind.append((field.name, start, low, high))
            code = field.name if field.count == 1 else f"{field.name}[{element}]"
            part = "" if high - low + 1 == field.width else f" {_spell_bits(low, high)} of"
            place = "" if stop - start == 8 else f" at {_spell_bits(start, stop - 1)}"
            words.append(f"{part.strip()} {code}{place}".strip())
        words = [words[0], words[1], "…", words[-1]] if len(words) > 3 else words
        return tuple(kind), ", ".join(words)

    def owner(self, byte: int, bit: int) -> Owner:
        """What bit `bit` (0 the least significant) of byte `byte` belongs to."""
        number, element, place = (int(v) for v in self.owner_map[8 * byte + bit])
        return Owner(self.fields[number], element, place)


def _spell_bits(first: int, last: int) -> str:
    return f"bit {first}" if first == last else f"bits {first}–{last}"


def run(byte: int, count: int, width: int, bit: int = 0) -> np.ndarray:
    """Addresses of one code a byte: `count` bytes from `byte`, each with `width` bits from `bit`. (count, width)"""
    return (8 * (byte + np.arange(count)) + bit)[:, None] + np.arange(width)


def word(byte: int, count: int, nbytes: int) -> np.ndarray:
    """Addresses of `count` little-endian numbers of `nbytes` bytes each, from `byte`. (count, 8 * nbytes)"""
    return run(byte, count * nbytes, 8).reshape(count, 8 * nbytes)


def plane(byte: int, nbytes: int, width: int, chunk: int) -> np.ndarray:
    """Addresses of ggml's interleaved small codes: `nbytes` bytes from `byte`, `width` bits a code.

    Weights run chunk by chunk (of `chunk` bytes), within a chunk shift by shift (lowest bits of all its bytes first),
    within a shift byte by byte. (nbytes * 8 // width, width)
    """
    at = byte + np.arange(nbytes).reshape(-1, 1, chunk)  # (chunks, 1, bytes)
    first = 8 * at + np.arange(0, 8, width)[:, None]  # (chunks, shifts, bytes)
    return first.reshape(-1, 1) + np.arange(width)
