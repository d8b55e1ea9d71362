"""Scales that move from one matrix into what makes its inputs.

AWQ and SmoothQuant multiply the columns of matrices by s; whatever makes their inputs is divided by s in turn: the norm
before attention or feed-forward, the up projection before down, the value projection before the attention's output
where there are as many value heads as heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from quantlib.architectures import by_name
from quantlib.exports.linears import Linear
from quantlib.lm.model import Model


@dataclass(frozen=True, eq=False)
class Folding:
    """Scales that move between matrices, by GGUF's names: columns of all that read the same inputs are multiplied, and
    divided in turn are the rows of the matrix, or the values of the norm, that makes these inputs. makers: the kind of
    the tensor that makes the inputs of a kind of matrix, as the architecture declares it.
    """

    makers: Mapping[str, str] = field(default_factory=dict)
    divisors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def moving(self, name: str, scales: np.ndarray) -> "Folding":
        """With the scales (inputs,) of one more matrix."""
        return replace(self, divisors={**self.divisors, self._maker(name): scales})

    def folded(self, linear: Linear) -> np.ndarray:
        """W · s / divisor, float32: what the codes of a matrix stand for. Whose rows are divided has them in the same
        order everywhere.
        """
        columns, divisor = self.divisors.get(self._maker(linear.gguf)), self.divisors.get(linear.gguf)
        weight = linear.weight()
        weight = weight if columns is None else weight * columns
        return weight if divisor is None else weight / divisor[:, None]

    def changes(self, linear: Linear) -> bool:
        """Whether a matrix is another one once scales have moved."""
        return linear.gguf in self.divisors or self._maker(linear.gguf) in self.divisors

    def _maker(self, name: str) -> str:
        """The tensor that makes a matrix's inputs; no name where nothing does that could take scales."""
        block, layer, kind, _ = name.split(".")
        return f"{block}.{layer}.{self.makers[kind]}.weight" if kind in self.makers else ""


def makers_of(model: Model) -> Mapping[str, str]:
    """The kind of the tensor that makes the inputs of a kind of matrix, in a model's architecture; empty where scales
    cannot be moved.
    """
    declared = by_name(model.architecture.name)
    return (declared.folds if declared else None) or {}
