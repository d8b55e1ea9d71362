"""Better codes in blocks with one scale: the kernel of `blocks.best_scale`, where the search is explained."""

import numpy as np

from quantlib.formats.kernels.best import (
    Grid,
    codes_from,
    error_of,
    error_with,
    halves,
    keep_levels,
    levels_from,
    sums_of,
    totals,
    turned,
)
from quantlib.formats.kernels.scalar import ONE, kernel
from quantlib.formats.tables.searches import FITS, MINIMUM_STEP
from quantlib.numba_runtime.linked_functions import inlined
from quantlib.numba_runtime.vectors import WIDTH, load, pick, put, select, splat, store

INFINITE = np.float32(np.inf)


@inlined
def around(x, weights, first, lowest, grid, per_step, reach, steps, mirrored):
    """The best of the scales and minima around those of eight blocks (`_around`)."""
    scale, minimum, error = first, lowest, splat(INFINITE)
    for ds in range(-reach, reach + 1):
        for dm in range(-steps, steps + 1):
            low = lowest + first * (np.float32(dm) * MINIMUM_STEP)
            for side in range(2 if mirrored else 1):
                trial = first * (ONE + np.float32(ds) * per_step) * np.float32(1 - 2 * side)
                trial_error = error_of(x, weights, 0, trial, low, grid)
                better = trial_error < error
                error = select(better, trial_error, error)
                scale, minimum = select(better, trial, scale), select(better, low, minimum)
    return scale, minimum


@inlined
def fitted(x, weights, scale, minimum, grid, minima, room):
    """The scales and minima that fit the levels best, as they are stored (`_fitted`)."""
    v, vv, vx = sums_of(x, weights, 0, scale, minimum, grid)
    if minima:
        w, wx = totals(x, weights, 0, grid)
        scale = (w * vx - wx * v) / (w * vv - v * v)
        minimum = halves((scale * v - wx) / w, room)
    else:
        scale = vx / vv
    return halves(scale, room), minimum


@inlined
def take(source, block, count, n, room, columns):
    """Lay eight blocks side by side, or the last ones and what lies in their room."""
    if count == WIDTH:
        turned(source, block * n, columns, WIDTH, n)
        return
    for i in range(count * n):
        put(room, i, pick(source, block * n + i))
    turned(room, 0, columns, WIDTH, n)


@kernel
def improve(x, weights, d, m, q, grid, per_step, minima, reach, steps, mirrored):
    """x, weights: float32 (blocks · n,). d, m: float32 (blocks,), as stored, m being the minimum that is subtracted; q:
    uint8 (blocks · n,): ggml's choice, replaced in blocks where there is a better one.
    """
    n = grid.n
    columns, weighing, level, stored = np.zeros((4, n * WIDTH), np.float32)
    first, lowest, errors, room = np.zeros((4, WIDTH), np.float32)
    for start in range(0, d.shape[0], WIDTH):
        count = min(WIDTH, d.shape[0] - start)
        for k in range(count):
            first[k], lowest[k] = d[start + k], m[start + k]
        take(x, start, count, n, stored, columns)
        take(weights, start, count, n, stored, weighing)
        levels_from(q, start * n, stored, count * n, grid)
        turned(stored, 0, level, WIDTH, n)
        given = error_with(columns, weighing, level, 0, load(first, 0), load(lowest, 0), grid)

        scale, minimum = around(
            columns, weighing, load(first, 0), load(lowest, 0), grid, per_step, reach, steps, mirrored
        )
        scale, minimum = halves(scale, room), halves(minimum, room)
        error = error_of(columns, weighing, 0, scale, minimum, grid)
        for _ in range(FITS):
            trial, low = fitted(columns, weighing, scale, minimum, grid, minima, room)
            trial_error = error_of(columns, weighing, 0, trial, low, grid)
            better = trial_error < error
            error = select(better, trial_error, error)
            scale, minimum = select(better, trial, scale), select(better, low, minimum)

        keep_levels(columns, 0, scale, minimum, grid, level)
        store(first, 0, scale)
        store(lowest, 0, minimum)
        store(errors, 0, error)
        store(room, 0, given)
        turned(level, 0, stored, n, WIDTH)
        for k in range(count):
            b = start + k
            if errors[k] < room[k]:
                d[b], m[b] = first[k], lowest[k]
                codes_from(stored, k * n, q, b * n, n, grid)


def improve_codes(x, weights, codes, weighed, form) -> dict[str, np.ndarray]:
    """`blocks.best_scale.improve` by the kernel."""
    d = codes["d"].astype(np.float32)[:, 0]
    m = -codes["m"].astype(np.float32)[:, 0] if form.minima else np.zeros_like(d)
    q = codes["q"].astype(np.uint8)
    grid = Grid(x.shape[1], WIDTH, *form.levels)
    reach = form.weighed if weighed else form.plain
    steps = reach.minima if form.minima else 0
    improve(
        x.reshape(-1), weights.reshape(-1), d, m, q.reshape(-1), grid, ONE / np.float32(form.steps), form.minima,
        reach.scales, steps, reach.mirrored,
    )  # fmt: skip
    better = {"d": d[:, None], "q": q} | ({"m": -m[:, None]} if form.minima else {})
    return {name: code.astype(codes[name].dtype) for name, code in better.items()}
