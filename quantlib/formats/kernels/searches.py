"""The scale searches over LANES groups at once: the kernels of `blocks.search`, where their ideas are explained."""

import numpy as np

from quantlib.formats.kernels.scalar import LANES, LEAST, ONE, ZERO, clamped_int, nearest_int, part

NONE = np.int32(0)
TENTH = np.float32(0.1)
NAN = np.float32(np.nan)


@part
def scale_and_minimum(x, w, levels, first, step, steps, absolute, scale, minimum, inverse, low):
    """Search of d and m for LANES groups (kernel of `blocks.search.scale_and_minimum`).

    absolute: an error counts |miss|, not its square. x, w: (n, LANES). Results (LANES,): scale, minimum, and the
    inverse scale and low end that made the winner's codes.
    """
    n = x.shape[0]
    high = np.empty(LANES, np.float32)
    bottom = np.empty(LANES, np.float32)  # the low end now; it moves when a candidate wins
    sum_w = np.empty(LANES, np.float32)
    sum_x = np.empty(LANES, np.float32)
    sum_l = np.empty(LANES, np.float32)
    sum_l2 = np.empty(LANES, np.float32)
    sum_xl = np.empty(LANES, np.float32)
    trial = np.empty(LANES, np.float32)
    trial_scale = np.empty(LANES, np.float32)
    trial_low = np.empty(LANES, np.float32)
    error = np.empty(LANES, np.float32)
    best = np.empty(LANES, np.float32)
    usable = np.empty(LANES, np.bool_)
    flat = np.empty(LANES, np.bool_)
    top = np.int32(levels)
    flevels = np.float32(levels)
    for k in range(LANES):
        bottom[k] = x[0, k]
        high[k] = x[0, k]
        sum_w[k] = w[0, k]
        sum_x[k] = w[0, k] * x[0, k]
    for i in range(1, n):
        for k in range(LANES):
            v = x[i, k]
            bottom[k] = v if v < bottom[k] else bottom[k]
            high[k] = v if v > high[k] else high[k]
            sum_w[k] += w[i, k]
            sum_x[k] += w[i, k] * v
    for k in range(LANES):
        bottom[k] = ZERO if bottom[k] > ZERO else bottom[k]
        low[k] = bottom[k]
        flat[k] = high[k] == bottom[k]
        inverse[k] = flevels / (high[k] - bottom[k])
        scale[k] = ONE / inverse[k]
        best[k] = ZERO
    for i in range(n):
        for k in range(LANES):
            v = x[i, k]
            code = np.float32(clamped_int(inverse[k] * (v - bottom[k]), NONE, top))
            miss = scale[k] * code + bottom[k] - v
            best[k] += w[i, k] * (abs(miss) if absolute else miss * miss)
    for s in range(steps + 1):
        reach = first + step * np.float32(s) + flevels
        for k in range(LANES):
            trial[k] = reach / (high[k] - bottom[k])
            sum_l[k] = ZERO
            sum_l2[k] = ZERO
            sum_xl[k] = ZERO
            error[k] = ZERO
        for i in range(n):
            for k in range(LANES):
                v = x[i, k]
                code = np.float32(clamped_int(trial[k] * (v - bottom[k]), NONE, top))
                wl = w[i, k] * code
                sum_l[k] += wl
                sum_l2[k] += wl * code
                sum_xl[k] += wl * v
        for k in range(LANES):
            spread = sum_w[k] * sum_l2[k] - sum_l[k] * sum_l[k]
            slope = (sum_w[k] * sum_xl[k] - sum_x[k] * sum_l[k]) / spread
            start = (sum_l2[k] * sum_x[k] - sum_l[k] * sum_xl[k]) / spread
            above = start > ZERO
            trial_low[k] = ZERO if above else start
            trial_scale[k] = sum_xl[k] / sum_l2[k] if above else slope
            usable[k] = spread > ZERO
        for i in range(n):
            for k in range(LANES):
                v = x[i, k]
                code = np.float32(clamped_int(trial[k] * (v - bottom[k]), NONE, top))
                miss = trial_scale[k] * code + trial_low[k] - v
                error[k] += w[i, k] * (abs(miss) if absolute else miss * miss)
        for k in range(LANES):
            better = usable[k] and error[k] < best[k]
            best[k] = error[k] if better else best[k]
            scale[k] = trial_scale[k] if better else scale[k]
            inverse[k] = trial[k] if better else inverse[k]
            low[k] = bottom[k] if better else low[k]
            bottom[k] = trial_low[k] if better else bottom[k]
    for k in range(LANES):  # a group without spread has codes and a scale of zero
        scale[k] = ZERO if flat[k] else scale[k]
        inverse[k] = ZERO if flat[k] else inverse[k]
        minimum[k] = -bottom[k]


