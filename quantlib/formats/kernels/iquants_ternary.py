"""Kernels of the smallest i-quants, one for both: IQ1_S, IQ1_M.

Eight groups are searched at once, one in each lane: their running sums lie side by side, and every split is weighed in
all of them.
"""

import numpy as np

from quantlib.formats.blocks.block import Kernels
from quantlib.formats.kernels.bits import pieces, read_code, write_code
from quantlib.formats.kernels.grid_groups import mean_square, weigh
from quantlib.formats.kernels.lanes import NO_IMPORTANCE
from quantlib.formats.kernels.magnitudes import largest_magnitude
from quantlib.formats.kernels.neighbours import nearest_point, neighbours
from quantlib.formats.kernels.scalar import HALF, ONE, ZERO, clamped_int, float_from_half, half_from_float, kernel
from quantlib.formats.rows import read_only
from quantlib.formats.tables.searches import DELTA, DOWN, LEAST_M, LEAST_S, UP
from quantlib.numba_runtime.linked_functions import inlined, part
from quantlib.numba_runtime.vectors import WIDTH, as_floats, flag_bits, load, pick, pick_word, put, select, splat, store

TABLES = np.stack([UP, DOWN])  # (shifts, levels)
LOWEST = np.finfo(np.float32).min
NEVER = np.int32(-1)


@part
def sort_order(x, first, order, to, n):
    """The weights of a group by size, equal ones as they come, in order[to:to + n]."""
    for j in range(n):
        at = to + j
        while at > to and pick(x, first + pick(order, at - 1)) > pick(x, first + j):
            put(order, at, pick(order, at - 1))
            at -= 1
        put(order, at, j)


@part
def running_sums(x, at, apart, order, n, halves, sums):
    """Running sums of weight times x and of weights, of eight groups in order, one in each lane.

    x: the groups from `at` on, their weights so far apart. sums: float32 (4 · (n + 1) · 8,), for each half of a group
    the sums of products, then of weights; without halves everything counts as the first.
    """
    part_of = (n + 1) * WIDTH
    for k in range(WIDTH):
        sort_order(x, at + k * n, order, k * n, n)
        for h in range(4):
            put(sums, h * part_of + k, ZERO)
        for j in range(n):
            i = pick(order, k * n + j)
            w, v = pick(x, at + k * n + i + apart), pick(x, at + k * n + i)
            h = 1 if halves and i >= 8 else 0
            for other in range(4):
                before = other * part_of + j * WIDTH + k
                more = (w if other > 1 else w * v) if other & 1 == h else ZERO
                put(sums, before + WIDTH, pick(sums, before) + more)


@part
def best_splits_s(sums, n, scales):
    """Exact search of the splits of IQ1_S (kernel of `split_scores_s` and `best_split`).

    Fills scales (8,). Gives i · 2¹⁶ + j · 2⁸ + shift of the cuts i, j of each lane, below zero where none is usable.
    """
    best, scale, found = splat(LOWEST), splat(ZERO), splat(NEVER)
    w = 2 * (n + 1) * WIDTH  # where the sums of weights begin
    all_x, all_w = load(sums, n * WIDTH), load(sums, w + n * WIDTH)
    for i in range(n + 1):
        a, wa = load(sums, i * WIDTH), load(sums, w + i * WIDTH)
        for j in range(i, n + 1):
            upto, w_upto = load(sums, j * WIDTH), load(sums, w + j * WIDTH)
            b, c, wb, wc = upto - a, all_x - upto, w_upto - wa, all_w - w_upto
            for s in range(2):
                q0, q1, q2 = pick(TABLES, 3 * s), pick(TABLES, 3 * s + 1), pick(TABLES, 3 * s + 2)
                top = a * q0 + b * q1 + c * q2
                square = wa * q0 * q0 + wb * q1 * q1 + wc * q2 * q2
                better = (square > ZERO) & (top * top > best * square)
                if flag_bits(better):
                    fit = top / square
                    scale = select(better, fit, scale)
                    best = select(better, fit * top, best)
                    found = select(better, splat(np.int32(i << 16 | j << 8 | s)), found)
    store(scales, 0, scale)
    return found


@part
def best_splits_m(sums, n, scales):
    """Exact search of the splits of IQ1_M (kernel of `split_scores_m` and `best_split`); as `best_splits_s`."""
    best, scale, found = splat(LOWEST), splat(ZERO), splat(NEVER)
    h = (n + 1) * WIDTH  # where the sums of the second half begin
    w = 2 * h
    for i in range(n + 1):
        for j in range(i, n + 1):
            taken0 = load(sums, i * WIDTH) + load(sums, j * WIDTH)
            taken1 = load(sums, h + i * WIDTH) + load(sums, h + j * WIDTH)
            for s in range(4):
                top = half_top(load(sums, n * WIDTH), taken0, s >> 1) + half_top(
                    load(sums, h + n * WIDTH), taken1, s & 1
                )
                square = half_square(sums, w, i, j, n, s >> 1) + half_square(sums, w + h, i, j, n, s & 1)
                better = (square > ZERO) & (top * top > best * square)
                if flag_bits(better):
                    fit = top / square
                    scale = select(better, fit, scale)
                    best = select(better, fit * top, best)
                    found = select(better, splat(np.int32(i << 16 | j << 8 | s)), found)
    store(scales, 0, scale)
    return found


