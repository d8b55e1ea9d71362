"""Architectures of GGUF files that are requantized and sized, and not converted here: their names and what is special.

Source: src/llama-arch.cpp, src/llama-quant.cpp and src/models of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantlib.architectures.keeping import USUAL, Keeping
from quantlib.architectures.quantizing import AS_USUAL, Rules


@dataclass(frozen=True)
class Requantized:
    """An architecture by GGUF's name, with the name that messages use, how llama-quantize chooses for its tensors and
    what llama.cpp keeps of a conversation. prefixes: what may stand before the names of its tensors elsewhere.
    """

    name: str
    title: str
    rules: Rules = AS_USUAL
    keeps: Keeping = USUAL
    prefixes: tuple[str, ...] = ()


REQUANTIZED = (
    Requantized("falcon", "Falcon", Rules(own_down=True, fine_output=True), prefixes=("transformer.",)),
    Requantized("deci", "DeciLM", Rules(seventy_b="all")),
    Requantized("olmo", "OLMo", Rules(seventy_b="all")),
    Requantized("mamba", "Mamba", keeps=Keeping(state="all"), prefixes=("backbone.",)),
    Requantized("distilbert", "DistilBERT", prefixes=("distilbert.",)),
    Requantized("bailingmoe3", "Ling 3", Rules(experts_alone=True)),
    Requantized(
        "glm5-next",
        "GLM-5 Next",
        Rules(
            kept=(
                "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
                "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
                "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
            ),
            finest=("attn_q_a", "attn_q_b", "nextn.eh_proj"),
        ),
    ),
)  # fmt: skip