@part
def symmetric_code(inverse, v, levels):
    """The code of v, -levels ... levels - 1, for an inverse scale that `symmetric_scale` found."""
    return clamped_int(inverse * v, -levels, levels - np.int32(1)) if inverse == inverse else -levels


@part
def symmetric_scale(x, w, levels, scale, inverse):
    """Search of d alone for LANES groups (kernel of `blocks.search.symmetric_scale`).

    x, w: (n, LANES). Results (LANES,): scale, and the inverse scale that made the winner's codes; NaN for a
    zero group, whose codes are all -levels.
    """
    n = x.shape[0]
    largest = np.empty(LANES, np.float32)
    size = np.empty(LANES, np.float32)
    sum_xl = np.empty(LANES, np.float32)
    sum_l2 = np.empty(LANES, np.float32)
    trial = np.empty(LANES, np.float32)
    best = np.empty(LANES, np.float32)
    bottom = np.int32(-levels)
    top = np.int32(levels - 1)
    flevels = np.float32(levels)
    for k in range(LANES):
        largest[k] = ZERO
        size[k] = ZERO
    for i in range(n):
        for k in range(LANES):
            v = x[i, k]
            a = abs(v)
            more = a > size[k]
            size[k] = a if more else size[k]
            largest[k] = v if more else largest[k]
    for t in range(19):
        s = t - 10 if t < 10 else t - 9  # first the plain scale, then -9 ... -1, 1 ... 9
        reach = -flevels if t == 0 else -(flevels + TENTH * np.float32(s))
        for k in range(LANES):
            trial[k] = reach / largest[k]
            sum_xl[k] = ZERO
            sum_l2[k] = ZERO
        for i in range(n):
            for k in range(LANES):
                v = x[i, k]
                code = np.float32(clamped_int(trial[k] * v, bottom, top))
                sum_xl[k] += w[i, k] * v * code
                sum_l2[k] += w[i, k] * code * code
        if t == 0:
            for k in range(LANES):
                scale[k] = sum_xl[k] / sum_l2[k] if sum_l2[k] != ZERO else ZERO
                best[k] = scale[k] * sum_xl[k]
                inverse[k] = trial[k]
        else:
            for k in range(LANES):
                better = sum_l2[k] > ZERO and sum_xl[k] * sum_xl[k] > best[k] * sum_l2[k]
                fit = sum_xl[k] / sum_l2[k]
                scale[k] = fit if better else scale[k]
                best[k] = fit * sum_xl[k] if better else best[k]
                inverse[k] = trial[k] if better else inverse[k]
    for k in range(LANES):
        nothing = size[k] < LEAST
        scale[k] = ZERO if nothing else scale[k]
        inverse[k] = NAN if nothing else inverse[k]


