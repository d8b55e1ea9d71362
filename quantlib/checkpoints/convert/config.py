"""config.json of a Llama or Mistral model, read with nothing taken on trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.untrusted import Fields

SUPPORTED = {"llama": ("LlamaForCausalLM",), "mistral": ("MistralForCausalLM",)}

MAX_LAYERS = 1024
MAX_WIDTH = 2**24
MAX_VOCAB = 2**22


@dataclass(frozen=True)
class RopeScaling:
    """How a model's rotary positions are stretched: rope_type and its numbers, None where not given."""

    type: str
    factor: float | None = None
    low_freq_factor: float | None = None
    high_freq_factor: float | None = None
    original_context: int | None = None
    extrapolation_factor: float | None = None
    attention_factor: float | None = None
    beta_fast: float | None = None
    beta_slow: float | None = None


@dataclass(frozen=True)
class LlamaConfig:
    """The hyperparameters that a GGUF file of architecture "llama" states."""

    layers: int
    context: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    rms_eps: float
    rope_theta: float
    rope: RopeScaling
    tied: bool
    name_or_path: str | None


def read_llama_config(path: Path, values: dict[str, object]) -> LlamaConfig:
    """The hyperparameters in a config.json at `path`, absent ones as transformers fills them in.

    Raises CheckpointError for another architecture, for a value of the wrong type or out of range, and for numbers that
    contradict each other.
    """
    fields = Fields(path, values)
    model_type = _model_type(path, fields)
    width = fields.int("hidden_size", 1, MAX_WIDTH, 4096)
    heads = fields.int("num_attention_heads", 1, 2**16, 32)
    kv_heads = fields.int("num_key_value_heads", 1, 2**16, 8 if model_type == "mistral" else heads)
    head_dim = fields.int("head_dim", 2, 2**16)
    if head_dim is None:
        if width % heads:
            raise fault(path, f"divides hidden_size {width:,} by {heads:,} attention heads, which leaves a remainder.")
        head_dim = width // heads
    if heads % kv_heads:
        raise fault(
            path, f"shares {kv_heads:,} key-value heads among {heads:,} attention heads, which leaves a remainder."
        )
    if head_dim % 2:
        raise fault(path, f"has a head_dim of {head_dim:,}; rotary positions need an even one.")
    return LlamaConfig(
        layers=fields.int("num_hidden_layers", 1, MAX_LAYERS, 32),
        context=fields.int("max_position_embeddings", 1, 2**31 - 1, 131_072 if model_type == "mistral" else 2048),
        width=width,
        ffn=fields.int("intermediate_size", 1, MAX_WIDTH, 14_336 if model_type == "mistral" else 11_008),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=fields.int("vocab_size", 1, MAX_VOCAB, 32_000),
        rms_eps=fields.float("rms_norm_eps", 0.0, 1.0, 1e-6),
        rope_theta=_rope_fields(path, fields)[1],
        rope=_rope_fields(path, fields)[0],
        tied=fields.bool("tie_word_embeddings", False),
        name_or_path=fields.str("_name_or_path", limit=4096),
    )


def _model_type(path: Path, fields: Fields) -> str:
    model_type = fields.str("model_type", limit=256)
    architectures = fields.list("architectures")
    name = architectures[0] if architectures and isinstance(architectures[0], str) else None
    supported = SUPPORTED.get(model_type, ())
    if not supported or (name is not None and name not in supported):
        raise fault(
            path,
            f"describes the architecture {shown(name or model_type)}, and only LlamaForCausalLM and MistralForCausalLM "
            "are converted; convert it to GGUF first (GGUF files of any architecture can be quantized).",
        )
    if fields.values.get("num_local_experts") is not None:
        raise fault(path, "describes a mixture of experts, which is not converted; convert it to GGUF first.")
    quantization = fields.object("quantization_config")
    if quantization:
        how = Fields(path, quantization).str("quant_method", "an unnamed method", limit=256)
        raise fault(path, f"says its weights are already quantized ({shown(how)}); start from the original checkpoint.")
    return model_type


def _rope_fields(path: Path, fields: Fields) -> tuple[RopeScaling, float]:
    """Rope scaling and base frequency: rope_parameters as of transformers 5, rope_scaling and rope_theta before."""
    key = "rope_parameters" if fields.values.get("rope_parameters") is not None else "rope_scaling"
    rope = Fields(path, fields.object(key), f"in {shown(key)} that ")
    theta = rope.float("rope_theta", 1e-3, 1e12, fields.float("rope_theta", 1e-3, 1e12, 10_000.0))
    original = rope.int("original_max_position_embeddings", 1, 2**31 - 1)
    if original is None:
        original = fields.int("original_max_position_embeddings", 1, 2**31 - 1)
    kind = rope.str("rope_type", rope.str("type", "default", limit=64), limit=64)
    attention = rope.float("attention_factor", -1e6, 1e6, rope.float("attn_factor", -1e6, 1e6))
    scaling = RopeScaling(
        type=kind.lower(),
        factor=rope.float("factor", 1e-6, 1e6),
        low_freq_factor=rope.float("low_freq_factor", 1e-6, 1e6),
        high_freq_factor=rope.float("high_freq_factor", 1e-6, 1e6),
        original_context=original,
        extrapolation_factor=rope.float("extrapolation_factor", -1e6, 1e6),
        attention_factor=attention,
        beta_fast=rope.float("beta_fast", -1e6, 1e6),
        beta_slow=rope.float("beta_slow", -1e6, 1e6),
    )
    if scaling.type == "yarn" and scaling.factor is not None and original is None:
        raise fault(path, "scales its positions by yarn, but does not say 'original_max_position_embeddings'.")
    return scaling, theta
