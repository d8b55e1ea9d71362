"""Better codes in super-blocks: the kernel of `blocks.best_super`, where the search is explained."""

import numpy as np

from quantlib.formats.kernels.best import (
    Grid,
    clamp,
    codes_from,
    error_of,
    error_with,
    half,
    keep_levels,
    levels_from,
    sums_of,
    totals,
    turned,
    whole,
)
from quantlib.formats.kernels.scalar import ONE, ZERO, kernel
from quantlib.formats.tables.searches import BESIDE
from quantlib.numba_runtime.linked_functions import part
from quantlib.numba_runtime.vectors import WIDTH, load, root, select, splat, store


@part
def block_error(error):
    """The sum of the groups' errors."""
    total = error[0]
    for g in range(1, error.shape[0]):
        total += error[g]
    return total


@part
def measure(x, weights, d, dmin, sc, mn, error, grid):
    """The error of each group with the nearest levels (`_stored`)."""
    for g in range(0, grid.groups, WIDTH):
        store(error, g, error_of(x, weights, g, load(sc, g) * d, load(mn, g) * dmin, grid))


@part
def around(x, weights, d, dmin, sc, mn, error, grid, low, top, reach, steps, mirrored):
    """For each group the best of the sub-codes around its own (`_around`)."""
    for g in range(0, grid.groups, WIDTH):
        first_sc, first_mn = load(sc, g), load(mn, g)
        best_sc, best_mn, best = first_sc, first_mn, load(error, g)
        for ds in range(-reach, reach + 1):
            for dm in range(-steps, steps + 1):
                m = clamp(first_mn + np.float32(dm), 0, top)
                for side in range(ds == 0 and dm == 0, 2 if mirrored else 1):  # without its own, which is measured
                    s = clamp((first_sc + np.float32(ds)) * np.float32(1 - 2 * side), low, top)
                    trial = error_of(x, weights, g, s * d, m * dmin, grid)
                    better = trial < best
                    best = select(better, trial, best)
                    best_sc, best_mn = select(better, s, best_sc), select(better, m, best_mn)
        store(sc, g, best_sc)
        store(mn, g, best_mn)
        store(error, g, best)


@part
def fit(x, weights, d, dmin, sc, mn, error, grid, low, top, minima):
    """For each group the sub-codes nearest to what fits its levels best, if they are better (`_fitted`)."""
    for g in range(0, grid.groups, WIDTH):
        old_sc, old_mn, old = load(sc, g), load(mn, g), load(error, g)
        v, vv, vx = sums_of(x, weights, g, old_sc * d, old_mn * dmin, grid)
        per_d = ONE / d
        if minima:
            w, wx = totals(x, weights, g, grid)
            s = clamp(whole((w * vx - wx * v) / (w * vv - v * v) * per_d), low, top)
            m = clamp(whole(((s * d) * v - wx) / w * (ONE / dmin)), 0, top)
        else:
            s, m = clamp(whole(vx / vv * per_d), low, top), old_mn
        trial = error_of(x, weights, g, s * d, m * dmin, grid)
        better = trial < old
        store(sc, g, select(better, s, old_sc))
        store(mn, g, select(better, m, old_mn))
        store(error, g, select(better, trial, old))


@part
def refitted(x, weights, d, dmin, sc, mn, room, grid, minima):
    """The super-scales that fit all levels best, as they are stored (`_refitted`). room: float32 (40,)."""
    aa, ab, bb, ax, bx = 0.0, 0.0, 0.0, 0.0, 0.0
    for g in range(0, grid.groups, WIDTH):
        sums = sums_of(x, weights, g, load(sc, g) * d, load(mn, g) * dmin, grid)
        store(room, 0, sums[0])
        store(room, WIDTH, sums[1])
        store(room, 2 * WIDTH, sums[2])
        for k in range(WIDTH):
            s = np.float64(sc[g + k])
            aa += s * s * np.float64(room[WIDTH + k])
            ax += s * np.float64(room[2 * WIDTH + k])
        if not minima:
            continue
        both = totals(x, weights, g, grid)
        store(room, 3 * WIDTH, both[0])
        store(room, 4 * WIDTH, both[1])
        for k in range(WIDTH):
            s, m = np.float64(sc[g + k]), np.float64(mn[g + k])
            ab += s * m * np.float64(room[k])
            bb += m * m * np.float64(room[3 * WIDTH + k])
            bx += m * np.float64(room[4 * WIDTH + k])
    ab, bx = -ab, -bx
    spread = aa * bb - ab * ab
    if spread > 1e-9 * aa * bb:
        new_d, new_dmin = (ax * bb - bx * ab) / spread, (bx * aa - ax * ab) / spread
    else:
        new_d, new_dmin = (ax - ab * np.float64(dmin)) / aa, np.float64(dmin)
    return half(np.float32(new_d)), half(np.float32(new_dmin))


