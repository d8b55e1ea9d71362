"""Kernels of the formats with sixteen unevenly spaced values: IQ4_NL, IQ4_XS."""

import numpy as np

from quantlib.formats.blocks.search import MIDPOINTS, VALUES
from quantlib.formats.kernels.lanes import NO_IMPORTANCE, gather, gather_importance, important, sums_of_squares
from quantlib.formats.kernels.scalar import LEAST, NONE, ONE, ZERO, clamped_int, kernel, read_half, write_half
from quantlib.formats.kernels.searches import of_largest_size
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import WIDE, WIDTH, load, load_wide, select, splat, splat_wide, store

GROUP = 32
LOWEST = np.float32(VALUES[0])
TABLE = VALUES.astype(np.float32)
TOP = len(TABLE) - 1


@inlined
def value_of(v):
    """The values of the table nearest to sixteen v: the next one wherever v is not below the midpoint."""
    value = splat_wide(LOWEST)
    for i in range(TOP):
        value = select(v < MIDPOINTS[i], value, TABLE[i + 1])
    return value


@inlined
def code_of(v):
    """The numbers of the values nearest to eight v."""
    code = splat(NONE)
    for i in range(TOP):
        code = select(v < MIDPOINTS[i], code, np.int32(i + 1))
    return code


@part
def table_scale(lane, weights):
    """Search of d for sixteen groups (kernel of `blocks.nonlinear.table_scale`). lane, weights: as in `searches`."""
    largest, size = of_largest_size(lane)
    scale = best = splat_wide(ZERO)
    for t in range(16):
        trial = (
            splat_wide(ONE) / (largest * -ONE / LOWEST) if t == 0 else splat_wide(np.float32(t - 8) + LOWEST) / largest
        )
        sum_xv = splat_wide(ZERO)
        sum_v2 = splat_wide(ZERO)
        for i in range(0, lane.shape[0], WIDE):
            v = load_wide(lane, i)
            value = value_of(trial * v)
            wv = load_wide(weights, i) * value
            sum_xv = sum_xv + wv * v
            sum_v2 = sum_v2 + wv * value
        fit = sum_xv / sum_v2
        better = sum_v2 > ZERO
        if t == 0:
            scale = select(better, fit, ZERO)
            best = scale * sum_xv
        else:
            better = better & (sum_xv * sum_xv > best * sum_v2)
            scale = select(better, fit, scale)
            best = select(better, fit * sum_xv, best)
    return select(size < LEAST, ZERO, scale)


@part
def weigh(x, start, count, groups, importance, sums, lane, weights):
    """What errors of groups start, start + 1, … count: x², or with importance importance · sqrt(power + x²).

    groups: of a block. importance: of a row of blocks, without rows where there is none. sums: scratch (16,).
    """
    if importance.shape[0] == 0:
        for i in range(0, lane.shape[0], WIDE):
            store(weights, i, load_wide(lane, i) * load_wide(lane, i))
        return
    gather_importance(importance, start, count, weights)
    if groups == 1:
        sums_of_squares(x, GROUP * start, GROUP, sums[: min(count, WIDTH)])
        sums_of_squares(x, GROUP * (start + WIDTH), GROUP, sums[WIDTH : max(count, WIDTH)])
    else:
        for b in range(count // groups):
            at = GROUP * (start + groups * b)
            sums_of_squares(x, at, GROUP * groups, sums[groups * b : groups * b + 1])
            sums[groups * b : groups * (b + 1)] = sums[groups * b]
    important(lane, load_wide(sums, 0) * np.float32(2 / (GROUP * groups)), weights)


@part
def write_codes(x, at, inverse, out, to):
    """Nearest values of 32 weights from x[at] on, two a byte."""
    for i in range(0, 16, WIDTH):
        low, high = code_of(load(x, at + i) * inverse), code_of(load(x, at + 16 + i) * inverse)
        store(out, to + i, low | high << 4)


@part
def write_iq4_nl(x, at, scale, out):
    """One block of 32 weights, given its scale."""
    write_half(scale, out, 0)
    write_codes(x, at, ONE / scale if scale != ZERO else ZERO, out, 2)


@part
def write_iq4_xs(x, at, scale, out):
    """One super-block: quantize its eight scales, then choose the codes."""
    largest = ZERO
    size = ZERO
    for j in range(8):
        if abs(scale[j]) > size:
            size = abs(scale[j])
            largest = scale[j]
    d = -largest / np.float32(32)
    inverse = ONE / d if d != ZERO else ZERO
    write_half(d, out, 0)
    for i in range(2, 8):
        out[i] = 0
    for j in range(8):
        sc = clamped_int(inverse * scale[j], np.int32(-32), np.int32(31))
        step = d * np.float32(sc)
        write_codes(x, at + GROUP * j, ONE / step if step != ZERO else ZERO, out, 8 + 16 * j)
        code = np.uint8(sc + 32)
        out[4 + j // 2] |= np.uint8((code & 15) << 4 * (j % 2))
        out[2 + j // 4] |= np.uint8((code >> 4) << 2 * (j % 4))


@kernel
def encode_iq4(x, importance, out):
    """IQ4_NL, x: float32 (blocks, 32) -> out: uint8 (blocks, 18), or IQ4_XS, (blocks, 256) -> (blocks, 136).

    importance: (blocks of a row, values), without rows where there is none.
    """
    lane, weights = np.empty(GROUP * WIDE, np.float32), np.empty(GROUP * WIDE, np.float32)
    scale, sums = np.zeros(WIDE, np.float32), np.zeros(WIDE, np.float32)
    groups = x.shape[1] // GROUP
    for start in range(0, x.shape[0] * groups, WIDE):
        count = min(WIDE, x.shape[0] * groups - start)
        gather(x, GROUP * start, count, lane)
        weigh(x, start, count, groups, importance, sums, lane, weights)
        store(scale, 0, table_scale(lane, weights))
        for first in range(0, count, groups):
            at, block = GROUP * (start + first), out[(start + first) // groups]
            if groups == 1:
                write_iq4_nl(x, at, scale[first], block)
            else:
                write_iq4_xs(x, at, scale[first : first + groups], block)


@part
def read_codes(data, step, out):
    """32 weights from two codes a byte."""
    for i in range(16):
        out[i] = step * TABLE[data[i] & 15]
        out[16 + i] = step * TABLE[data[i] >> 4]


@kernel
def decode_iq4_nl(data, out):
    """data: uint8 (blocks, 18) -> out: float32 (blocks, 32)."""
    for b in range(data.shape[0]):
        read_codes(data[b, 2:], read_half(data[b], 0), out[b])


@kernel
def decode_iq4_xs(data, out):
    """data: uint8 (blocks, 136) -> out: float32 (blocks, 256)."""
    for b in range(data.shape[0]):
        d = read_half(data[b], 0)
        for j in range(8):
            low = (data[b, 4 + j // 2] >> (4 * (j % 2))) & 15
            high = (data[b, 2 + j // 4] >> (2 * (j % 4))) & 3
            step = d * np.float32(np.int32(low | (high << 4)) - 32)
            read_codes(data[b, 8 + 16 * j :], step, out[b, 32 * j :])


def encode_iq4_plain(x, out):
    """`encode_iq4` without importance."""
    encode_iq4(x, NO_IMPORTANCE, out)
