"""The compiled loops of `quantlib.methods.descent`, equal bit for bit to what is to be read there."""

import numpy as np

from quantlib.formats.kernels.scalar import ONE, ZERO, float_from_half, half_from_float, kernel
from quantlib.numba_runtime.linked_functions import part

TWO = np.float32(2)


@part
def nearest(v, midpoints):
    """The number of the level nearest to v, the lower one of two at the same distance."""
    low, high = 0, len(midpoints)
    while low < high:
        middle = (low + high) >> 1
        if midpoints[middle] < v:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def eliminate(w, upper, group, scale, minimum, levels, midpoints, k, errors):
    """Round a block of columns one by one, each row for itself; see `descent.eliminate_block`."""
    rows, columns = w.shape
    work = np.empty(columns, np.float32)
    for row in range(rows):
        work[:] = w[row]
        for c in range(columns):
            s, m = scale[row, group[c]], minimum[row, group[c]]
            chosen = nearest((work[c] + m) / s, midpoints) if s != ZERO else 0
            error = (work[c] - (s * levels[chosen] - m)) / upper[c, c]
            k[row, c] = chosen
            errors[row, c] = error
            for t in range(c + 1, columns):
                work[t] -= error * upper[c, t]


@part
def half(v):
    return float_from_half(half_from_float(v))


@part
def super_scales(block, h, residual, d, dmin, i, j, k, form, u, v, hu, hv):
    """The super-scales that fit a block's codes best under the Hessian, and what they gain (`Row.fit`)."""
    first = block * form.values
    for c in range(form.values):
        g = (first + c) // form.group
        u[c], v[c] = form.subs[i[g]] * form.levels[k[first + c]], -form.sub_minima[j[g]]
        hu[c], hv[c] = ZERO, ZERO
    for c in range(form.values):
        for t in range(form.values):
            hu[t] += u[c] * h[first + c, first + t]
        if form.minima:
            for t in range(form.values):
                hv[t] += v[c] * h[first + c, first + t]
    aa, ab, bb, ar, br = ZERO, ZERO, ZERO, ZERO, ZERO
    for c in range(form.values):
        aa += u[c] * hu[c]
        ab += v[c] * hu[c]
        bb += v[c] * hv[c]
        ar += u[c] * residual[first + c]
        br += v[c] * residual[first + c]
    spread = aa * bb - ab * ab
    step, step_min = ZERO, ZERO
    if form.minima and spread > np.float32(1e-4) * aa * bb:
        step, step_min = (ar * bb - br * ab) / spread, (br * aa - ar * ab) / spread
    elif aa > ZERO:
        step = ar / aa
    new_d, new_min = half(d[block] + step), half(dmin[block] + step_min)
    step, step_min = new_d - d[block], new_min - dmin[block]
    lost = step * step * aa + TWO * step * step_min * ab + step_min * step_min * bb
    return new_d, new_min, TWO * (step * ar + step_min * br) - lost


@part
def candidate(number, block, g, d, dmin, i, j, form):
    """One of the neighbours of a group's scale and minimum: d, dmin, sub-codes, and whether it can be stored."""
    width = 2 * form.reach + 1
    ds, dm = number // width - form.reach, number % width - form.reach
    new_d, new_min, ti, tj = d[block], dmin[block], i[g] + ds, j[g] + dm
    if len(form.subs) == 1 and form.free:
        ti, tj = i[g] + 0, j[g] + 0
        if ds != 0:
            new_d = half(new_d + new_d * (np.float32(ds) * form.step))
        if dm != 0:
            new_min = half(new_min + d[block] * (np.float32(dm) * form.minimum_step))
    able = 0 <= ti < len(form.subs) and 0 <= tj < len(form.sub_minima) and (form.minima or dm == 0)
    return new_d, new_min, ti, tj, able


@part
def settle(at, s, m, h, residual, now, form, local, trial, move):
    """Round a group once more on a grid, each weight to where the ones before leave it; what that gains."""
    gain, inverse = ZERO, ONE / s
    for c in range(form.group):
        local[c] = residual[at + c]
    for c in range(form.group):
        own = h[at + c, at + c]
        trial[c] = nearest((now[at + c] + local[c] / own + m) * inverse, form.midpoints)
        delta = s * form.levels[trial[c]] - m - now[at + c]
        move[c] = delta
        gain += delta * (TWO * local[c] - delta * own)
        if delta != ZERO:
            for t in range(form.group):
                local[t] -= delta * h[at + c, at + t]
    return gain


@part
def moved(at, count, move, h, residual):
    """Take the moves of some weights off the residual."""
    for c in range(count):
        if move[c] != ZERO:
            for t in range(len(residual)):
                residual[t] -= move[c] * h[at + c, t]


@kernel
def descend(h, r, d, dmin, i, j, k, form, sweeps):
    """Lower the output error of rows, block by block; see `descent.descend_row`."""
    rows, inputs = r.shape
    now, groups = np.empty(inputs, np.float32), form.values // form.group
    u, v, hu, hv, turn = np.empty((5, form.values), np.float32)
    local, move, best_move = np.empty((3, form.group), np.float32)
    trial, best_trial = np.empty((2, form.group), np.int16)
    for row in range(rows):
        residual, rd, rmin, ri, rj, rk = r[row], d[row], dmin[row], i[row], j[row], k[row]
        for c in range(inputs):
            g, block = c // form.group, c // form.values
            now[c] = rd[block] * form.subs[ri[g]] * form.levels[rk[c]] - rmin[block] * form.sub_minima[rj[g]]
        for _ in range(sweeps):
            for block in range(inputs // form.values):
                first = block * form.values
                if form.free:
                    new_d, new_min, gain = super_scales(block, h, residual, rd, rmin, ri, rj, rk, form, u, v, hu, hv)
                    if gain > ZERO:
                        rd[block], rmin[block] = new_d, new_min
                        for c in range(form.values):
                            g = (first + c) // form.group
                            value = (
                                new_d * form.subs[ri[g]] * form.levels[rk[first + c]] - new_min * form.sub_minima[rj[g]]
                            )
                            turn[c] = value - now[first + c]
                            now[first + c] = value
                        moved(first, form.values, turn, h, residual)
                for g in range(block * groups, (block + 1) * groups):
                    at, best, best_number = g * form.group, ZERO, -1
                    for number in range((2 * form.reach + 1) ** 2):
                        new_d, new_min, ti, tj, able = candidate(number, block, g, rd, rmin, ri, rj, form)
                        if not able or new_d * form.subs[ti] == ZERO:
                            continue
                        s, m = new_d * form.subs[ti], new_min * form.sub_minima[tj]
                        gain = settle(at, s, m, h, residual, now, form, local, trial, move)
                        if gain > best:
                            best, best_number = gain, number
                            best_move[:] = move
                            best_trial[:] = trial
                    if best_number >= 0:
                        rd[block], rmin[block], ri[g], rj[g], able = candidate(
                            best_number, block, g, rd, rmin, ri, rj, form
                        )
                        s, m = rd[block] * form.subs[ri[g]], rmin[block] * form.sub_minima[rj[g]]
                        for c in range(form.group):
                            rk[at + c] = best_trial[c]
                            now[at + c] = s * form.levels[best_trial[c]] - m
                        moved(at, form.group, best_move, h, residual)
