"""Kernels of the formats with sixteen unevenly spaced values: IQ4_NL, IQ4_XS."""

import numpy as np

from quantlib.formats.blocks.nonlinear import MIDPOINTS, VALUES
from quantlib.formats.kernels.lanes import gather
from quantlib.formats.kernels.scalar import LANES, LEAST, ONE, ZERO, clamped_int, kernel, part, read_half, write_half
from quantlib.formats.rows import read_only

GROUP = 32
NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))
LOWEST = np.float32(VALUES[0])
TABLE = VALUES.astype(np.float32)
STEPS = np.diff(TABLE)  # from each value to the next
TOP = len(STEPS)


@part
def value_of(v):
    """The nearest value of the table: climbing from the lowest, a step wherever v is not below the midpoint."""
    value = LOWEST
    for i in range(TOP):
        value += ZERO if v < MIDPOINTS[i] else STEPS[i]
    return value


@part
def code_of(v):
    """The number of the nearest value of the table."""
    code = np.uint8(0)
    for i in range(TOP):
        code += np.uint8(0) if v < MIDPOINTS[i] else np.uint8(1)
    return code


@part
def table_scale(x, w, scale):
    """Search of d for LANES groups (kernel of `blocks.nonlinear.table_scale`). x, w: (32, LANES). scale: (LANES,)."""
    largest = np.empty(LANES, np.float32)
    size = np.empty(LANES, np.float32)
    sum_xv = np.empty(LANES, np.float32)
    sum_v2 = np.empty(LANES, np.float32)
    trial = np.empty(LANES, np.float32)
    best = np.empty(LANES, np.float32)
    scaled = np.empty(LANES, np.float32)
    value = np.empty(LANES, np.float32)
    for k in range(LANES):
        largest[k] = ZERO
        size[k] = ZERO
    for i in range(GROUP):
        for k in range(LANES):
            v = x[i, k]
            more = abs(v) > size[k]
            size[k] = abs(v) if more else size[k]
            largest[k] = v if more else largest[k]
    for t in range(16):
        for k in range(LANES):
            trial[k] = ONE / (-largest[k] / LOWEST) if t == 0 else (np.float32(t - 8) + LOWEST) / largest[k]
            sum_xv[k] = ZERO
            sum_v2[k] = ZERO
        for i in range(GROUP):
            for k in range(LANES):
                scaled[k] = trial[k] * x[i, k]
                value[k] = LOWEST
            for j in range(TOP):
                edge = MIDPOINTS[j]
                step = STEPS[j]
                for k in range(LANES):
                    value[k] += ZERO if scaled[k] < edge else step
            for k in range(LANES):
                wv = w[i, k] * value[k]
                sum_xv[k] += wv * x[i, k]
                sum_v2[k] += wv * value[k]
        for k in range(LANES):
            fit = sum_xv[k] / sum_v2[k]
            if t == 0:
                scale[k] = fit if sum_v2[k] > ZERO else ZERO
                best[k] = scale[k] * sum_xv[k]
            else:
                better = sum_v2[k] > ZERO and sum_xv[k] * sum_xv[k] > best[k] * sum_v2[k]
                scale[k] = fit if better else scale[k]
                best[k] = fit * sum_xv[k] if better else best[k]
    for k in range(LANES):
        scale[k] = ZERO if size[k] < LEAST else scale[k]


@part
def weigh(x, start, count, importance, lanes, weights):
    """What an error counts: x**2, or with importance (blocks of a row, values) importance * sqrt(power + x**2)."""
    groups = x.shape[1] // GROUP
    for i in range(GROUP):
        for k in range(LANES):
            weights[i, k] = lanes[i, k] * lanes[i, k]
    if importance.shape[0] == 0:
        return
    factor = np.float32(2 / x.shape[1])
    for b in range(count):
        power = ZERO
        for i in range(x.shape[1]):
            power += x[start + b, i] * x[start + b, i]
        power *= factor
        row = importance[(start + b) % importance.shape[0]]
        for j in range(groups):
            for i in range(GROUP):
                k = b * groups + j
                weights[i, k] = row[j * GROUP + i] * np.sqrt(power + weights[i, k])


@part
def write_codes(x, inverse, out):
    """Nearest values of 32 weights, two a byte."""
    for i in range(16):
        out[i] = code_of(inverse * x[i]) | (code_of(inverse * x[16 + i]) << 4)


@part
def write_iq4_nl(x, scale, out):
    """One block of 32 weights, given its scale."""
    write_half(scale[0], out, 0)
    write_codes(x, ONE / scale[0] if scale[0] != ZERO else ZERO, out[2:])


@part
def write_iq4_xs(x, scale, out):
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
        write_codes(x[32 * j : 32 * j + 32], ONE / step if step != ZERO else ZERO, out[8 + 16 * j :])
        code = np.uint8(sc + 32)
        out[4 + j // 2] |= np.uint8((code & 15) << 4 * (j % 2))
        out[2 + j // 4] |= np.uint8((code >> 4) << 2 * (j % 4))


@kernel
def encode_iq4(x, importance, out):
    """IQ4_NL, x: float32 (blocks, 32) -> out: uint8 (blocks, 18), or IQ4_XS, (blocks, 256) -> (blocks, 136).

    importance: (blocks of a row, values), without rows where there is none.
    """
    lanes = np.empty((GROUP, LANES), np.float32)
    weights = np.empty((GROUP, LANES), np.float32)
    scale = np.empty(LANES, np.float32)
    groups = x.shape[1] // GROUP
    together = LANES // groups
    for start in range(0, x.shape[0], together):
        count = min(together, x.shape[0] - start)
        gather(x, start, count, lanes)
        weigh(x, start, count, importance, lanes, weights)
        table_scale(lanes, weights, scale)
        for b in range(count):
            if groups == 1:
                write_iq4_nl(x[start + b], scale[b : b + 1], out[start + b])
            else:
                write_iq4_xs(x[start + b], scale[b * groups : (b + 1) * groups], out[start + b])


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
