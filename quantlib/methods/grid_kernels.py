"""The compiled loops of `quantlib.methods.grid_descent`, equal bit for bit to what is to be read there."""

import numpy as np

from quantlib.formats.kernels.scalar import ZERO, kernel
from quantlib.methods.descent_kernels import TWO, half, moved, nearest
from quantlib.numba_runtime.linked_functions import part

EIGHT = 8
MOST = np.float32(np.inf)


@part
def point(v, metric, s, form, sign, value, miss, number):
    """The storable eight weights nearest to v, as the metric counts; see `grid_descent.nearest_eight`."""
    odd, least, weakest = 0, MOST, 0
    for c in range(EIGHT):
        sign[c] = np.float32(-1) if v[c] < ZERO else np.float32(1)
        odd ^= v[c] < ZERO
        cost = metric[c, c] * v[c] * v[c]
        if cost < least:
            least, weakest = cost, c
    if form.even and odd:
        sign[weakest] = -sign[weakest]
    for run in range(EIGHT // form.dim):
        place, step = 0, 1
        for c in range(run * form.dim, (run + 1) * form.dim):
            place += step * nearest(sign[c] * v[c] / s, form.midpoints)
            step *= len(form.magnitudes)
        number[run] = form.near[place, 0]
        for c in range(form.dim):
            at = run * form.dim + c
            value[at] = s * sign[at] * form.points[number[run], c]
            miss[at] = v[at] - value[at]
        number[EIGHT // form.dim + run] = place
    for _ in range(1 if form.dim == EIGHT else 2):
        for run in range(EIGHT // form.dim):
            first, best, chosen = run * form.dim, MOST, number[run]
            place = number[EIGHT // form.dim + run]
            for listed in range(form.near.shape[1]):
                trial = form.near[place, listed]
                for c in range(form.dim):
                    miss[first + c] = v[first + c] - s * sign[first + c] * form.points[trial, c]
                cost = ZERO
                for c in range(EIGHT):
                    row = ZERO
                    for t in range(EIGHT):
                        row += metric[c, t] * miss[t]
                    cost += miss[c] * row
                if cost < best:
                    best, chosen = cost, trial
            number[run] = chosen
            for c in range(form.dim):
                value[first + c] = s * sign[first + c] * form.points[chosen, c]
                miss[first + c] = v[first + c] - value[first + c]


@part
def keep(at, number, sign, form, q, minus):
    """Store the point of eight weights in a row's numbers and signs."""
    for run in range(EIGHT // form.dim):
        q[at // form.dim + run] = number[run]
    byte = 0
    for c in range(7 if form.even else EIGHT):
        byte |= (sign[c] < ZERO) << c
    minus[at // EIGHT] = byte


@kernel
def eliminate(w, upper, place, metric, scale, form, q, minus, errors):
    """Round a block of columns, eight by eight, each row for itself; see `grid_descent.eliminate_block`."""
    rows, columns = w.shape
    work = np.empty(columns, np.float32)
    sign, value, miss = np.empty((3, EIGHT), np.float32)
    number = np.empty(EIGHT, np.int64)
    for row in range(rows):
        work[:] = w[row]
        for unit in range(columns // EIGHT):
            first, at = unit * EIGHT, place[unit] * EIGHT
            s = scale[row, at // form.group]
            if s > ZERO:
                point(work[first : first + EIGHT], metric[unit], s, form, sign, value, miss, number)
                keep(at, number, sign, form, q[row], minus[row])
            else:
                value[:] = ZERO
            for c in range(first, first + EIGHT):
                error = (work[c] - value[c - first]) / upper[c, c]
                errors[row, c] = error
                for t in range(c + 1, columns):
                    work[t] -= error * upper[c, t]


@part
def settle(at, s, h, inverse, residual, now, form, local, move, signs, numbers, v, sign, value, miss, number):
    """Choose the points of a group anew on a scale, each eight where the ones before leave them; what that gains."""
    gain = ZERO
    for c in range(form.group):
        local[c] = residual[at + c]
    for first in range(0, form.group, EIGHT):
        start = at + first
        metric = h[start : start + EIGHT, start : start + EIGHT]
        for c in range(EIGHT):
            aim = ZERO
            for t in range(EIGHT):
                aim += inverse[start // EIGHT, c, t] * local[first + t]
            v[c] = now[start + c] + aim
        point(v, metric, s, form, sign, value, miss, number)
        for c in range(EIGHT):
            signs[first + c] = sign[c]
            numbers[first + c] = number[c]
            delta = value[c] - now[start + c]
            move[first + c] = delta
            gain += delta * (TWO * local[first + c] - delta * h[start + c, start + c])
            if delta != ZERO:
                for t in range(form.group):
                    local[t] -= delta * h[start + c, at + t]
    return gain


@part
def fitted(first, h, residual, d, now, form, u, hu):
    """The d that fits a block's points best, and what it gains; see `grid_descent.GridRow.fit`."""
    for c in range(form.values):
        u[c], hu[c] = now[first + c] / d, ZERO
    for c in range(form.values):
        for t in range(form.values):
            hu[t] += u[c] * h[first + c, first + t]
    squares, product = ZERO, ZERO
    for c in range(form.values):
        squares += u[c] * hu[c]
        product += u[c] * residual[first + c]
    new_d = half(d + product / squares) if squares > ZERO else d
    step = new_d - d
    return new_d, step * (TWO * product - step * squares) if new_d > ZERO else ZERO


@kernel
def descend(h, inverse, r, d, i, q, minus, now, form, sweeps):
    """Lower the output error of rows, block by block; see `grid_descent.descend_rows`."""
    groups = form.values // form.group
    u, hu, turn = np.empty((3, form.values), np.float32)
    local, move, best_move, signs, best_signs = np.empty((5, form.group), np.float32)
    numbers, best_numbers = np.empty((2, form.group), np.int64)
    v, sign, value, miss = np.empty((4, EIGHT), np.float32)
    number = np.empty(EIGHT, np.int64)
    for row in range(r.shape[0]):
        residual, own = r[row], now[row]
        for _ in range(sweeps):
            for block in range(r.shape[1] // form.values):
                first = block * form.values
                if d[row, block] <= ZERO:
                    continue
                new_d, gain = fitted(first, h, residual, d[row, block], own, form, u, hu)
                if gain > ZERO:
                    d[row, block] = new_d
                    for c in range(form.values):
                        fresh = new_d * u[c]
                        turn[c] = fresh - own[first + c]
                        own[first + c] = fresh
                    moved(first, form.values, turn, h, residual)
                for g in range(block * groups, (block + 1) * groups):
                    at, best, best_sub = g * form.group, ZERO, -1
                    for sub in range(max(0, i[row, g] - form.reach), min(len(form.subs), i[row, g] + form.reach + 1)):
                        s = d[row, block] * form.subs[sub]
                        gain = settle(
                            at,
                            s,
                            h,
                            inverse,
                            residual,
                            own,
                            form,
                            local,
                            move,
                            signs,
                            numbers,
                            v,
                            sign,
                            value,
                            miss,
                            number,
                        )
                        if gain > best:
                            best, best_sub = gain, sub
                            best_move[:], best_signs[:], best_numbers[:] = move, signs, numbers
                    if best_sub >= 0:
                        i[row, g] = best_sub
                        for eight in range(0, form.group, EIGHT):
                            part_of = slice(eight, eight + EIGHT)
                            keep(at + eight, best_numbers[part_of], best_signs[part_of], form, q[row], minus[row])
                        for c in range(form.group):
                            own[at + c] += best_move[c]
                        moved(at, form.group, best_move, h, residual)
