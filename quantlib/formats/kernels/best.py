"""Better codes in the same blocks: the kernel of `blocks.best`, where the search is explained."""

import numpy as np

from quantlib.formats.blocks.best import STRETCHES, TURNS
from quantlib.formats.kernels.magnitudes import nearest_ints
from quantlib.formats.kernels.scalar import ZERO, clamped_int, float_from_half, half_from_float, inlined, kernel, part
from quantlib.formats.kernels.simd import WIDTH, as_floats, larger, load, smaller, splat, store

NONE = np.int32(0)


@inlined
def error_with(x, weights, at, n, scale, minimum, form, q, scratch, keep):
    """Weighted squared error of a group with the nearest codes; with `keep` those are stored."""
    zero, top = np.int32(form.zero), np.int32(form.top)
    total = splat(ZERO)
    for i in range(at, at + n, WIDTH):
        v = load(x, i)
        code = nearest_ints((v + minimum) / scale) if scale != ZERO else splat(NONE)
        code = smaller(larger(code + zero, NONE), top)
        miss = as_floats(code - zero) * scale - minimum - v
        total = total + load(weights, i) * miss * miss
        if keep:
            store(q, i, code)
    store(scratch, 0, total)
    error = scratch[0]
    for k in range(1, WIDTH):
        error += scratch[k]
    return error


@inlined
def error_of(x, weights, at, n, scale, minimum, form, q, scratch):
    """Weighted squared error of a group with codes as they are."""
    total = splat(ZERO)
    for i in range(at, at + n, WIDTH):
        miss = as_floats(load(q, i) - np.int32(form.zero)) * scale - minimum - load(x, i)
        total = total + load(weights, i) * miss * miss
    store(scratch, 0, total)
    error = scratch[0]
    for k in range(1, WIDTH):
        error += scratch[k]
    return error


@part
def round_all(x, weights, d, dmin, sc, mn, q, error, form, scratch):
    """Nearest codes of a block for scales as they are stored; gives the error of the block (`_rounded`)."""
    n = 256 // form.groups
    total = ZERO
    for g in range(form.groups):
        scale, minimum = d * np.float32(sc[g]), dmin * np.float32(mn[g])
        error[g] = error_with(x, weights, g * n, n, scale, minimum, form, q, scratch, True)
        total = total + error[g] if g else error[g]
    return total


@part
def around(x, weights, d, dmin, sc, mn, q, error, form, scratch):
    """For each group the best of the sub-codes around its own (`_around`)."""
    n = 256 // form.groups
    reach = 1 if form.minima else 0
    for g in range(form.groups):
        for ds in range(-1, 2):
            for dm in range(-reach, reach + 1):
                s = min(max(sc[g] + np.int32(ds), np.int32(form.sub_low)), np.int32(form.sub_top))
                m = min(max(mn[g] + np.int32(dm), NONE), np.int32(form.sub_top))
                scale, minimum = d * np.float32(s), dmin * np.float32(m)
                trial = error_with(x, weights, g * n, n, scale, minimum, form, q, scratch, False)
                if trial < error[g]:
                    error[g] = error_with(x, weights, g * n, n, scale, minimum, form, q, scratch, True)
                    sc[g], mn[g] = s, m


