"""What llama-quantize's rules ask of a model's architecture. Source: llama_tensor_get_type() in src/llama-quant.cpp."""

OTHER_DOWN = "falcon"  # its feed-forward down matrices and attention outputs have rules of their own
# Architectures whose models of 80 layers count as 70B: all of them, or those whose heads share keys and values.
SEVENTY_B = {"llama": "shared", "qwen2": "all", "deci": "all", "olmo": "all"}


def is_seventy_b(architecture: str | None, layers: int, heads_per_kv: int) -> bool:
    """What llama.cpp takes for a 70B model."""
    which = SEVENTY_B.get(architecture or "")
    return layers == 80 and (which == "all" or (which == "shared" and heads_per_kv != 1))
