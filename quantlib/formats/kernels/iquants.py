"""Kernels of the i-quants with signs, one for all five: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

Eight groups are searched at once, one in each lane: rounding, the fit of a scale and the choice of a candidate are the
same steps in every group. Only where rounding misses the grid a lane is looked after alone, and there eight grid points
near by are weighed at once.
"""

import numpy as np

from quantlib.formats.blocks.block import Kernels
from quantlib.formats.blocks.iquants_search import ALL, OFF_GRID
from quantlib.formats.kernels.bits import pieces, read_code, write_code
from quantlib.formats.kernels.grid_groups import PARITY, take_groups
from quantlib.formats.kernels.lanes import NO_IMPORTANCE
from quantlib.formats.kernels.magnitudes import SIGN, nearest_ints
from quantlib.formats.kernels.neighbours import nearest_point, neighbours
from quantlib.formats.kernels.scalar import HALF, NONE, ONE, ZERO, clamped_int, kernel, read_half, write_half
from quantlib.formats.kernels.super_scales import positive_scale
from quantlib.formats.rows import read_only
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import (
    WIDTH,
    as_floats,
    bits_of,
    flag_bits,
    floats_of,
    lanes,
    larger,
    load,
    pick,
    put,
    select,
    smaller,
    splat,
    store,
)

ON_GRID = np.int32(1 << 24)  # added to the number of a point that rounding alone has found
UNSET = np.int32(1 << 25)  # no point yet


