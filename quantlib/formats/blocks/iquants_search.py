"""How the i-quants with signs choose grid points and scales: IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S.

Level l stands for the magnitude 2l + 1 in the search, which is near what the grids decode to. Everything is float32 and
every sum runs from left to right. Sources: ggml-quants.c, quantize_row_iq2_xxs_impl, …_iq2_xs_impl, …_iq2_s_impl,
…_iq3_xxs_impl, …_iq3_s_impl: one search with five settings.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quantlib.formats.blocks.grids import Grid
from quantlib.formats.blocks.iquants_signs import split_signs
from quantlib.formats.blocks.search import nearest_int, positive_scale, total

F32 = np.float32
NOTHING = F32(np.finfo(F32).max)  # no error of a grid point may reach it

OFF_GRID, ALL_IF_ANY, ALL = 0, 1, 2  # whose grid points are chosen once more for the final scale


class Rule(NamedTuple):
    """The settings of the search, in which the formats differ.

    group: weights with one sub-scale. even: signs are stored in seven bits. power: the mean square counts so often in
    the weights. floor: without importance a weight is floor · power · mean square + x². least: a group below is zero.
    reach, step: the inverse scales tried are (2 · base − 1 + step · s) / span, |s| ≤ reach. fitted: span is fitted
    first, else it is the largest magnitude. again: whose grid points are chosen once more at the end. clears: a block
    without any scale loses its codes. fudge: what ggml multiplies the super-scale by. slips: see `iquants.slip`.
    """

    group: int
    even: bool
    power: np.float32
    floor: np.float32
    least: np.float32
    reach: int
    step: np.float32
    fitted: bool
    again: int
    clears: bool
    fudge: np.float32
    slips: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What the search chose for groups (blocks, groups) of n weights, and what it tried.

    scale: float32 (blocks, groups). nothing: whether a group counts as zeros. number: grid points (blocks, groups,
    n / dim). signs: uint8 (blocks, groups, n / 8). weights: (blocks, groups, n). scales, errors: (blocks, groups,
    candidates); numbers: (blocks, groups, candidates, n / dim). winner: (blocks, groups).
    """

    scale: np.ndarray
    nothing: np.ndarray
    number: np.ndarray
    signs: np.ndarray
    weights: np.ndarray
    scales: np.ndarray
    errors: np.ndarray
    numbers: np.ndarray
    winner: np.ndarray


def weights_of(
    groups: np.ndarray, importance: np.ndarray | None, power: float | np.float32, floor: float | np.float32 = 0
) -> np.ndarray:
    """What an error counts: importance · √(power · mean square of the block + x²), or about x² without importance.

    groups: float32 (blocks, groups, n). importance: float32 (blocks, 256) or None.
    """
    x = groups.reshape(len(groups), -1)
    mean = (F32(power) * total(x * x) / F32(256))[:, None, None]
    if importance is not None:
        return importance.reshape(groups.shape) * np.sqrt(mean + groups * groups)
    return F32(floor) * mean + groups * groups if floor else groups * groups


def nearest_on_grid(
    place: np.ndarray, x: np.ndarray, weights: np.ndarray, scale: np.ndarray, table: np.ndarray, grid: Grid
) -> np.ndarray:
    """Of the grid points near a place, the one with the least weighted squared error for x; the first among equals.

    place: (m,), all off the grid. x, weights: (m, dim). scale: (m,). table: (levels,) or (m, levels), what levels
    stand for. Gives numbers of grid points (m,).
    """
    table = np.broadcast_to(table, (len(place), table.shape[-1]))
    first, count = grid.first[place], grid.first[place + 1] - grid.first[place]
    step = np.arange(count.max(initial=1))
    listed = step < count[:, None]  # (m, longest list)
    points = grid.near[first[:, None] + np.where(listed, step, 0)]
    error = np.zeros(points.shape, F32)
    for i in range(grid.dim):
        value = np.take_along_axis(table, grid.levels[points, i], axis=1)
        miss = scale[:, None] * value - x[:, i, None]
        error = error + weights[:, i, None] * miss * miss
    error = np.where(listed & (error < NOTHING), error, np.inf)
    return points[np.arange(len(points)), error.argmin(axis=1)]