@part
def refined_scale(x, w, levels, scale, codes):
    """Search of d for LANES groups, code by code (kernel of `blocks.search.refined_scale`).

    x, w: (n, LANES). Results: scale (LANES,), codes int32 (n, LANES).
    """
    n = x.shape[0]
    largest = np.empty(LANES, np.float32)
    size = np.empty(LANES, np.float32)
    sum_xl = np.empty(LANES, np.float32)
    sum_l2 = np.empty(LANES, np.float32)
    inverse = np.empty(LANES, np.float32)
    bottom = np.int32(-levels)
    top = np.int32(levels - 1)
    for k in range(LANES):
        largest[k] = ZERO
        size[k] = ZERO
        sum_xl[k] = ZERO
        sum_l2[k] = ZERO
    for i in range(n):
        for k in range(LANES):
            v = x[i, k]
            a = abs(v)
            more = a > size[k]
            size[k] = a if more else size[k]
            largest[k] = v if more else largest[k]
    for k in range(LANES):
        inverse[k] = np.float32(bottom) / largest[k]
    for i in range(n):
        for k in range(LANES):
            v = x[i, k]
            codes[i, k] = clamped_int(inverse[k] * v, bottom, top)
            code = np.float32(codes[i, k])
            sum_xl[k] += w[i, k] * v * code
            sum_l2[k] += w[i, k] * code * code
    for _ in range(5):  # a group that one round leaves as it is stays so
        for i in range(n):
            for k in range(LANES):
                v = x[i, k]
                old = np.float32(codes[i, k])
                rest_xl = sum_xl[k] - w[i, k] * v * old
                rest_l2 = sum_l2[k] - w[i, k] * old * old
                moved = clamped_int(v * rest_l2 / rest_xl, bottom, top)
                new = np.float32(moved)
                new_xl = rest_xl + w[i, k] * v * new
                new_l2 = rest_l2 + w[i, k] * new * new
                better = (rest_xl > ZERO) & (moved != codes[i, k]) & (new_l2 > ZERO)
                better &= new_xl * new_xl * sum_l2[k] > sum_xl[k] * sum_xl[k] * new_l2
                codes[i, k] = moved if better else codes[i, k]
                sum_xl[k] = new_xl if better else sum_xl[k]
                sum_l2[k] = new_l2 if better else sum_l2[k]
    for k in range(LANES):
        scale[k] = sum_xl[k] / sum_l2[k] if sum_l2[k] > ZERO else ZERO
        scale[k] = ZERO if size[k] < LEAST else scale[k]
    for i in range(n):
        for k in range(LANES):
            codes[i, k] = bottom if size[k] < LEAST else codes[i, k]


@part
def positive_scale(x, w, levels, codes):
    """Fit of one scale to a few positive numbers (kernel of `blocks.search.positive_scale`), one group.

    x, w: (n,). codes: uint8 (n,), filled. Gives the scale.
    """
    n = x.shape[0]
    top = np.int32(levels)
    flevels = np.float32(levels)
    largest = ZERO
    for i in range(n):
        largest = largest if largest > x[i] else x[i]
    if largest < LEAST:
        for i in range(n):
            codes[i] = np.uint8(0)
        return ZERO
    inverse = flevels / largest
    scale = ONE / inverse
    best = ZERO
    for i in range(n):
        miss = x[i] - scale * np.float32(np.uint8(nearest_int(inverse * x[i])))
        best += w[i] * miss * miss
    for s in range(-4, 5):
        if s == 0:
            continue
        trial = (TENTH * np.float32(s) + flevels) / largest
        scale = ONE / trial
        error = ZERO
        for i in range(n):
            miss = x[i] - scale * np.float32(min(nearest_int(trial * x[i]), top))
            error += w[i] * miss * miss
        if error < best:
            best = error
            inverse = trial
    sum_xl = ZERO
    sum_l2 = ZERO
    for i in range(n):
        code = min(nearest_int(inverse * x[i]), top)
        codes[i] = np.uint8(code)
        fcode = np.float32(code)
        sum_xl += w[i] * x[i] * fcode
        sum_l2 += w[i] * fcode * fcode
    for _ in range(5):
        changed = False
        for i in range(n):
            old = np.float32(codes[i])
            rest_xl = sum_xl - w[i] * x[i] * old
            rest_l2 = sum_l2 - w[i] * old * old
            if rest_xl > ZERO and rest_l2 > ZERO:
                code = min(nearest_int(x[i] * rest_l2 / rest_xl), top)
                if code != np.int32(codes[i]):
                    fcode = np.float32(code)
                    rest_xl += w[i] * x[i] * fcode
                    rest_l2 += w[i] * fcode * fcode
                    if rest_xl * rest_xl * sum_l2 > sum_xl * sum_xl * rest_l2:
                        codes[i] = np.uint8(code)
                        sum_xl = rest_xl
                        sum_l2 = rest_l2
                        changed = True
        if not changed:
            break
    return sum_xl / sum_l2 if sum_l2 > ZERO else ZERO
