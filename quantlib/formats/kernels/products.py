"""A matrix times activations without decoding the matrix: whole numbers first, scales afterwards.

Both sides are in blocks of 32. A block's share of an output is d · da · Σ q · a, and the sum is of integers. Eight
products are added up side by side, and the eight sums meet at the end of a row.
"""

import numpy as np

from quantlib.formats.kernels.scalar import ZERO, kernel, read_half
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import WIDTH, as_floats, load, pick, put, splat, store

BLOCK = 32


@inlined
def block_sums(a, b, c, d, codes, at):
    """Eight sums of four products each: a block's codes, four vectors of eight, with those from codes[at] on."""
    return (a * load(codes, at) + b * load(codes, at + 8)) + (c * load(codes, at + 16) + d * load(codes, at + 24))


@inlined
def total_of(sums, kept):
    """The eight sums together. kept: float32 (8,), room for them."""
    store(kept, 0, sums)
    total = ZERO
    for lane in range(WIDTH):
        total += pick(kept, lane)
    return total


@kernel
def multiply_q8_0(weight, codes, scales, out):
    """weight: uint8 (rows, blocks · 34). codes: int8 (tokens, blocks · 32), scales: float32 (tokens, blocks).

    out: float32 (tokens, rows).
    """
    left, blocks, kept = weight.view(np.int8), scales.shape[1], np.empty(WIDTH, np.float32)
    for row in range(weight.shape[0]):
        for token in range(scales.shape[0]):
            sums, at, to = splat(ZERO), row * blocks * 34, token * blocks * BLOCK
            for block in range(blocks):
                scale = read_half(weight, at) * pick(scales, token * blocks + block)
                a, b, c, d = load(left, at + 2), load(left, at + 10), load(left, at + 18), load(left, at + 26)
                sums = sums + as_floats(block_sums(a, b, c, d, codes, to)) * scale
                at += 34
                to += BLOCK
            put(out, token * weight.shape[0] + row, total_of(sums, kept))


@kernel
def multiply_q4_0(weight, codes, scales, out):
    """weight: uint8 (rows, blocks · 18); the rest as in `multiply_q8_0`."""
    blocks, kept = scales.shape[1], np.empty(WIDTH, np.float32)
    for row in range(weight.shape[0]):
        for token in range(scales.shape[0]):
            sums, at, to = splat(ZERO), row * blocks * 18, token * blocks * BLOCK
            for block in range(blocks):
                scale = read_half(weight, at) * pick(scales, token * blocks + block)
                first, second = load(weight, at + 2), load(weight, at + 10)
                a, b, c, d = (first & 15) - 8, (second & 15) - 8, (first >> 4) - 8, (second >> 4) - 8
                sums = sums + as_floats(block_sums(a, b, c, d, codes, to)) * scale
                at += 18
                to += BLOCK
            put(out, token * weight.shape[0] + row, total_of(sums, kept))
