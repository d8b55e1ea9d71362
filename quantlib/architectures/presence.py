"""Which of the tensors that a declaration calls optional a model has, as its config.json alone tells."""

from __future__ import annotations

from collections.abc import Mapping

from quantlib.architectures.config import Config
from quantlib.architectures.declaration import Architecture, Weight

QUERIES, OUTPUT, FORWARD = ("attn_q", "attn_k", "attn_v"), ("attn_output",), ("ffn_gate", "ffn_up", "ffn_down")
# Which matrices have a bias: by the architecture alone, or where a key of config.json says so.
ALWAYS_BIASED = {**dict.fromkeys(("qwen2", "qwen2moe", "qwen2vl"), QUERIES), "gpt-oss": QUERIES + OUTPUT}
OUTPUT_UNBIASED = ("glm4", "glm4moe")
# Architectures that share the embedding with the output where config.json is silent, as transformers fills it in.
TIED = ("gemma", "gemma2", "gemma3", "gemma3n", "gemma4", "cohere2", "lfm2", "smollm3", "gpt2", "t5", "starcoder2")
VALUES_ARE_KEYS = "gemma4"  # in layers that see everything, where attention_k_eq_v says so
# The key that says whether tensors are there; where it is absent, they are.
OPTIONAL = {
    "attn_q_norm": "use_qk_norm", "attn_k_norm": "use_qk_norm", "exp_probs_b.bias": "balanced",
    "nextn.embed_tokens": "mtp_embeddings", "nextn.shared_head_head": "mtp_embeddings",
}  # fmt: skip


def there(weight: Weight, layer: int, architecture: Architecture, config: Config, text: Mapping[str, object]) -> bool:
    """Whether a model has this weight in this layer. text: config.json, with what it says of the language model."""
    if weight.needed:
        return True
    kind = _kind(weight)
    if kind == "output":
        stated = config.found.get("tied")
        return not (architecture.name in TIED if stated is None else stated)
    if architecture.name == VALUES_ARE_KEYS and kind == "attn_v":
        kinds = config.layer_types
        slides = (layer + 1) % 6 != 0 if kinds is None else kinds[layer] == "sliding_attention"
        return slides or not text.get("attention_k_eq_v")
    return text.get(OPTIONAL[kind], True) is not False if kind in OPTIONAL else True


def biased(weight: Weight, architecture: Architecture, text: Mapping[str, object]) -> bool:
    """Whether a model's weight comes with a bias."""
    if weight.bias != "optional":
        return weight.bias == "needed"
    kind = _kind(weight)
    stated = QUERIES if architecture.name in OUTPUT_UNBIASED else QUERIES + OUTPUT
    return (
        kind in ALWAYS_BIASED.get(architecture.name, ())
        or (kind in stated and text.get("attention_bias") is True)
        or (kind in FORWARD and text.get("mlp_bias") is True)
        or text.get("use_bias") is True
    )


def _kind(weight: Weight) -> str:
    return weight.gguf.rpartition("{}.")[2]