@part
def emphasize(x, weights, room, grid):
    """Let large weights count more (`SuperBlock.counted`). room: float32 (8,) and more."""
    power = ZERO
    for g in range(0, grid.groups, WIDTH):
        squares = splat(ZERO)
        for at in range(g, g + grid.n * grid.groups, grid.groups):
            squares = squares + load(x, at) * load(x, at)
        store(room, 0, squares)
        for k in range(WIDTH):
            power += room[k]
    power /= np.float32(grid.n * grid.groups)
    for at in range(0, grid.n * grid.groups, WIDTH):
        v = load(x, at)
        store(weights, at, load(weights, at) * root(v * v + power))


@kernel
def improve(x, weights, d, dmin, sc, mn, q, grid, low, top, minima, reach, steps, mirrored, emphasis):
    """x, weights: float32 (blocks · 256,). d, dmin: float32 (blocks,), as stored; sc, mn: float32 (blocks, groups); q:
    uint8 (blocks · 256,): ggml's choice, replaced in blocks where there is a better one. low, top: of sub-scales.
    """
    groups, n = grid.groups, grid.n
    columns, weighing, level, stored = np.empty((4, 256), np.float32)
    error, other, try_sc, try_mn = np.empty((4, groups), np.float32)
    room = np.empty(5 * WIDTH, np.float32)
    for b in range(d.shape[0]):
        turned(x, 256 * b, columns, groups, n)
        turned(weights, 256 * b, weighing, groups, n)
        levels_from(q, 256 * b, stored, 256, grid)
        turned(stored, 0, level, groups, n)
        if emphasis:
            emphasize(columns, weighing, room, grid)
        for g in range(0, groups, WIDTH):
            scale, minimum = load(sc[b], g) * d[b], load(mn[b], g) * dmin[b]
            store(error, g, error_with(columns, weighing, level, g, scale, minimum, grid))
        given = block_error(error)

        block_d, block_dmin = d[b], dmin[b]
        try_sc[:], try_mn[:] = sc[b], mn[b]
        measure(columns, weighing, block_d, block_dmin, try_sc, try_mn, error, grid)
        around(columns, weighing, block_d, block_dmin, try_sc, try_mn, error, grid, low, top, reach, steps, mirrored)
        fit(columns, weighing, block_d, block_dmin, try_sc, try_mn, error, grid, low, top, minima)
        new_d, new_dmin = refitted(columns, weighing, block_d, block_dmin, try_sc, try_mn, room, grid, minima)
        measure(columns, weighing, new_d, new_dmin, try_sc, try_mn, other, grid)
        if block_error(other) < block_error(error):
            block_d, block_dmin = new_d, new_dmin
            error[:] = other
        beside = BESIDE if minima else 0
        around(columns, weighing, block_d, block_dmin, try_sc, try_mn, error, grid, low, top, BESIDE, beside, False)

        if block_error(error) < given:
            d[b], dmin[b] = block_d, block_dmin
            sc[b], mn[b] = try_sc, try_mn
            for g in range(0, groups, WIDTH):
                keep_levels(columns, g, load(try_sc, g) * block_d, load(try_mn, g) * block_dmin, grid, level)
            turned(level, 0, stored, n, groups)
            codes_from(stored, 0, q, 256 * b, 256, grid)


def improve_codes(x, weights, codes, weighed, form) -> dict[str, np.ndarray]:
    """`blocks.best_super.improve` by the kernel."""
    d = codes["d"].astype(np.float32)[:, 0]
    sc = codes["sc"].astype(np.float32) - np.float32(form.sub_zero)
    dmin = codes["dmin"].astype(np.float32)[:, 0] if form.minima else np.zeros_like(d)
    mn = codes["mn"].astype(np.float32) if form.minima else np.zeros_like(sc)
    q = codes["q"].astype(np.uint8)
    grid = Grid(256 // form.groups, form.groups, *form.levels)
    reach = form.weighed if weighed else form.plain
    steps = reach.minima if form.minima else 0
    improve(
        x.reshape(-1), weights.reshape(-1), d, dmin, sc, mn, q.reshape(-1), grid, form.sub_low, form.sub_top,
        form.minima, reach.scales, steps, reach.mirrored, form.emphasis,
    )  # fmt: skip
    better = {"d": d[:, None], "sc": sc + np.float32(form.sub_zero), "q": q}
    better |= {"dmin": dmin[:, None], "mn": mn} if form.minima else {}
    return {name: code.astype(codes[name].dtype) for name, code in better.items()}