def snap(
    x: np.ndarray, root: np.ndarray, inverse: np.ndarray, scale: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Round magnitudes to levels; where those make no grid point, take the best one near.

    x, root (square roots of the weights): float32 (..., n). inverse, scale: (...).
    Gives numbers of grid points (..., n / dim) and whether rounding was enough, of the same shape.
    """
    levels = np.clip(nearest_int(F32(0.5) * (inverse[..., None] * x - F32(1))), 0, grid.base - 1)
    place = levels.reshape(*x.shape[:-1], -1, grid.dim) @ grid.places  # (..., points)
    number = grid.number[place]
    off = number < 0
    magnitudes = 2 * np.arange(grid.base, dtype=F32) + 1
    spread = np.broadcast_to(scale[..., None], place.shape)
    values, roots = (part.reshape(*place.shape, grid.dim)[off] for part in (x, root))
    number[off] = nearest_on_grid(place[off], values, roots, spread[off], magnitudes, grid)
    return number, ~off


def fit(x: np.ndarray, weights: np.ndarray, number: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Σwxq and Σwq² for the magnitudes q = 2l + 1 of grid points: the best scale is their ratio."""
    q = (2 * grid.levels[number] + 1).astype(F32).reshape(x.shape)
    return total(weights * x * q), total(weights * q * q)


def grid_scale(groups: np.ndarray, importance: np.ndarray | None, rule: Rule, grid: Grid) -> Found:
    """Find a scale and grid points for each group, so that scale · magnitude comes closest to |x|.

    Each candidate scale rounds the magnitudes to grid points, for which the best scale is Σwxq / Σwq²: it removes
    (Σwxq)² / Σwq² of the error Σwx², and the candidate that removes most wins. At the end points may be chosen once
    more for the winner's scale.

    groups: float32 (blocks, groups, n). importance: float32 (blocks, 256) or None.
    """
    weights = weights_of(groups, importance, rule.power, rule.floor)
    root = np.sqrt(weights)
    x, signs = split_signs(groups, weights, rule.even)
    span = x.max(axis=-1)
    nothing = span < rule.least
    top = F32(2 * grid.base - 1)
    scale = span / top
    if rule.fitted:
        scale, _ = positive_scale(x, weights, levels=grid.base + 1)
        span = scale * F32(grid.base)
        nothing |= span <= 0
    best = np.zeros(span.shape, F32)
    number = np.zeros((*span.shape, groups.shape[-1] // grid.dim), np.int32)
    settled = np.full(number.shape, rule.again == OFF_GRID)
    winner = np.zeros(span.shape, np.int64)
    tried: list[tuple[np.ndarray, ...]] = []

    for s in range(-rule.reach, rule.reach + 1):
        inverse = (top + F32(s) * rule.step) / span
        trial, on_grid = snap(x, root, inverse, F32(1) / inverse, grid)
        sum_xq, sum_q2 = fit(x, weights, trial, grid)
        better = ~nothing & (sum_q2 > 0) & (sum_xq * sum_xq > best * sum_q2)
        trial_scale = sum_xq / sum_q2
        scale = np.where(better, trial_scale, scale)
        best = np.where(better, trial_scale * sum_xq, best)
        number = np.where(better[..., None], trial, number)
        settled = np.where(better[..., None], on_grid, settled)
        winner = np.where(better, len(tried), winner)
        q = (2 * grid.levels[trial] + 1).reshape(x.shape)
        error = (weights.astype(float) * (x.astype(float) - trial_scale[..., None] * q) ** 2).sum(axis=-1)
        tried.append((trial_scale, np.where(nothing | ~(sum_q2 > 0), np.nan, error), trial))

    open_ = ~settled
    if rule.again == ALL_IF_ANY:
        open_ |= open_.any(axis=-1, keepdims=True)
    elif rule.again == ALL:
        open_[:] = True
    open_ &= (scale > 0)[..., None]
    again, _ = snap(x, root, F32(1) / scale, scale, grid)
    number = np.where(open_, again, number)
    sum_xq, sum_q2 = fit(x, weights, number, grid)
    scale = np.where(open_.any(axis=-1) & (sum_q2 > 0), sum_xq / sum_q2, scale)

    turned = scale < 0  # then every sign is the other one
    signs = np.where(turned[..., None], ~signs & (127 if rule.even else 255), signs)
    scale = np.where(nothing | np.isnan(scale), F32(0), np.abs(scale))
    number = np.where(nothing[..., None], 0, number)
    signs = np.where(nothing[..., None], 0, signs).astype(np.uint8)
    scales, errors, numbers = (np.stack(column, axis=2) for column in zip(*tried, strict=True))
    return Found(scale, nothing, number, signs, weights, scales, errors, numbers, winner)