@part
def snap(inverse, scale, own, lane, found, near):
    """Round magnitudes to grid points (kernel of `blocks.iquants_search.snap`).

    lane gets the magnitudes of the points, from 3 · 8n on. found: int32 (5 · 8 · points,): for each point and lane its
    place, then the point itself: with ON_GRID added to its number where its place is on the grid, elsewhere where it
    stands in near.points. The fourth part says which points are asked for; the last is for notes.
    """
    entries, steps = near.entry, near.steps
    size, count = lane.shape[0] // 4, found.shape[0] // 5
    step = near.dim * WIDTH
    top, base = np.int32(near.base - 1), np.int32(near.base)
    for p in range(0, size, step):
        place = splat(NONE)
        for i in range(p + step - WIDTH, p - WIDTH, -WIDTH):
            level = nearest_ints((inverse * load(lane, i) - ONE) * HALF)
            level = smaller(larger(level, NONE), top)
            place = place * base + level
            store(lane, 3 * size + i, as_floats(level + level + 1))
        store(found, p // near.dim, place)
    store(own, 3 * size, scale)
    off = 0
    for at in range(count):
        entry = pick(entries, pick(found, at))
        on = entry < 0
        put(found, count + at, np.int32(ON_GRID - 1 - entry) if on else entry)
        put(found, 4 * count + off, np.int32(at))
        off += pick(found, 3 * count + at) & np.int64(not on)
    for note in range(off):
        search_point(pick(found, 4 * count + note), near.dim, own, lane, found, steps)


@inlined
def search_point(at, dim, own, lane, found, steps):
    """Find point `at` of found, whose place is off the grid."""
    size, count = lane.shape[0] // 4, found.shape[0] // 5
    p, k = at // WIDTH, at % WIDTH
    start = k * (size // WIDTH) + p * dim
    where = nearest_point(pick(found, count + at), own, start, 2 * size, pick(own, 3 * size + k), ZERO, dim, steps)
    put(found, count + at, np.int32(where))
    for i in range(dim):
        q = pick(steps, ((where // WIDTH) * dim + i) * WIDTH + where % WIDTH)
        put(lane, 3 * size + (p * dim + i) * WIDTH + k, np.float32(q))


@inlined
def fit(lane):
    """Σwxq and Σwq² of each lane (kernel of `blocks.iquants_search.fit`)."""
    size = lane.shape[0] // 4
    sum_xq = splat(ZERO)
    sum_q2 = splat(ZERO)
    for i in range(0, size, WIDTH):
        q = load(lane, 3 * size + i)
        sum_xq = sum_xq + load(lane, 2 * size + i) * q
        sum_q2 = sum_q2 + load(lane, size + i) * q * q
    return sum_xq, sum_q2


@part
def grid_scales(rule, near, own, lane, found, signs, to, scales, start):
    """Search of eight groups (kernel of `blocks.iquants_search.grid_scale`), as `take_groups` left them.

    Fills scales[start:start + 8], turns signs from `to` on. found gets the winner's points, from 2 · 8 · points on (see
    `snap`). Gives flags of the groups that are more than zeros, as bits.
    """
    top = np.float32(2 * near.base - 1)
    size, count = lane.shape[0] // 4, found.shape[0] // 5
    span = load(lane, 0)
    for i in range(WIDTH, size, WIDTH):
        v = load(lane, i)
        span = select(v > span, v, span)
    alive = span >= rule.least
    scale = span / top
    if rule.fitted:
        magnitudes, weights, products = lane[:size], lane[size : 2 * size], lane[2 * size : 3 * size]
        scale = positive_scale(magnitudes, weights, products, lane[3 * size :], near.base + 1)
        span = scale * np.float32(near.base)
        alive = alive & (span > ZERO)
    for at in range(2 * count, 3 * count, WIDTH):
        store(found, at, splat(ON_GRID if rule.again == OFF_GRID else UNSET))  # point 0 to begin with
        store(found, at + count, select(alive, splat(np.int32(1)), NONE))
    best = splat(ZERO)
    if flag_bits(alive):
        for s in range(-rule.reach, rule.reach + 1):
            inverse = splat(top + np.float32(s) * rule.step) / span
            snap(inverse, splat(ONE) / inverse, own, lane, found, near)
            sum_xq, sum_q2 = fit(lane)
            better = alive & (sum_q2 > ZERO) & (sum_xq * sum_xq > best * sum_q2)
            if flag_bits(better):
                trial = sum_xq / sum_q2
                scale = select(better, trial, scale)
                best = select(better, trial * sum_xq, best)
                for at in range(count, 2 * count, WIDTH):
                    store(found, at + count, select(better, load(found, at), load(found, at + count)))
    scale = settle(scale, alive & (scale > ZERO), rule, near, own, lane, found)
    turned = flag_bits(alive & (scale < ZERO))
    for i in range(size // 8 if turned else 0):
        if turned >> (8 * i // (size // WIDTH)) & 1:
            put(signs, to + i, ~pick(signs, to + i) & (127 if rule.even else 255))
    scale = select(scale < ZERO, scale * -ONE, scale)
    store(scales, start, select(alive & (scale >= ZERO), scale, ZERO))
    return np.int64(flag_bits(alive))


@part
def number_of(found, points):
    """The number of a grid point that `snap` found."""
    if found & UNSET:
        return NONE
    return found & ~ON_GRID if found & ON_GRID else pick(points, found)


@part
def settle(scale, usable, rule, near, own, lane, found):
    """Choose once more, for the final scale, the points that the rule wants; gives the scales then."""
    size, count = lane.shape[0] // 4, found.shape[0] // 5
    open_ = 0  # lanes with a point whose place was off the grid
    for at in range(2 * count, 3 * count, WIDTH):
        open_ |= flag_bits((load(found, at) & ON_GRID) == NONE)
    asked = flag_bits(usable) & (255 if rule.again == ALL else open_)
    if not asked:
        return scale
    for at in range(count):
        wanted = rule.again != OFF_GRID or not pick(found, 2 * count + at) & ON_GRID
        put(found, 3 * count + at, asked >> (at % WIDTH) & np.int32(wanted))
    snap(splat(ONE) / scale, scale, own, lane, found, near)
    for at in range(count):
        if pick(found, 3 * count + at):
            put(found, 2 * count + at, pick(found, count + at))
        elif asked >> (at % WIDTH) & 1:
            point = number_of(pick(found, 2 * count + at), near.points)
            for i in range(near.dim):
                q = 2 * np.int32(pick(near.levels, point * near.dim + i)) + 1
                put(lane, 3 * size + (at // WIDTH * near.dim + i) * WIDTH + at % WIDTH, np.float32(q))
    sum_xq, sum_q2 = fit(lane)
    changed = ((splat(np.int32(asked)) >> lanes(0, 1) & 1) == 1) & (sum_q2 > ZERO)
    return select(changed, sum_xq / sum_q2, scale)


@kernel
def encode_by_grid(x, importance, rule, near, q_bits, sign_bits, sc_bits, out):
    """x: float32 (blocks, 256), importance (blocks of a row, 256), without rows where there is none -> out: uint8.

    The last tables are the pieces of the codes of the layout's fields.
    """
    n = rule.group
    groups, points, eights = 256 // n, n // near.dim, n // 8
    own = np.empty(3 * WIDTH * n + WIDTH, np.float32)
    lane = np.empty(4 * WIDTH * n, np.float32)
    found = np.empty(5 * WIDTH * points, np.int32)
    number = np.empty(groups * points, np.int32)
    signs = np.empty(groups * eights, np.int32)
    scale = np.empty(groups, np.float32)
    for b in range(x.shape[0]):
        used = np.int64(0)
        place = b % importance.shape[0] * 256 if importance.shape[0] else 0
        for g in range(0, groups, WIDTH):
            take_groups(x, 256 * b + g * n, importance, place + g * n, rule, own, lane, signs, g * eights)
            used |= grid_scales(rule, near, own, lane, found, signs, g * eights, scale, g) << g
            for k in range(WIDTH):
                for p in range(points):
                    point = number_of(pick(found, (2 * points + p) * WIDTH + k), near.points)
                    put(number, (g + k) * points + p, point)
        out[b, :] = 0
        write_block(number, signs, scale, used, rule, q_bits, sign_bits, sc_bits, out, b * out.shape[1])


@part
def write_block(number, signs, scale, used, rule, q_bits, sign_bits, sc_bits, data, to):
    """Store a block's grid points (groups · points,), signs (32,) and scales (groups,) over zeros, from data[to] on."""
    groups = scale.shape[0]
    points, eights = number.shape[0] // groups, signs.shape[0] // groups
    largest = ZERO
    for g in range(groups):
        largest = max(largest, pick(scale, g))
    if largest == ZERO and rule.clears:
        return
    place = 0
    for g in range(groups):
        zeros = not used >> g & 1
        if rule.slips and zeros:  # see `blocks.iquants.slip`
            continue
        for k in range(points if not zeros else 0):
            code = pick(number, g * points + k)
            write_code(code & (-1 if place == g else 255), data, to, q_bits, place * points + k)
            if place != g:
                write_code(code & ~255, data, to, q_bits, g * points + k)
        for k in range(eights if not zeros else 0):
            write_code(pick(signs, g * eights + k), data, to, sign_bits, place * eights + k)
        place += 1
    if largest == ZERO:
        return
    d = largest / np.float32(31)
    write_half(d * rule.fudge, data, to)
    for g in range(groups):
        sc = clamped_int(HALF * (ONE / d * pick(scale, g) - ONE), np.int32(0), np.int32(15))
        write_code(sc, data, to, sc_bits, g)


@kernel
def decode_by_grid(data, rule, dim, grid_values, share, q_bits, sign_bits, sc_bits, out):
    """data: uint8 (blocks, nbytes) -> out: float32 (blocks, 256)."""
    eight = np.empty(8, np.int8)
    words, at_once = grid_values.view(np.uint32), eight.view(np.int64)
    groups, eights = 256 // rule.group, rule.group // 8
    for b in range(data.shape[0]):
        at = b * data.shape[1]
        d = read_half(data, at)
        for g in range(groups):
            step = d * (np.float32(read_code(data, at, sc_bits, g)) + HALF) * share
            for k in range(g * eights, (g + 1) * eights):
                if dim == 8:
                    signless = as_floats(load(grid_values, 8 * read_code(data, at, q_bits, k)))
                else:
                    four = np.int64(pick(words, read_code(data, at, q_bits, 2 * k)))
                    more = np.int64(pick(words, read_code(data, at, q_bits, 2 * k + 1)))
                    put(at_once, 0, four | more << 32)
                    signless = as_floats(load(eight, 0))
                minus = read_code(data, at, sign_bits, k)
                if rule.even:
                    minus |= np.int64(pick(PARITY, minus)) << 7
                value = bits_of(signless * step)
                store(out, 256 * b + 8 * k, floats_of(value ^ ((splat(np.int32(minus)) << lanes(31, -1)) & SIGN)))


def grid_kernels(rule, grid, share: float, layout) -> Kernels:
    """The kernels bound to a format's rule, grid and layout."""
    bits = pieces(layout, "q", "sign", "sc")
    near = neighbours(grid, 2, 1)
    grid_values = read_only(grid.values.reshape(-1))

    def encode(x, out):
        encode_by_grid(x, NO_IMPORTANCE, rule, near, *bits, out)

    def encode_important(x, importance, out):
        encode_by_grid(x, importance, rule, near, *bits, out)

    def decode(data, out):
        decode_by_grid(data, rule, grid.dim, grid_values, np.float32(share), *bits, out)

    return Kernels(encode, encode_important, decode)
