"""The blocks of a GGUF file chosen for what a layer puts out: the format stays, and so does who reads it.

A block format fixes what can be stored, not which of the storable blocks is taken; see `descent` for how one is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantlib.errors import MethodError
from quantlib.formats.blocks.block import BlockFormat
from quantlib.formats.finite import check_finite
from quantlib.formats.rows import check_rows
from quantlib.methods.descent import REFERENCE, SWEEPS, compiled, descended, eliminated
from quantlib.methods.hessian import Factor, Gram, factorize
from quantlib.methods.storing import STORED_BY_WEIGHT, storing


@dataclass(frozen=True)
class Effort:
    """damping: added to the Hessian's diagonal, a share of its mean. act_order: columns of the largest activations
    first. sweeps: how often descent goes over a row; 0 leaves the codes of GPTQ on the scales of the format's search.
    """

    damping: float = 0.01
    act_order: bool = True
    sweeps: int = SWEEPS


USUAL = Effort()


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
        factor = factorize(gram.hessian, how.damping, how.act_order)
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
    loops = REFERENCE if reference else compiled()
    w = w.copy()
    w[:, inputs.factor.dead] = 0
    importance = inputs.importance if form.uses_importance else None
    kind = storing(form)
    found = kind.read(form.quantize(w, importance))
    found = eliminated(w, kind, found, inputs.factor, loops)
    return kind.write(descended(w, kind, found, inputs.hessian, loops, how.sweeps) if how.sweeps else found)


def takes(form: object) -> bool:
    """Whether the blocks of a format can be chosen this way."""
    return isinstance(form, BlockFormat) and form.name in STORED_BY_WEIGHT
