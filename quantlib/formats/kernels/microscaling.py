"""Kernels of the four-bit floats under a shared scale: MXFP4, NVFP4."""

import numpy as np

from quantlib.formats.kernels.magnitudes import larger_size, largest_magnitude
from quantlib.formats.kernels.scalar import HALF, NONE, ZERO, kernel
from quantlib.formats.tables.small_floats import VALUES, power_of_two, small_float, whole_logarithm
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import as_floats, load, magnitude, pick, put, select, splat, store

TABLE = VALUES.astype(np.float32)
POWERS = power_of_two(np.arange(256, dtype=np.uint8))
SMALL = small_float(np.arange(256, dtype=np.uint8))
# Where a magnitude passes from one value to the next: halfway, and a tie stays at the smaller one.
EDGES = tuple((TABLE[:7] + TABLE[1:8]) / np.float32(2))
LARGEST = np.float32(6 * 448)  # what the largest scale holds
OVERFLOWING = np.uint8(253)  # the power of two under which the largest values are infinite
ONE, MINUS = np.int32(1), np.int32(8)


def _early() -> np.ndarray:
    """How many of the floats just below the end of each binade have the next whole logarithm already: int32 (256,)."""
    fields = np.arange(1, 255, dtype=np.uint32)[:, None]
    last = (fields << 23) + np.uint32((1 << 23) - 64) + np.arange(64, dtype=np.uint32)
    early = whole_logarithm(last.view(np.float32)) > fields - np.float32(127)
    return np.pad(early.sum(axis=1), 1).astype(np.int32)


EARLY = _early()


@inlined
def nearest_codes(x, scale):
    """The numbers of the nearest values of eight weights, under a scale above zero."""
    size = magnitude(x)
    code = splat(NONE)
    for edge in EDGES:
        code = code + select(size > edge * scale, splat(ONE), NONE)
    return code + select(x < ZERO, select(code > NONE, splat(MINUS), NONE), NONE)


@inlined
def scanned_codes(x, scale):
    """The same by trying every value, for weights so large that the misses of several values round to one number."""
    miss = magnitude(x)
    code = splat(NONE)
    for c in range(1, 16):
        other = magnitude(x - TABLE[c] * scale)
        code = select(other < miss, splat(np.int32(c)), code)
        miss = select(other < miss, other, miss)
    return code


@part
def to_small_float(x):
    """The nearest unsigned E4M3 (kernel of `blocks.microscaling.to_small_float`)."""
    x = min(x, np.float32(448))
    if x < np.float32(2.0**-6):
        return np.uint8(min(np.int32(x * np.float32(512) + HALF), np.int32(7)))
    bits = np.int64(np.float32(x).view(np.uint32))
    normal = ((bits + (1 << 19)) >> 20) - ((127 - 7) << 3)
    return np.uint8(126 if normal >= 120 else normal)


@inlined
def power_for(largest):
    """The stored power of two for a block with that largest magnitude."""
    bits = np.float32(largest).view(np.int32)
    field = bits >> 23
    if field > 0:
        return np.uint8(field - 127 + 125 + np.int32(bits + EARLY[field & 255] >= np.int32((field + 1) << 23)))
    if largest > ZERO:
        return np.uint8(np.int32(np.floor(np.float32(np.log2(np.float64(largest))))) + np.int32(125))
    return np.uint8(0)


@kernel
def encode_mxfp4(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 17)."""
    size = NONE
    for b in range(x.shape[0]):
        at, to = 32 * b, 17 * b
        largest = largest_magnitude(x, at, 32)
        size = larger_size(size, largest)
        e = power_for(largest)
        scale = POWERS[e]
        put(out, to, e)
        for i in range(0, 16, 8):
            first, second = load(x, at + i), load(x, at + 16 + i)
            if e == OVERFLOWING:
                low, high = scanned_codes(first, scale), scanned_codes(second, scale)
            else:
                low, high = nearest_codes(first, scale), nearest_codes(second, scale)
            store(out, to + 1 + i, low | high << 4)
    return np.int32(size).view(np.float32)


@kernel
def encode_nvfp4(x, out):
    """x: float32 (blocks, 64) -> out: uint8 (blocks, 36)."""
    size = NONE
    for b in range(x.shape[0]):
        for j in range(4):
            at, to = 64 * b + 16 * j, 36 * b
            largest = largest_magnitude(x, at, 16)
            size = larger_size(size, largest)
            e = to_small_float(largest / np.float32(6))
            put(out, to + j, e)
            scale = SMALL[e] if e else np.float32(np.inf)  # under a scale of zero all values are the first
            if largest > LARGEST:
                low, high = scanned_codes(load(x, at), scale), scanned_codes(load(x, at + 8), scale)
            else:
                low, high = nearest_codes(load(x, at), scale), nearest_codes(load(x, at + 8), scale)
            store(out, to + 4 + 8 * j, low | high << 4)
    return np.int32(size).view(np.float32)


@inlined
def value_of(code):
    """The values with these numbers, doubled: 0 1 2 3 4 6 8 12, and their negatives from number 8 on."""
    place = code & 7
    whole = select(place < 5, place, select(place == 7, splat(np.int32(12)), place + place - 4))
    return select(code > 7, splat(ZERO) - as_floats(whole), as_floats(whole))


@kernel
def decode_mxfp4(data, out):
    """data: uint8 (blocks, 17) -> out: float32 (blocks, 32)."""
    for b in range(data.shape[0]):
        scale = POWERS[pick(data, 17 * b)]
        for i in range(0, 16, 8):
            pairs = load(data, 17 * b + 1 + i)
            store(out, 32 * b + i, value_of(pairs & 15) * scale)
            store(out, 32 * b + 16 + i, value_of(pairs >> 4) * scale)


@kernel
def decode_nvfp4(data, out):
    """data: uint8 (blocks, 36) -> out: float32 (blocks, 64)."""
    for b in range(data.shape[0]):
        for j in range(4):
            scale = SMALL[pick(data, 36 * b + j)]
            pairs = load(data, 36 * b + 4 + 8 * j)
            store(out, 64 * b + 16 * j, value_of(pairs & 15) * scale)
            store(out, 64 * b + 16 * j + 8, value_of(pairs >> 4) * scale)
