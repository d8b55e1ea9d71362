"""Kernels of the i-quants with signs, one for all five: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

Eight groups are searched at once, one in each lane: rounding, the fit of a scale and the choice of a candidate are the
same steps in every group. Only where rounding misses the grid a lane is looked after alone, and there eight grid points
near by are weighed at once.
"""

from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.block import Kernels
from quantlib.formats.blocks.iquants_search import ALL, ALL_IF_ANY, OFF_GRID
from quantlib.formats.kernels.bits import pieces, read_code, write_code
from quantlib.formats.kernels.neighbours import nearest_point, neighbours
from quantlib.formats.kernels.scalar import (
    BIT_22,
    HALF,
    LEAST,
    LOW_23,
    MAGIC,
    ONE,
    ZERO,
    clamped_int,
    inlined,
    kernel,
    part,
    read_half,
    write_half,
)
from quantlib.formats.kernels.simd import (
    WIDTH,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    lanes,
    larger,
    load,
    root,
    select,
    smaller,
    splat,
    store,
)
from quantlib.formats.rows import read_only

NO_IMPORTANCE = read_only(np.empty((0, 1), np.float32))
PARITY = np.array([bits.bit_count() % 2 for bits in range(256)], np.uint8)
NONE = np.int32(0)
TENTH = np.float32(0.1)
SIGN = np.int32(-0x80000000)


@inlined
def nearest_ints(v):
    """`scalar.nearest_int` of eight numbers."""
    return (bits_of(v + MAGIC) & LOW_23) - BIT_22


@inlined
def weigh(v, importance, row, power, floor):
    """What errors of eight weights v count (kernel of `blocks.iquants_search.weights_of`).

    importance: of a row of blocks, flat, with the eight's at `row`, empty where there is none. power: the factor times
    the block's mean square.
    """
    if importance.shape[0]:
        return load(importance, row) * root(v * v + power)
    return v * v + floor * power if floor > ZERO else v * v


@part
def mean_square(x, at, factor):
    """factor · mean square of 256 weights from x[at] on, summed from left to right."""
    power = ZERO
    for i in range(at, at + 256):
        power += x[i] * x[i]
    return factor * power / np.float32(256)


@part
def least_costly(x, weights, at):
    """Which of eight weights counts least, w · x²; the first among equals."""
    least = at
    cost = weights[at] * x[at] * x[at]
    for i in range(at + 1, at + 8):
        other = weights[i] * x[i] * x[i]
        if other < cost:
            cost = other
            least = i
    return least - at


class Work(NamedTuple):
    """Scratch of a search over eight groups of n weights, all of it flat.

    x, weights, root, signs: magnitudes, weights, their square roots, bytes of signs: one group after the other.
    lane_x, lane_weights, lane_wx: x, weights and their product with a group in each lane. q: the magnitudes of grid
    points alike. place, trial, on_grid: of a candidate, for each point eight lanes: the
    place it rounds to, its grid point, 1 where that place is on the grid. number, settled: trial and on_grid of the
    best candidate so far. wanted: 1 for the points to be found. codes: of the first fit. scale: one number a lane.
    """

    x: np.ndarray
    weights: np.ndarray
    root: np.ndarray
    signs: np.ndarray
    lane_x: np.ndarray
    lane_weights: np.ndarray
    lane_wx: np.ndarray
    q: np.ndarray
    place: np.ndarray
    trial: np.ndarray
    on_grid: np.ndarray
    number: np.ndarray
    settled: np.ndarray
    wanted: np.ndarray
    codes: np.ndarray
    scale: np.ndarray


@part
def new_work(n, points):
    """Scratch for groups of n weights and so many grid points each."""
    floats = np.empty((7, WIDTH * n), np.float32)
    whole = np.empty((6, WIDTH * points), np.int32)
    return Work(
        floats[0],
        floats[1],
        floats[2],
        np.empty(n, np.uint8),
        floats[3],
        floats[4],
        floats[5],
        floats[6],
        whole[0],
        whole[1],
        whole[2],
        whole[3],
        whole[4],
        whole[5],
        np.empty(WIDTH * n, np.int32),
        np.empty(WIDTH, np.float32),
    )