@inlined
def half_top(everything, taken, s):
    """Σwxq of half a group with shift s."""
    return everything * pick(TABLES, 3 * s + 2) - taken


@inlined
def half_square(sums, w, i, j, n, s):
    """Σwq² of half a group with shift s, its sums of weights from `w` on."""
    q0, q1, q2 = pick(TABLES, 3 * s), pick(TABLES, 3 * s + 1), pick(TABLES, 3 * s + 2)
    square = load(sums, w + n * WIDTH) * q2 * q2 + load(sums, w + i * WIDTH) * (q0 * q0 - q1 * q1)
    return square + load(sums, w + j * WIDTH) * (q1 * q1 - q2 * q2)


@part
def put_on_grid(x, at, apart, levels, scale, down, near, number, first, last):
    """Grid points first … last − 1 for levels, and the scale refitted (kernel of `blocks.iquants_ternary.put_on_grid`).

    x: their weights from `at` on. levels: from the eighth on; what stands before it is for notes.
    """
    moved = False
    for k in range(last - first):
        place = 0
        for i in range(7, -1, -1):
            place = place * 3 + pick(levels, 8 + 8 * k + i)
        entry = pick(near.entry, place)
        if entry < 0:
            put(number, first + k, -1 - entry)
        else:
            moved = True
            offset = pick(TABLES, 3 * pick(down, first + k))
            where = nearest_point(entry, x, at + 8 * k, apart, scale, offset, near.dim, near.steps)
            put(number, first + k, pick(near.points, where))
    if moved:
        top = ZERO
        square = ZERO
        for k in range(last - first):
            for i in range(8):
                q = pick(TABLES, 3 * pick(down, first + k) + pick(near.levels, pick(number, first + k) * 8 + i))
                w = pick(x, at + apart + 8 * k + i)
                top += w * q * pick(x, at + 8 * k + i)
                square += w * q * q
        if top > ZERO and square > ZERO:
            scale = top / square
    return scale


@part
def search_groups(x, at, apart, n, near, order, sums, levels, scales, number, down, scale, first):
    """Search of eight groups of n (kernel of `blocks.iquants_ternary.search_groups`): groups `first` … of the block.

    Fills number, down (groups · n / 8,) and scale (groups,). The rest is scratch.
    """
    halves = n == 16
    running_sums(x, at, apart, order, n, halves, sums)
    found = best_splits_m(sums, n, scales) if halves else best_splits_s(sums, n, scales)
    store(levels, 0, found)
    eights = n // 8
    for k in range(WIDTH):
        begin, end = (first + k) * eights, (first + k + 1) * eights
        for e in range(begin, end):
            put(number, e, 0)
            put(down, e, 0)
        put(scale, first + k, ZERO)
        cuts = pick(levels, k)
        if cuts < 0 or largest_magnitude(x, at + k * n, n) < (LEAST_M if halves else LEAST_S):
            continue
        d = pick(scales, k)
        shift = cuts & 255
        for j in range(n):
            level = (1 if j >= cuts >> 16 else 0) + (1 if j >= cuts >> 8 & 255 else 0)
            put(levels, 8 + pick(order, k * n + j), 2 - level if d < ZERO else level)
        if d < ZERO:
            d = -d
            shift = (3 if halves else 1) - shift
        for e in range(eights):
            put(down, begin + e, (shift >> (1 - e)) & 1 if halves else shift)
        d = put_on_grid(x, at + k * n, apart, levels, d, down, near, number, begin, end)
        put(scale, first + k, d if d >= ZERO else ZERO)


