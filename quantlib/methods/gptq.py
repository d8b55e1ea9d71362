"""GPTQ: round one column after the other, and let the columns that remain make up for each error.

    for each column i, in order:   q_i = nearest code of w_i;   e = (w_i − q_i) / U_ii;   w_j ← w_j − e · U_ij for j > i

U is the upper Cholesky factor of the inverse Hessian of the layer's output error: H = 2 Σ x xᵀ / tokens, damped.
Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022,
algorithm 1, and the authors' code. Codes follow theirs up to the rounding of float32 sums.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import as_float32
from quantlib.methods.grids import Grid, Grids, check_groups, decode, encode
from quantlib.methods.hessian import Factor, factorize


@dataclass(frozen=True)
class Settings:
    """damping: added to the Hessian's diagonal, a share of its mean. block: columns between two updates of the rest.

    act_order: columns of the largest activations first. static_groups: grids are chosen from the original weights and
    groups stay runs of neighbours; otherwise a grid is chosen when its first column is reached, from weights as they
    are by then, and under act_order groups are runs in the order of rounding.
    """

    damping: float = 0.01
    block: int = 128
    act_order: bool = False
    static_groups: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.damping <= 1:
            raise MethodError(f"The damping is a share of the mean diagonal, between 0 and 1, not {self.damping:g}.")
        if self.block < 1:
            raise MethodError(f"A block has at least one column, not {self.block}.")


@dataclass(frozen=True, eq=False)
class GptqTrace:
    """How the columns were rounded, in the order in which they were: place 0 is the column rounded first.

    order: int (inputs,), the column at each place. weights: float32 (outputs, inputs), the original ones by place.
    errors: e, float32 (outputs, inputs). upper: U, float32 (inputs, inputs); the error of column i changes column j > i
    by −e_i · U_ij. running, running_nearest: float64 (inputs,), the output error that is certain once the first
    columns are rounded, the others being free: GPTQ's, where they make up for it, and that of round-to-nearest on grids
    from the original weights, where they do not. Their last entries are the final errors. Damping is in both.
    """

    order: np.ndarray
    weights: np.ndarray
    errors: np.ndarray
    upper: np.ndarray
    running: np.ndarray
    running_nearest: np.ndarray

    def row(self, output: int) -> np.ndarray:
        """The weights of one output by place, before the first step and after each: float32 (inputs + 1, inputs).

        Entry [i + 1] has the first i + 1 places on their grid.
        """
        pushed = self.errors[output][:, None] * self.upper  # (steps, inputs)
        start = self.weights[output][None]
        return np.concatenate([start, start - np.cumsum(pushed, axis=0)])

    def pushed(self, output: int, place: int) -> np.ndarray:
        """What rounding at this place changed in the row of one output, by place: float32 (inputs,); 0 before it."""
        return -self.errors[output, place] * self.upper[place]


@dataclass(frozen=True, eq=False)
class Gptq:
    """A layer with chosen codes: x̂ = scales · (codes − zeros) − minima, in column j those of group g_idx[j].

    codes: int16 (outputs, inputs). scales, minima: float32, zeros: int32 (outputs, groups). g_idx: int32 (inputs,), the
    group of each column. order: int32 (inputs,), the columns in the order of rounding. minima are 0 in integer grids.
    loss: Σ e² / 2, the mean over tokens of ‖(W − Ŵ) x‖² plus damping's share. dead: columns without any input, whose
    weights became 0. A file in the GPTQ layout stores codes and zeros without a sign: it adds `grids.form.offset`.
    """

    grids: Grids
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    minima: np.ndarray
    g_idx: np.ndarray
    order: np.ndarray
    loss: float
    dead: np.ndarray
    trace: GptqTrace | None = None

    def dequantized(self) -> np.ndarray:
        """x̂, float32 (outputs, inputs)."""
        return decode(self.codes, *(part[:, self.g_idx] for part in (self.scales, self.zeros, self.minima)))


def gptq(
    weight: np.ndarray,
    hessian: np.ndarray,
    grids: Grids,
    settings: Settings = Settings(),
    trace: bool = False,
    reference: bool = False,
) -> Gptq:
    """Choose the codes of a weight (outputs, inputs) by GPTQ, for the Hessian (inputs, inputs) of its calibration.

    trace: keep how it went; it holds two copies of the weight and the factor. reference: run the readable block loop
    instead of the compiled one; the result is the same to the last bit.
    Raises MethodError where shapes or group sizes do not fit or the Hessian cannot be inverted, FormatError on NaN.
    """
    w = as_float32(weight)
    check_finite("GPTQ", w)
    if w.ndim != 2 or np.shape(hessian) != (w.shape[1], w.shape[1]):
        raise MethodError(
            f"A weight of shape {w.shape} needs a Hessian with a row and a column for each input, "
            f"not one of {np.shape(hessian)}."
        )
    check_groups(grids, w.shape[1])
    factor = factorize(hessian, settings.damping, settings.act_order)
    w = w.copy()
    w[:, factor.dead] = 0
    static = choose_all(grids, w) if settings.static_groups else None
    codes, errors, grid, steps = _columns(w[:, factor.order], factor, grids, settings, static, reference)
    place = np.argsort(factor.order)
    return Gptq(
        grids=grids,
        codes=np.ascontiguousarray(codes[:, place]),
        scales=grid.scale,
        zeros=grid.zero,
        minima=grid.minimum,
        g_idx=steps[place].astype(np.int32),
        order=factor.order.astype(np.int32),
        loss=0.5 * float(np.square(errors, dtype=np.float64).sum()),
        dead=factor.dead,
        trace=_trace(w, factor, grids, errors) if trace else None,
    )


def choose_all(grids: Grids, w: np.ndarray) -> Grid:
    """The grids of all groups, from the weights as they are: (outputs, inputs) -> numbers (outputs, steps)."""
    chosen = [grids.choose(w[:, at : at + grids.group], at) for at in range(0, w.shape[1], grids.group)]
    return Grid(*(np.concatenate([getattr(g, part) for g in chosen], 1) for part in ("scale", "zero", "minimum")))


Rounded = Callable[[np.ndarray, np.ndarray, np.ndarray, Grid, Grids], tuple[np.ndarray, np.ndarray]]


def _columns(
    w: np.ndarray, factor: Factor, grids: Grids, settings: Settings, static: Grid | None, reference: bool
) -> tuple[np.ndarray, np.ndarray, Grid, np.ndarray]:
    """Round the columns w (outputs, inputs) in their order: codes, errors, the grid, and each place's entry of it."""
    outputs, inputs = w.shape
    per_group = grids.group // grids.step
    rounded = round_block if reference else _compiled()
    codes, errors = np.empty(w.shape, np.int16), np.empty(w.shape, np.float32)
    steps = (np.arange(inputs) if static is None else factor.order) // grids.step  # (inputs,)
    grid = static or Grid(*(np.zeros((outputs, inputs // grids.step), t) for t in (np.float32, np.int32, np.float32)))
    for start in range(0, inputs, settings.block):
        end = min(start + settings.block, inputs)
        if static is None:
            # Groups that begin in this block see the weights as the last block left them, as in the reference.
            for at in range(start + -start % grids.group, end, grids.group):
                new, to = grids.choose(w[:, at : at + grids.group], at), at // grids.step
                for part in ("scale", "zero", "minimum"):
                    getattr(grid, part)[:, to : to + per_group] = getattr(new, part)
        block = slice(start, end)
        upper = np.ascontiguousarray(factor.upper[block, block])
        codes[:, block], errors[:, block] = rounded(np.ascontiguousarray(w[:, block]), upper, steps[block], grid, grids)
        w[:, end:] -= errors[:, block] @ factor.upper[block, end:]
    return codes, errors, grid, steps


def round_block(
    w: np.ndarray, upper: np.ndarray, steps: np.ndarray, grid: Grid, grids: Grids
) -> tuple[np.ndarray, np.ndarray]:
    """Round the columns of a block one by one and push each one's error to those on its right.

    w (outputs, columns); upper: this block of U (columns, columns); steps (columns,): each column's entry of the grid.
    Returns codes int16 and errors float32, (outputs, columns) each. The readable reference of the compiled loop.
    """
    w, codes, errors = w.copy(), np.empty(w.shape, np.int16), np.empty(w.shape, np.float32)
    for i, step in enumerate(steps):
        column = grid.scale[:, step], grid.zero[:, step], grid.minimum[:, step]
        codes[:, i] = encode(grids, w[:, i], *column)
        errors[:, i] = (w[:, i] - decode(codes[:, i], *column)) / upper[i, i]
        w[:, i + 1 :] -= errors[:, i : i + 1] * upper[i, i + 1 :]
    return codes, errors


def _compiled() -> Rounded:
    from quantlib.methods import kernels  # compiled code is loaded when it is first needed

    def rounded(
        w: np.ndarray, upper: np.ndarray, steps: np.ndarray, grid: Grid, grids: Grids
    ) -> tuple[np.ndarray, np.ndarray]:
        codes, errors = np.empty(w.shape, np.int16), np.empty(w.shape, np.float32)
        numbers = grid.scale, grid.zero, grid.minimum
        kernels.round_block(w, upper, steps, *numbers, grids.lowest, grids.highest, codes, errors)
        return codes, errors

    return rounded


def _trace(w: np.ndarray, factor: Factor, grids: Grids, errors: np.ndarray) -> GptqTrace:
    grid, steps = choose_all(grids, w), np.arange(w.shape[1]) // grids.step
    numbers = tuple(part[:, steps] for part in (grid.scale, grid.zero, grid.minimum))
    miss = (w - decode(encode(grids, w, *numbers), *numbers))[:, factor.order]  # (outputs, inputs), by place
    before = miss @ np.triu(factor.hessian, 1)  # what the places before contribute to each
    certain = 0.5 * np.sum(miss * (miss * np.diagonal(factor.hessian) + 2 * before), axis=0, dtype=np.float64)
    return GptqTrace(
        order=factor.order,
        weights=w[:, factor.order],
        errors=errors,
        upper=factor.upper,
        running=0.5 * np.cumsum(np.square(errors, dtype=np.float64).sum(0)),
        running_nearest=np.cumsum(certain),
    )
