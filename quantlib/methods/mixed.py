"""The blocks of a GGUF file chosen for what a layer puts out: the format stays, and so does who reads it.

A block format fixes what can be stored, not which of the storable blocks is taken; see `descent` for how one is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats import block_format
from quantlib.formats.blocks.block import BlockFormat
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import check_rows
from quantlib.methods import grid_descent
from quantlib.methods.descent import REFERENCE, SWEEPS, compiled, descended, eliminated
from quantlib.methods.grid_descent import EIGHT, GRIDS
from quantlib.methods.hessian import Factor, Gram, factorize
from quantlib.methods.storing import STORED_BY_WEIGHT, storing


@dataclass(frozen=True)
class Effort:
    """damping: added to the Hessian's diagonal, a share of its mean. act_order: columns of the largest activations
    first, so many neighbours `together`. sweeps: how often descent goes over a row; 0 leaves the codes of GPTQ on the
    scales of the format's search.
    """

    damping: float = 0.01
    act_order: bool = True
    sweeps: int = SWEEPS
    together: int = 1


USUAL = Effort()


def usual(form: BlockFormat) -> Effort:
    """What is done for a format where nothing else is asked for; points of a grid stand for eight weights."""
    return replace(USUAL, together=EIGHT) if form.name in GRIDS else USUAL


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a text says of a layer's inputs, ready for any rows that read them.

    factor: the damped Hessian, inverted in the order of rounding. hessian: the same, in the order of the inputs.
    importance: float32 (inputs,), the mean square of each.
    """

    factor: Factor
    hessian: np.ndarray
    importance: np.ndarray

    @classmethod
    def of(cls, gram: Gram, how: Effort = USUAL) -> Inputs:
        """Raises MethodError as `factorize` does."""
        factor = factorize(gram.hessian, how.damping, how.act_order, how.together)
        hessian = factor.hessian
        if how.act_order:
            place = np.argsort(factor.order)
            hessian = hessian[place[:, None], place]
        return cls(factor, hessian, np.ascontiguousarray(gram.mean_squares))


def fitted_blocks(
    weight: np.ndarray, inputs: Inputs, form: BlockFormat, how: Effort = USUAL, reference: bool = False
) -> np.ndarray:
    """Stored rows, uint8 (outputs, bytes), with about the least output error that blocks of this format can have.

    weight: float (outputs, inputs); rows do not touch each other, so that a matrix may be given in parts. reference:
    by the readable loops instead of the compiled ones; the bytes are the same.
    Raises MethodError where shapes do not fit or the format cannot be chosen this way, FormatError on NaN.
    """
    w = check_rows(form, weight)
    check_finite(form.name, w)
    if w.ndim != 2 or w.shape[1] != len(inputs.importance):
        raise MethodError(f"A weight of shape {w.shape} does not fit inputs of {len(inputs.importance):,} channels.")
    w = w.copy()
    w[:, inputs.factor.dead] = 0
    importance = inputs.importance if form.uses_importance else None
    if form.name in GRIDS:
        return _fitted_points(w, inputs, form, how, importance, reference)
    loops, kind = REFERENCE if reference else compiled(), storing(form)
    found = kind.read(form.quantize(w, importance))
    found = eliminated(w, kind, found, inputs.factor, loops)
    return kind.write(descended(w, kind, found, inputs.hessian, loops, how.sweeps) if how.sweeps else found)


def _fitted_points(
    w: np.ndarray, inputs: Inputs, form: BlockFormat, how: Effort, importance: np.ndarray | None, reference: bool
) -> np.ndarray:
    if how.act_order and how.together != EIGHT:
        raise MethodError(f"The points of {form.name} stand for eight weights, which must stay together in act-order.")
    loops: grid_descent.Loops = grid_descent.Reference if reference else grid_descent.Compiled
    kind = grid_descent.points_of(form.name)
    found = grid_descent.read(form, form.quantize(w, importance))
    found = grid_descent.eliminated(w, kind, found, inputs.factor, loops)
    if how.sweeps:
        found = grid_descent.descended(w, kind, found, inputs.hessian, loops, how.sweeps)
    return grid_descent.write(form, found)


def takes(form: object) -> bool:
    """Whether the blocks of a format can be chosen this way."""
    return isinstance(form, BlockFormat) and (form.name in STORED_BY_WEIGHT or form.name in GRIDS)


def warm_up() -> None:
    """Compile the loops of this method, so that the first use need not wait: one of each kind serves all formats."""
    row = np.linspace(-1, 1, 256, dtype=np.float32)[None]
    for name in ("Q4_K", "IQ3_S"):
        form = block_format(name)
        fitted_blocks(row, Inputs.of(Gram.of(np.eye(256, dtype=np.float32)), usual(form)), form, usual(form))
