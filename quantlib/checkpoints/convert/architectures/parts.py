"""What architectures share: groups of weights, and the metadata keys of llama.cpp's converter in its order."""

from __future__ import annotations

from dataclasses import replace

from quantlib.checkpoints.convert.architecture import (
    FILE_TYPE,
    UNCHANGED,
    Change,
    Half,
    Key,
    Keys,
    Permuted,
    Weight,
)
from quantlib.checkpoints.convert.rope import scaling_keys

EMBEDDING = Weight("token_embd", "embed_tokens", ("vocab", "width"))
# Left out where the model shares the embedding, also by models that do not say so: llama.cpp then uses token_embd.
OUTPUT = Weight("output", "lm_head", ("vocab", "width"), needed=False)
# For architectures of which llama.cpp wants it in any case.
OWN_OUTPUT = replace(OUTPUT, stand_in="embed_tokens")


def outer(norm: Change = UNCHANGED, output: Weight = OUTPUT) -> tuple[Weight, ...]:
    """Embedding, last norm and output matrix."""
    return (EMBEDDING, Weight("output_norm", "norm", ("width",), norm), output)


def attention(permuted: bool = False) -> tuple[Weight, ...]:
    """Query, key, value and output projections; permuted: for models whose rotary positions pair neighbours."""
    q, k = (Permuted("heads"), Permuted("groups")) if permuted else (UNCHANGED, UNCHANGED)
    return (
        Weight("blk.{}.attn_q", "layers.{}.self_attn.q_proj", ("q", "width"), q, bias="optional"),
        Weight("blk.{}.attn_k", "layers.{}.self_attn.k_proj", ("kv", "width"), k, bias="optional"),
        Weight("blk.{}.attn_v", "layers.{}.self_attn.v_proj", ("kv", "width"), bias="optional"),
        Weight("blk.{}.attn_output", "layers.{}.self_attn.o_proj", ("width", "q"), bias="optional"),
    )


def head_norms(change: Change = UNCHANGED) -> tuple[Weight, ...]:
    """Norms of each head's queries and keys."""
    return (
        Weight("blk.{}.attn_q_norm", "layers.{}.self_attn.q_norm", ("head",), change),
        Weight("blk.{}.attn_k_norm", "layers.{}.self_attn.k_norm", ("head",), change),
    )


NORMS = (
    Weight("blk.{}.attn_norm", "layers.{}.input_layernorm", ("width",)),
    Weight("blk.{}.ffn_norm", "layers.{}.post_attention_layernorm", ("width",)),
)
FEED_FORWARD = (
    Weight("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj", ("ffn", "width"), bias="optional"),
    Weight("blk.{}.ffn_up", "layers.{}.mlp.up_proj", ("ffn", "width"), bias="optional"),
    Weight("blk.{}.ffn_down", "layers.{}.mlp.down_proj", ("width", "ffn"), bias="optional"),
)


def experts(router: str, each: str, gate: str, up: str, down: str, order: str) -> tuple[Weight, ...]:
    """A router and stacks of the experts' matrices, by their names; order: the stacks as the converter writes them.

    transformers 5 may keep gate and up of all experts in one tensor.
    """
    fused = f"{each.rpartition('.{}')[0]}.gate_up_proj"
    stacks = {
        "gate": ("ffn_gate_exps", gate, ("experts", "expert ffn", "width"), (fused, Half(0))),
        "up": ("ffn_up_exps", up, ("experts", "expert ffn", "width"), (fused, Half(1))),
        "down": (
            "ffn_down_exps",
            down,
            ("experts", "width", "expert ffn"),
            (f"{each.rpartition('.{}')[0]}.down_proj", UNCHANGED),
        ),
    }
    named = (stacks[which] for which in order.split())
    return (
        Weight("blk.{}.ffn_gate_inp", router, ("experts", "width")),
        *(Weight(f"blk.{{}}.{name}", f"{each}.{hf}", shape, fused=fused) for name, hf, shape, fused in named),
    )


# As TextModel.set_gguf_parameters() writes them: a key is left out where the model has no such number.
SIZES: tuple[Keys, ...] = (
    Key("block_count", "uint32", "layers"),
    Key("context_length", "uint32", "context"),
    Key("embedding_length", "uint32", "width"),
    Key("feed_forward_length", "uint32", "ffn"),
    Key("attention.head_count", "uint32", "heads"),
    Key("attention.head_count_kv", "uint32", "kv_heads"),
)
FREQUENCY = Key("rope.freq_base", "float32", lambda config: config.rope.theta)
SLIDING_FREQUENCY = Key("rope.freq_base_swa", "float32", lambda config: config.rope.local_theta)
RMS_EPSILON = Key("attention.layer_norm_rms_epsilon", "float32", "rms_eps")
EPSILON = Key("attention.layer_norm_epsilon", "float32", "norm_eps")
EXPERTS: tuple[Keys, ...] = (
    Key("expert_count", "uint32", "experts"),
    Key("expert_used_count", "uint32", "experts_used"),
)
HEADS: tuple[Keys, ...] = (
    Key("attention.key_length", "uint32", "head_dim"),
    Key("attention.value_length", "uint32", "head_dim"),
)
WINDOW = Key("attention.sliding_window", "uint32", "window")
POOLING = Key("pooling_type", "uint32", "pooling")
ROTARY: tuple[Keys, ...] = (scaling_keys, FREQUENCY, SLIDING_FREQUENCY)
STANDARD: tuple[Keys, ...] = (*SIZES, *ROTARY, RMS_EPSILON, EPSILON, *EXPERTS, *HEADS, FILE_TYPE)


def window_ignored(config) -> str | None:
    """A warning for models that were trained to look back only so far."""
    if not config.window or config.window >= config.context:
        return None
    return (
        f"The model looks back over {config.window:,} tokens, and llama.cpp over all of them: texts longer than that "
        "come out otherwise than in transformers."
    )
