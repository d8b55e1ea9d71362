"""What llama-quantize's rules ask of a model's architecture, by GGUF's name of it.

Source: tensor_allows_quantization() and llama_tensor_get_type_impl() in src/llama-quant.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass

OTHER_DOWN = "falcon"  # its feed-forward down matrices and attention outputs have rules of their own
# Architectures whose models of 80 layers count as 70B: all of them, or those whose heads share keys and values.
SEVENTY_B = {"llama": "shared", "qwen2": "all", "deci": "all", "olmo": "all"}


@dataclass(frozen=True)
class Exceptions:
    """Parts of names. kept: tensors that stay as they are. finest: matrices that get Q8_0 whatever a recipe says.

    experts_alone: of stacks, only experts count as such.
    """

    kept: tuple[str, ...] = ()
    finest: tuple[str, ...] = ()
    experts_alone: bool = False


NONE = Exceptions()
_EXCEPTIONS = {
    "glm5-next": Exceptions(
        kept=(
            "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
            "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
            "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
        ),
        finest=("attn_q_a", "attn_q_b", "nextn.eh_proj"),
    ),
    "bailingmoe3": Exceptions(experts_alone=True),
}  # fmt: skip


def exceptions_of(architecture: str | None) -> Exceptions:
    """What holds for the tensors of one architecture alone; nothing for most."""
    return _EXCEPTIONS.get(architecture or "", NONE)


def is_seventy_b(architecture: str | None, layers: int, heads_per_kv: int) -> bool:
    """What llama.cpp takes for a 70B model."""
    which = SEVENTY_B.get(architecture or "")
    return layers == 80 and (which == "all" or (which == "shared" and heads_per_kv != 1))