@part
def refitted(x, weights, d, dmin, sc, mn, q, form):
    """The super-scales that fit all codes best, as they are stored (`_refit`)."""
    n = 256 // form.groups
    aa, ab, bb, ax, bx = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(256):
        w = np.float64(weights[i])
        a, b = np.float64(sc[i // n] * (q[i] - np.int32(form.zero))), -np.float64(mn[i // n])
        aa += w * (a * a)
        ab += w * (a * b)
        bb += w * (b * b)
        ax += w * (a * np.float64(x[i]))
        bx += w * (b * np.float64(x[i]))
    spread = aa * bb - ab * ab
    if spread > 1e-9 * aa * bb:
        new_d, new_dmin = (ax * bb - bx * ab) / spread, (bx * aa - ax * ab) / spread
    else:
        new_d, new_dmin = (ax - ab * np.float64(dmin)) / aa, np.float64(dmin)
    return stored(np.float32(new_d)), stored(np.float32(new_dmin))


@inlined
def stored(v):
    """A float as half precision keeps it."""
    return float_from_half(np.uint32(half_from_float(v)))


@part
def block_error(error):
    """The sum of the groups' errors."""
    total = error[0]
    for g in range(1, error.shape[0]):
        total += error[g]
    return total


@part
def settle(x, weights, d, dmin, sc, mn, q, error, other_q, other_error, form, scratch):
    """Sub-codes and super-scales in turn (`_settle`); gives the super-scales."""
    for _ in range(TURNS):
        around(x, weights, d, dmin, sc, mn, q, error, form, scratch)
        new_d, new_dmin = refitted(x, weights, d, dmin, sc, mn, q, form)
        if round_all(x, weights, new_d, new_dmin, sc, mn, other_q, other_error, form, scratch) < block_error(error):
            d, dmin = new_d, new_dmin
            q[:] = other_q
            error[:] = other_error
    around(x, weights, d, dmin, sc, mn, q, error, form, scratch)
    return d, dmin


@kernel
def improve(x, weights, d, dmin, sc, mn, q, form):
    """x: float32 (blocks, 256), weights alike. d, dmin: float32 (blocks,), as stored; sc, mn: int32 (blocks, groups);
    q: int32 (blocks, 256): ggml's choice, replaced by one with an error that is no higher in any block.
    """
    groups = form.groups
    scratch = np.empty(WIDTH, np.float32)
    error, best_error, other_error = np.empty((3, groups), np.float32)
    best_q, trial_q, other_q = np.empty((3, 256), np.int32)
    best_sc, best_mn, trial_sc, trial_mn = np.empty((4, groups), np.int32)
    n = 256 // groups
    for b in range(x.shape[0]):
        v, w = x[b], weights[b]
        best_q[:], best_sc[:], best_mn[:] = q[b], sc[b], mn[b]
        for g in range(groups):
            scale, minimum = d[b] * np.float32(sc[b, g]), dmin[b] * np.float32(mn[b, g])
            best_error[g] = error_of(v, w, g * n, n, scale, minimum, form, best_q, scratch)
        best = settle(v, w, d[b], dmin[b], best_sc, best_mn, best_q, best_error, other_q, other_error, form, scratch)
        for stretch in STRETCHES:
            for g in range(groups):
                low, top = np.int32(form.sub_low), np.int32(form.sub_top)
                trial_sc[g] = clamped_int(np.float32(sc[b, g]) / stretch, low, top)
                trial_mn[g] = clamped_int(np.float32(mn[b, g]) / stretch, NONE, top)
            td, tm = stored(stretch * d[b]), stored(stretch * dmin[b])
            round_all(v, w, td, tm, trial_sc, trial_mn, trial_q, error, form, scratch)
            trial = settle(v, w, td, tm, trial_sc, trial_mn, trial_q, error, other_q, other_error, form, scratch)
            if block_error(error) < block_error(best_error):
                best = trial
                best_q[:], best_sc[:], best_mn[:], best_error[:] = trial_q, trial_sc, trial_mn, error
        d[b], dmin[b] = best
        q[b], sc[b], mn[b] = best_q, best_sc, best_mn


def improve_codes(x, weights, codes, form) -> dict[str, np.ndarray]:
    """`blocks.best.improve` by the kernel: float32 (blocks, 256), codes {field: (blocks, count)} -> better codes."""
    d = codes["d"].astype(np.float32)[:, 0]
    sc = codes["sc"].astype(np.int32) - np.int32(form.sub_zero)
    dmin = codes["dmin"].astype(np.float32)[:, 0] if form.minima else np.zeros_like(d)
    mn = codes["mn"].astype(np.int32) if form.minima else np.zeros_like(sc)
    q = codes["q"].astype(np.int32)
    improve(x, weights, d, dmin, sc, mn, q, form)
    better = {"d": d, "sc": sc + np.int32(form.sub_zero), "q": q} | ({"dmin": dmin, "mn": mn} if form.minima else {})
    return {name: code.reshape(len(x), -1).astype(codes[name].dtype) for name, code in better.items()}