@part
def take_groups(x, at, importance, row, rule, work):
    """Magnitudes, weights and signs of eight groups from x[at] on."""
    power = mean_square(x, at // 256 * 256, rule.power)
    n = rule.group
    for i in range(0, WIDTH * n, WIDTH):
        v = load(x, at + i)
        weights = weigh(v, importance, row + i, power, rule.floor)
        store(work.weights, i, weights)
        store(work.root, i, root(weights))
        minus = 255 ^ flag_bits(v >= ZERO)
        store(work.x, i, floats_of(bits_of(v) ^ ((splat(np.int32(minus)) << lanes(31, -1)) & SIGN)))
        if rule.even and PARITY[minus]:
            least = least_costly(work.x, work.weights, i)
            work.x[i + least] = -work.x[i + least]
            minus ^= 1 << least
        work.signs[i // 8] = np.uint8(minus & (127 if rule.even else 255))
    for k in range(WIDTH):
        for i in range(n):
            work.lane_x[i * WIDTH + k] = work.x[k * n + i]
            work.lane_weights[i * WIDTH + k] = work.weights[k * n + i]
    for i in range(0, WIDTH * n, WIDTH):
        store(work.lane_wx, i, load(work.lane_weights, i) * load(work.lane_x, i))


@part
def highest(x):
    """The largest of each lane's numbers."""
    largest = load(x, 0)
    for i in range(WIDTH, x.shape[0], WIDTH):
        v = load(x, i)
        largest = select(v > largest, v, largest)
    return largest


@part
def snap(inverse, scale, wanted, work, near):
    """Round magnitudes to grid points, into work.trial, on_grid and q (kernel of `blocks.iquants_search.snap`).

    wanted: 1 for every point (and lane) that is to be found.
    """
    n = work.q.shape[0]
    top = np.int32(near.base - 1)
    step = near.dim * WIDTH
    for p in range(0, n, step):
        place = splat(NONE)
        for i in range(p + step - WIDTH, p - WIDTH, -WIDTH):
            level = nearest_ints((inverse * load(work.lane_x, i) - ONE) * HALF)
            level = smaller(larger(level, NONE), top)
            place = place * np.int32(near.base) + level
            store(work.q, i, as_floats(level + level + 1))
        store(work.place, p // near.dim, place)
    store(work.scale, 0, scale)
    for p in range(n // step):
        for k in range(WIDTH):
            at = p * WIDTH + k
            if not wanted[at]:
                continue
            place = work.place[at]
            number = near.number[place]
            work.on_grid[at] = np.int32(number >= 0)
            if number < 0:
                first = k * (n // WIDTH) + p * near.dim
                number = nearest_point(place, work.x, work.root, first, work.scale[k], ZERO, near)
                for i in range(near.dim):
                    q = 2 * np.int32(near.levels[number * near.dim + i]) + 1
                    work.q[(p * near.dim + i) * WIDTH + k] = np.float32(q)
            work.trial[at] = number


@part
def fit(work):
    """Σwxq and Σwq² of each lane (kernel of `blocks.iquants_search.fit`)."""
    sum_xq = splat(ZERO)
    sum_q2 = splat(ZERO)
    for i in range(0, work.q.shape[0], WIDTH):
        q = load(work.q, i)
        sum_xq = sum_xq + load(work.lane_wx, i) * q
        sum_q2 = sum_q2 + load(work.lane_weights, i) * q * q
    return sum_xq, sum_q2


@part
def positive_scales(work, levels, codes):
    """The fit of one scale to each lane's magnitudes (kernel of `blocks.search.positive_scale`). codes: scratch."""
    n = work.lane_x.shape[0]
    top = np.int32(levels)
    flevels = np.float32(levels)
    largest = splat(ZERO)
    for i in range(0, n, WIDTH):
        v = load(work.lane_x, i)
        largest = select(largest > v, largest, v)
    inverse = splat(flevels) / largest
    best = splat(ZERO)
    for t in range(9):
        s = t - 5 if t < 5 else t - 4  # first the plain scale, then −4 … −1, 1 … 4
        trial = inverse if t == 0 else splat(flevels + TENTH * np.float32(s)) / largest
        scale = splat(ONE) / trial
        error = splat(ZERO)
        for i in range(0, n, WIDTH):
            v = load(work.lane_x, i)
            code = nearest_ints(trial * v)
            code = code & 255 if t == 0 else smaller(code, top)
            miss = v - scale * as_floats(code)
            error = error + load(work.lane_weights, i) * miss * miss
        if t == 0:
            best = error
            inverse = trial
        else:
            better = error < best
            best = select(better, error, best)
            inverse = select(better, trial, inverse)
    sum_xl = splat(ZERO)
    sum_l2 = splat(ZERO)
    for i in range(0, n, WIDTH):
        code = smaller(nearest_ints(inverse * load(work.lane_x, i)), top)
        store(codes, i, code & 255)
        value = as_floats(code)
        sum_xl = sum_xl + load(work.lane_wx, i) * value
        sum_l2 = sum_l2 + load(work.lane_weights, i) * value * value
    for _ in range(5):
        moved = 0
        for i in range(0, n, WIDTH):
            old = load(codes, i)
            v, w, wx = load(work.lane_x, i), load(work.lane_weights, i), load(work.lane_wx, i)
            rest_xl = sum_xl - wx * as_floats(old)
            rest_l2 = sum_l2 - w * as_floats(old) * as_floats(old)
            code = smaller(nearest_ints(v * rest_l2 / rest_xl), top)
            value = as_floats(code)
            new_xl = rest_xl + wx * value
            new_l2 = rest_l2 + w * value * value
            better = (rest_xl > ZERO) & (rest_l2 > ZERO) & ((code < old) | (code > old))
            better = better & (new_xl * new_xl * sum_l2 > sum_xl * sum_xl * new_l2)
            store(codes, i, select(better, code & 255, old))
            sum_xl = select(better, new_xl, sum_xl)
            sum_l2 = select(better, new_l2, sum_l2)
            moved |= flag_bits(better)
        if not moved:
            break
    scale = select(sum_l2 > ZERO, sum_xl / sum_l2, ZERO)
    return select(largest < LEAST, ZERO, scale)


@part
def grid_scales(rule, near, work, scales):
    """Search of eight groups (kernel of `blocks.iquants_search.grid_scale`): fills work.number, turns work.signs.

    scales: float32 (8,), filled. Gives flags of the groups that are more than zeros, as bits.
    """
    top = np.float32(2 * near.base - 1)
    span = highest(work.lane_x)
    alive = span >= rule.least
    scale = span / top
    if rule.fitted:
        scale = positive_scales(work, near.base + 1, work.codes)
        span = scale * np.float32(near.base)
        alive = alive & (span > ZERO)
    points = work.trial.shape[0]
    work.number[:] = 0
    work.settled[:] = rule.again == OFF_GRID
    for at in range(0, points, WIDTH):
        store(work.wanted, at, select(alive, splat(np.int32(1)), NONE))
    best = splat(ZERO)
    for s in range(-rule.reach, rule.reach + 1):
        inverse = splat(top + np.float32(s) * rule.step) / span
        snap(inverse, splat(ONE) / inverse, work.wanted, work, near)
        sum_xq, sum_q2 = fit(work)
        better = alive & (sum_q2 > ZERO) & (sum_xq * sum_xq > best * sum_q2)
        if flag_bits(better):
            trial = sum_xq / sum_q2
            scale = select(better, trial, scale)
            best = select(better, trial * sum_xq, best)
            for at in range(0, points, WIDTH):
                store(work.number, at, select(better, load(work.trial, at), load(work.number, at)))
                store(work.settled, at, select(better, load(work.on_grid, at), load(work.settled, at)))
    scale = settle(scale, alive & (scale > ZERO), rule, near, work)
    turned = flag_bits(alive & (scale < ZERO))
    for k in range(WIDTH):
        if turned >> k & 1:
            for i in range(k * rule.group // 8, (k + 1) * rule.group // 8):
                work.signs[i] = ~work.signs[i] & np.uint8(127 if rule.even else 255)
    scale = select(scale < ZERO, scale * -ONE, scale)
    store(scales, 0, select(alive & (scale >= ZERO), scale, ZERO))
    return flag_bits(alive)


@part
def settle(scale, usable, rule, near, work):
    """Choose once more, for the final scale, the points that the rule wants; gives the scales then."""
    points = work.trial.shape[0]
    everything = rule.again == ALL
    all_settled = usable
    for at in range(0, points, WIDTH):
        all_settled = all_settled & (load(work.settled, at) == 1)
    asked = flag_bits(usable) & ~flag_bits(all_settled)
    if everything:
        asked = flag_bits(usable)
    if not asked:
        return scale
    for at in range(points):
        together = everything or rule.again == ALL_IF_ANY
        work.wanted[at] = asked >> (at % WIDTH) & 1 and (together or not work.settled[at])
    snap(splat(ONE) / scale, scale, work.wanted, work, near)
    for at in range(points):
        if work.wanted[at]:
            work.number[at] = work.trial[at]
        else:
            for i in range(near.dim):
                q = 2 * np.int32(near.levels[work.number[at] * near.dim + i]) + 1
                work.q[(at // WIDTH * near.dim + i) * WIDTH + at % WIDTH] = np.float32(q)
    sum_xq, sum_q2 = fit(work)
    changed = ((splat(np.int32(asked)) >> lanes(0, 1) & 1) == 1) & (sum_q2 > ZERO)
    return select(changed, sum_xq / sum_q2, scale)


@kernel
def encode_by_grid(x, importance, rule, near, q_bits, sign_bits, sc_bits, out):
    """x: float32 (blocks, 256), importance (blocks of a row, 256), without rows where there is none -> out: uint8.

    The last tables are the pieces of the codes of the layout's fields.
    """
    n = rule.group
    groups, points = 256 // n, n // near.dim
    work = new_work(n, points)
    number = np.empty((groups, points), np.int64)
    signs = np.empty((groups, n // 8), np.uint8)
    scale = np.empty(groups, np.float32)
    weights, data, row = x.reshape(-1), out.reshape(-1), importance.reshape(-1)
    for b in range(x.shape[0]):
        used = 0
        place = b % importance.shape[0] * 256 if importance.shape[0] else 0
        for g in range(0, groups, WIDTH):
            take_groups(weights, 256 * b + g * n, row, place + g * n, rule, work)
            used |= np.int64(grid_scales(rule, near, work, scale[g : g + WIDTH])) << g
            for k in range(WIDTH):
                for p in range(points):
                    number[g + k, p] = work.number[p * WIDTH + k]
                for i in range(n // 8):
                    signs[g + k, i] = work.signs[k * n // 8 + i]
        write_block(number, signs, scale, used, rule, q_bits, sign_bits, sc_bits, data, b * out.shape[1], out.shape[1])


@part
def write_block(number, signs, scale, used, rule, q_bits, sign_bits, sc_bits, data, to, nbytes):
    """Store a block's grid points (groups, points), signs (groups, bytes) and scales (groups,) from data[to] on."""
    data[to : to + nbytes] = 0
    largest = ZERO
    for g in range(scale.shape[0]):
        largest = scale[g] if scale[g] > largest else largest
    if largest == ZERO and rule.clears:
        return
    points, eights = number.shape[1], signs.shape[1]
    place = 0
    for g in range(scale.shape[0]):
        zeros = not used >> g & 1
        if rule.slips and zeros:  # see `blocks.iquants.slip`
            continue
        for k in range(points if not zeros else 0):
            if place == g:
                write_code(number[g, k], data, to, q_bits, g * points + k)
            else:
                write_code(number[g, k] & 255, data, to, q_bits, place * points + k)
                write_code(number[g, k] & ~255, data, to, q_bits, g * points + k)
        for k in range(eights if not zeros else 0):
            write_code(np.int64(signs[g, k]), data, to, sign_bits, place * eights + k)
        place += 1
    if largest == ZERO:
        return
    d = largest / np.float32(31)
    write_half(d * rule.fudge, data, to)
    for g in range(scale.shape[0]):
        sc = clamped_int(HALF * (ONE / d * scale[g] - ONE), np.int32(0), np.int32(15))
        write_code(np.int64(sc), data, to, sc_bits, g)


@kernel
def decode_by_grid(data, rule, near, share, q_bits, sign_bits, sc_bits, out):
    """data: uint8 (blocks, nbytes) -> out: float32 (blocks, 256)."""
    stored, values = data.reshape(-1), out.reshape(-1)
    eight = np.empty(8, np.int8)
    for b in range(data.shape[0]):
        at = b * data.shape[1]
        d = read_half(stored, at)
        step = ZERO
        for k in range(32):
            if 8 * k % rule.group == 0:
                step = d * (np.float32(read_code(stored, at, sc_bits, 8 * k // rule.group)) + HALF) * share
            for p in range(8 // near.dim):
                point = read_code(stored, at, q_bits, k * (8 // near.dim) + p)
                for i in range(near.dim):
                    eight[p * near.dim + i] = near.values[point * near.dim + i]
            minus = read_code(stored, at, sign_bits, k)
            if rule.even:
                minus |= np.int64(PARITY[minus]) << 7
            value = bits_of(as_floats(load(eight, 0)) * step)
            store(values, 256 * b + 8 * k, floats_of(value ^ ((splat(np.int32(minus)) << lanes(31, -1)) & SIGN)))


def grid_kernels(rule, grid, share: float, layout) -> Kernels:
    """The kernels bound to a format's rule, grid and layout."""
    bits = pieces(layout, "q", "sign", "sc")
    near = neighbours(grid, 2, 1)

    def encode(x, out):
        encode_by_grid(x, NO_IMPORTANCE, rule, near, *bits, out)

    def encode_important(x, importance, out):
        encode_by_grid(x, importance, rule, near, *bits, out)

    def decode(data, out):
        decode_by_grid(data, rule, near, np.float32(share), *bits, out)

    return Kernels(encode, encode_important, decode)
