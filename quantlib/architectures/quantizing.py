"""What llama-quantize's rules ask of a model's architecture, as a value.

Source: tensor_allows_quantization() and llama_tensor_get_type_impl() in src/llama-quant.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rules:
    """Where an architecture's tensors are chosen for in their own way.

    Parts of names: kept: tensors that stay as they are; finest: matrices that get Q8_0 whatever a recipe says.
    experts_alone: of stacks, only experts count as such. own_down: feed-forward down matrices and attention outputs
    have rules of their own. fine_output: the output matrix gets Q8_0. seventy_b: models of 80 layers count as 70B, all
    of them or those whose heads share keys and values.
    """

    kept: tuple[str, ...] = ()
    finest: tuple[str, ...] = ()
    experts_alone: bool = False
    own_down: bool = False
    fine_output: bool = False
    seventy_b: Literal["all", "shared"] | None = None

    def is_seventy_b(self, layers: int, heads_per_kv: int) -> bool:
        """What llama.cpp takes for a 70B model."""
        return layers == 80 and (self.seventy_b == "all" or (self.seventy_b == "shared" and heads_per_kv != 1))


AS_USUAL = Rules()
