"""Scales that move from one matrix into what makes its inputs.

AWQ and SmoothQuant multiply the columns of matrices by s; whatever makes their inputs is divided by s in turn: the norm
before attention or feed-forward, the up projection before down, the value projection before the attention's output
where there are as many value heads as heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quantlib.exports.linears import Linear

# The kind of the tensor that makes the inputs of a kind of matrix.
MAKERS = {
    "attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm",
    "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm", "ffn_down": "ffn_up", "attn_output": "attn_v",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Folding:
    """Scales that move between matrices, by GGUF's names: a matrix's columns are multiplied by its own, and divided in
    turn are the rows of the matrix, or the values of the norm, that makes its inputs.
    """

    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    divisors: Mapping[str, np.ndarray] = field(default_factory=dict)

    def moving(self, name: str, scales: np.ndarray) -> "Folding":
        """With the scales (inputs,) of one more matrix."""
        return Folding({**self.columns, name: scales}, {**self.divisors, _maker(name): scales})

    def folded(self, linear: Linear) -> np.ndarray:
        """W · s / divisor, float32: what the codes of a matrix stand for. Whose rows are divided has them in the same
        order everywhere (MAKERS).
        """
        weight, columns, divisor = linear.weight(), self.columns.get(linear.gguf), self.divisors.get(linear.gguf)
        weight = weight if columns is None else weight * columns
        return weight if divisor is None else weight / divisor[:, None]


def _maker(name: str) -> str:
    """GGUF's name of the tensor that makes the inputs of a matrix."""
    block, layer, kind, _ = name.split(".")
    return f"{block}.{layer}.{MAKERS[kind]}.weight"