@part
def fit_everything(x, apart, number, down, sc, near):
    """The super-scale of IQ1_M that fits all grid points and sub-scales best, and whether anything counts."""
    top = ZERO
    square = ZERO
    for k in range(32):
        step = np.float32(2 * pick(sc, k // 2) + 1)
        for i in range(8):
            q = pick(TABLES, 3 * pick(down, k) + pick(near.levels, pick(number, k) * 8 + i)) * step
            w = pick(x, apart + 8 * k + i)
            top += w * q * pick(x, 8 * k + i)
            square += w * q * q
    return top / square, square > ZERO


@kernel
def encode_ternary_grid(x, importance, near, d_bits, q_bits, sc_bits, delta_bits, out):
    """x: float32 (blocks, 256), importance (blocks of a row, 256), without rows where there is none -> out: uint8.

    The four tables are the pieces of the codes of the layout's fields; there are 8 sub-scales in IQ1_S, 16 in IQ1_M.
    """
    groups = sc_bits.shape[0]
    n = 256 // groups
    own = np.empty(512, np.float32)
    order = np.empty(WIDTH * n, np.int32)
    sums = np.empty(4 * (n + 1) * WIDTH, np.float32)
    levels = np.empty(8 + n, np.int32)
    scales = np.empty(WIDTH, np.float32)
    number = np.empty(32, np.int32)
    down = np.empty(32, np.int32)
    sc = np.empty(groups, np.int32)
    scale = np.empty(groups, np.float32)
    for b in range(x.shape[0]):
        power = mean_square(x, 256 * b, np.float32(2))
        place = b % importance.shape[0] * 256 if importance.shape[0] else 0
        for i in range(0, 256, WIDTH):
            v = load(x, 256 * b + i)
            store(own, i, v)
            store(own, 256 + i, weigh(v, importance, place + i, power, ZERO))
        for g in range(0, groups, WIDTH):
            search_groups(own, g * n, 256, n, near, order, sums, levels, scales, number, down, scale, g)
        out[b, :] = 0
        write_block(own, number, down, scale, sc, near, d_bits, q_bits, sc_bits, delta_bits, out, b * out.shape[1])


@part
def write_block(own, number, down, scale, sc, near, d_bits, q_bits, sc_bits, delta_bits, data, to):
    """Round a block's scales and store everything over zeros, from data[to] on."""
    groups = scale.shape[0]
    largest = ZERO
    for g in range(groups):
        largest = max(largest, pick(scale, g))
    for k in range(32):
        write_code(pick(number, k), data, to, q_bits, k)
    if largest == ZERO:
        return
    d = largest / np.float32(15)
    for g in range(groups):
        step = clamped_int(HALF * (ONE / d * pick(scale, g) - ONE), np.int32(0), np.int32(7))
        put(sc, g, step)
        write_code(step, data, to, sc_bits, g)
    for k in range(delta_bits.shape[0]):
        write_code(pick(down, k * 32 // delta_bits.shape[0]), data, to, delta_bits, k)
    if groups == 16:
        fitted, usable = fit_everything(own, 256, number, down, sc, near)
        d = (fitted if usable else d) * np.float32(1.1125)
    else:
        d *= np.float32(1.125)
    write_code(np.int32(half_from_float(d)), data, to, d_bits, 0)


@kernel
def decode_ternary_grid(data, grid_values, d_bits, sc_bits, words, shifts, low, out):
    """data: uint8 (blocks, nbytes) -> out: float32 (blocks, 256).

    words, shifts, low: see `group_words`.
    """
    groups, eights = words.shape[0], shifts.shape[0]
    for b in range(data.shape[0]):
        at = b * data.shape[1]
        d = float_from_half(np.uint32(read_code(data, at, d_bits, 0)))
        for g in range(groups):
            step = d * np.float32(2 * read_code(data, at, sc_bits, g) + 1)
            word = np.int32(pick_word(data, at + pick(words, 2 * g))) >> pick(words, 2 * g + 1)
            for k in range(eights):
                high, delta = word >> pick(shifts, 2 * k) & 7, word >> pick(shifts, 2 * k + 1) & 1
                place = g * eights + k
                point = np.int32(pick(data, at + low + place)) | high << 8
                shift = DELTA * np.float32(1 - 2 * delta)
                store(out, 256 * b + 8 * place, (as_floats(load(grid_values, 8 * point)) + shift) * step)


def group_words(layout) -> tuple[np.ndarray, np.ndarray, int]:
    """Where a group's bits lie: its codes' high bits and its shifts in one word, the codes' low bytes in a row.

    Gives int32 (groups, 2), byte and shift of each word; int32 (codes of a group, 2), in it the shifts of a code's
    high bits and of the bit that turns its eighth; and the byte of the first code.
    """
    q, sc, delta = (layout.field(name).bits for name in ("q", "sc", "delta"))
    groups = len(sc)
    high = q[:, 8].reshape(groups, -1)  # (groups, codes of a group)
    turned = np.repeat(delta[:, 0], len(q) // len(delta)).reshape(groups, -1)
    first = high[:, 0]
    byte = np.minimum(first // 8, layout.nbytes - 4)
    shifts = np.stack([high - first[:, None], turned - first[:, None]], axis=-1)
    assert (shifts == shifts[0]).all(), "the groups of a block are not alike"
    words = np.stack([byte, first - 8 * byte], axis=-1)
    return read_only(words.astype(np.int32)), read_only(shifts[0].astype(np.int32)), int(q[0, 0]) // 8


def ternary_kernels(layout, grid) -> Kernels:
    """The kernels bound to a format's layout and the grid."""
    bits = pieces(layout, "d", "q", "sc", "delta")
    d_bits, sc_bits = bits[0], bits[2]
    near = neighbours(grid, 1, 0)
    grid_values = read_only(grid.values.reshape(-1))
    words = group_words(layout)

    def encode(x, out):
        encode_ternary_grid(x, NO_IMPORTANCE, near, *bits, out)

    def encode_important(x, importance, out):
        encode_ternary_grid(x, importance, near, *bits, out)

    def decode(data, out):
        decode_ternary_grid(data, grid_values, d_bits, sc_bits, *words, out)

    return Kernels(encode, encode_important, decode)
