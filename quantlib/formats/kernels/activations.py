"""Kernels of what ggml turns activations into: Q8_1, Q8_K."""

import numpy as np

from quantlib.formats.kernels.legacy import write_bytes
from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import ONE, ZERO, kernel, read_half, write_half
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import as_floats, load, pick, pick_word, put, smaller, store

TOP = np.int32(127)


@part
def total(codes, at, count):
    """The sum of so many signed bytes from codes[at] on."""
    found = np.int32(0)
    for i in range(at, at + count):
        found += np.int32(pick(codes, i))
    return found


@kernel
def encode_q8_1(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 36)."""
    codes = out.view(np.int8)
    for b in range(x.shape[0]):
        to = 36 * b
        _, d = write_bytes(x, 32 * b, out, to + 4)
        write_half(d, out, to)
        write_half(np.float32(total(codes, to + 4, 32)) * d, out, to + 2)


@kernel
def decode_q8_1(data, out):
    """data: uint8 (blocks, 36) -> out: float32 (blocks, 32)."""
    codes = data.view(np.int8)
    for b in range(data.shape[0]):
        d = read_half(data, 36 * b)
        for i in range(0, 32, 8):
            store(out, 32 * b + i, as_floats(load(codes, 36 * b + 4 + i)) * d)


@kernel
def encode_q8_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 292)."""
    codes, sums, scales = out.view(np.int8), out.view(np.int16), out.view(np.float32)
    for b in range(x.shape[0]):
        at, to = 256 * b, 292 * b
        largest = size = ZERO
        for i in range(at, at + 256):
            if abs(pick(x, i)) > size:
                size, largest = abs(pick(x, i)), pick(x, i)
        if largest == ZERO:
            out[b, :] = 0
            continue
        inverse = np.float32(-127) / largest
        for i in range(0, 256, 8):
            store(out, to + 4 + i, smaller(nearest_ints(load(x, at + i) * inverse), TOP))
        put(scales, to // 4, ONE / inverse)
        for j in range(16):
            put(sums, (to + 260) // 2 + j, total(codes, to + 4 + 16 * j, 16))


@kernel
def decode_q8_k(data, out):
    """data: uint8 (blocks, 292) -> out: float32 (blocks, 256)."""
    codes = data.view(np.int8)
    for b in range(data.shape[0]):
        d = np.uint32(pick_word(data, 292 * b)).view(np.float32)
        for i in range(0, 256, 8):
            store(out, 256 * b + i, as_floats(load(codes, 292 * b + 4 + i)) * d)
