"""Kernels of what ggml turns activations into: Q8_1, Q8_K."""

import numpy as np

from quantlib.formats.kernels.legacy import write_bytes
from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import ONE, ZERO, kernel, part, read_half, write_half
from quantlib.formats.kernels.simd import as_floats, load, smaller, store

TOP = np.int32(127)


@part
def total(codes, at, count):
    """The sum of so many signed bytes from codes[at] on."""
    found = np.int32(0)
    for i in range(at, at + count):
        found += np.int32(codes[i])
    return found


@kernel
def encode_q8_1(x, out):
    """x: float32 (blocks, 32) -> out: uint8 (blocks, 36)."""
    values, data = x.reshape(-1), out.reshape(-1)
    codes = data.view(np.int8)
    for b in range(x.shape[0]):
        to = 36 * b
        _, d = write_bytes(values, 32 * b, data, to + 4)
        write_half(d, data, to)
        write_half(np.float32(total(codes, to + 4, 32)) * d, data, to + 2)


@kernel
def decode_q8_1(data, out):
    """data: uint8 (blocks, 36) -> out: float32 (blocks, 32)."""
    stored, values = data.reshape(-1), out.reshape(-1)
    codes = stored.view(np.int8)
    for b in range(data.shape[0]):
        d = read_half(stored, 36 * b)
        for i in range(0, 32, 8):
            store(values, 32 * b + i, as_floats(load(codes, 36 * b + 4 + i)) * d)


@kernel
def encode_q8_k(x, out):
    """x: float32 (blocks, 256) -> out: uint8 (blocks, 292)."""
    values, data = x.reshape(-1), out.reshape(-1)
    codes, sums, scales = data.view(np.int8), data.view(np.int16), data.view(np.float32)
    for b in range(x.shape[0]):
        at, to = 256 * b, 292 * b
        largest = size = ZERO
        for i in range(at, at + 256):
            if abs(values[i]) > size:
                size, largest = abs(values[i]), values[i]
        if largest == ZERO:
            data[to : to + 292] = 0
            continue
        inverse = np.float32(-127) / largest
        for i in range(0, 256, 8):
            store(data, to + 4 + i, smaller(nearest_ints(load(values, at + i) * inverse), TOP))
        scales[to // 4] = ONE / inverse
        for j in range(16):
            sums[(to + 260) // 2 + j] = np.int16(total(codes, to + 4 + 16 * j, 16))


@kernel
def decode_q8_k(data, out):
    """data: uint8 (blocks, 292) -> out: float32 (blocks, 256)."""
    stored, values = data.reshape(-1), out.reshape(-1)
    codes = stored.view(np.int8)
    word = np.empty(4, np.uint8)
    for b in range(data.shape[0]):
        for i in range(4):
            word[i] = stored[292 * b + i]
        d = word.view(np.float32)[0]
        for i in range(0, 256, 8):
            store(values, 256 * b + i, as_floats(load(codes, 292 * b + 4 + i)) * d)
