"""What architectures share: groups of weights, and the metadata keys of llama.cpp's converter in its order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from quantlib.architectures.changes import UNCHANGED, Change, half, permuted
from quantlib.architectures.config import Config
from quantlib.architectures.declaration import FILE_TYPE, Key, Keys, Layers, Source, Weight, where_stated
from quantlib.architectures.rope import WRITTEN


def untied(config: Config, layer: int) -> bool:
    """Whether the output matrix is another one than the embedding."""
    return config.tied is not True


def unless_denied(setting: str) -> Callable[[Config, int], bool]:
    """Whether a model has a weight, which it has unless config.json says otherwise."""
    return lambda config, layer: getattr(config, setting) is not False


def always(config: Config) -> bool:
    """For biases that all models of an architecture have."""
    return True


def never(config: Config) -> bool:
    """For biases that none has."""
    return False


def stated_of_attention(config: Config) -> bool:
    """Whether config.json says that the matrices of attention have a bias."""
    return config.attention_bias is True or where_stated(config)


def stated_of_forward(config: Config) -> bool:
    """Whether config.json says that the feed-forward matrices have a bias."""
    return config.mlp_bias is True or where_stated(config)


EMBEDDING = Weight("token_embd", "embed_tokens", ("vocab", "width"))
# Left out where the model shares the embedding, also by models that do not say so: llama.cpp then uses token_embd.
OUTPUT = Weight("output", "lm_head", ("vocab", "width"), needed=False, there=untied)
# For architectures of which llama.cpp wants it in any case.
OWN_OUTPUT = replace(OUTPUT, others=(Source("embed_tokens"),))


def outer(norm: Change = UNCHANGED, output: Weight = OUTPUT) -> tuple[Weight, ...]:
    """Embedding, last norm and output matrix."""
    return (EMBEDDING, Weight("output_norm", "norm", ("width",), norm), output)


def attention(
    interleaved: bool = False,
    biased: Callable[[Config], bool] = stated_of_attention,
    output_biased: Callable[[Config], bool] = stated_of_attention,
) -> tuple[Weight, ...]:
    """Query, key, value and output projections; interleaved: for models whose rotary positions pair neighbours.

    biased, output_biased: which models have biases of queries, keys and values, and of the output.
    """
    q, k = (permuted("heads"), permuted("groups")) if interleaved else (UNCHANGED, UNCHANGED)
    inner = (
        Weight("blk.{}.attn_q", "layers.{}.self_attn.q_proj", ("q", "width"), q),
        Weight("blk.{}.attn_k", "layers.{}.self_attn.k_proj", ("kv", "width"), k),
        Weight("blk.{}.attn_v", "layers.{}.self_attn.v_proj", ("kv", "width")),
    )
    output = Weight("blk.{}.attn_output", "layers.{}.self_attn.o_proj", ("width", "q"))
    return (
        *(replace(weight, bias="optional", biased=biased) for weight in inner),
        replace(output, bias="optional", biased=output_biased),
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
    Weight("blk.{}.ffn_gate", "layers.{}.mlp.gate_proj", ("ffn", "width"), bias="optional", biased=stated_of_forward),
    Weight("blk.{}.ffn_up", "layers.{}.mlp.up_proj", ("ffn", "width"), bias="optional", biased=stated_of_forward),
    Weight("blk.{}.ffn_down", "layers.{}.mlp.down_proj", ("width", "ffn"), bias="optional", biased=stated_of_forward),
)


def _whole(name: str, change: Change) -> tuple[Source, Source]:
    """All experts in one tensor, whose name may or may not end in .weight."""
    return Source(name, change, exact=True), Source(name, change)


def experts(router: str, each: str, gate: str, up: str, down: str, order: str) -> tuple[Weight, ...]:
    """A router and stacks of the experts' matrices, by their names; order: the stacks as the converter writes them.

    transformers 5 may keep gate and up of all experts in one tensor; MLX stacks each kind.
    """
    fused, whole_down = (f"{each.rpartition('.{}')[0]}.{part}" for part in ("gate_up_proj", "down_proj"))
    stacked = f"{each.rpartition('.experts.{}')[0]}.switch_mlp."
    inner = ("experts", "expert ffn", "width")
    sources = {
        "gate": (*_whole(fused, half(0)), Source(f"{stacked}gate_proj")),
        "up": (*_whole(fused, half(1)), Source(f"{stacked}up_proj")),
        "down": (*_whole(whole_down, UNCHANGED), Source(f"{stacked}down_proj")),
    }
    stacks = {
        "gate": ("ffn_gate_exps", gate, inner, sources["gate"]),
        "up": ("ffn_up_exps", up, inner, sources["up"]),
        "down": ("ffn_down_exps", down, ("experts", "width", "expert ffn"), sources["down"]),
    }
    named = (stacks[which] for which in order.split())
    return (
        Weight("blk.{}.ffn_gate_inp", router, ("experts", "width")),
        *(Weight(f"blk.{{}}.{name}", f"{each}.{hf}", shape, others=others) for name, hf, shape, others in named),
    )


def scaling_keys(config: Config) -> tuple[Key, ...]:
    """rope.scaling.*: nothing where positions are not stretched, or are by a tensor."""
    rope, kind = config.rope, WRITTEN.get(config.rope.type)
    if kind is None or (kind != "longrope" and rope.factor is None):
        return ()
    values: dict[str, tuple[str, object]] = {"type": ("string", kind)}
    if kind != "longrope":
        values["factor"] = ("float32", rope.factor)
    if kind == "yarn":
        values |= {
            "original_context_length": ("uint32", rope.original_context),
            "yarn_ext_factor": ("float32", rope.extrapolation_factor),
            "yarn_attn_factor": ("float32", rope.attention_factor),
            "yarn_beta_fast": ("float32", rope.beta_fast),
            "yarn_beta_slow": ("float32", rope.beta_slow),
        }
    return tuple(_constant(f"rope.scaling.{name}", kind, value) for name, (kind, value) in values.items())


def _constant(name: str, kind: str, value: object) -> Key:
    return Key(name, kind, lambda config: value)


# What makes the inputs of a kind of matrix, where norms and matrices follow each other as in Llama.
FOLDS: Mapping[str, str] = MappingProxyType(
    {
        "attn_q": "attn_norm", "attn_k": "attn_norm", "attn_v": "attn_norm",
        "ffn_gate": "ffn_norm", "ffn_up": "ffn_norm", "ffn_down": "ffn_up", "attn_output": "attn_v",
    }
)  # fmt: skip


# As TextModel.set_gguf_parameters() writes them: a key is left out where the model has no such number.
SIZES: tuple[Keys, ...] = (
    Key("block_count", "uint32", "blocks"),
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
GATING = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}  # how a router's scores become weights
EXPERTS: tuple[Keys, ...] = (
    Key("expert_count", "uint32", "experts"),
    Key("expert_used_count", "uint32", "experts_used"),
    Key("expert_group_count", "uint32", "expert_groups"),
    Key("expert_group_used_count", "uint32", "expert_groups_used"),
    Key("expert_gating_func", "uint32", lambda config: GATING.get(config.scoring)),
)
HEADS: tuple[Keys, ...] = (
    Key("attention.key_length", "uint32", "head_dim"),
    Key("attention.value_length", "uint32", "head_dim"),
)
WINDOW = Key("attention.sliding_window", "uint32", "window")
POOLING = Key("pooling_type", "uint32", "pooling")
SECTIONS = Key("rope.dimension_sections", "array[int32]", lambda config: list(config.rope.sections) or None)
ROTARY: tuple[Keys, ...] = (scaling_keys, SECTIONS, FREQUENCY, SLIDING_FREQUENCY)
STANDARD: tuple[Keys, ...] = (*SIZES, *ROTARY, RMS_EPSILON, EPSILON, *EXPERTS, *HEADS, FILE_TYPE)


def window_ignored(config: Config) -> str | None:
    """A warning for models that were trained to look back only so far."""
    if not config.window or config.window >= config.context:
        return None
    return (
        f"The model looks back over {config.window:,} tokens, and llama.cpp over all of them: texts longer than that "
        "come out otherwise than in transformers."
    )


def lacking_prediction(config: Config) -> str | None:
    """A note where layers that predict further tokens are named, and not stored: transformers saves models so."""
    if not config.named_mtp or config.stored_mtp:
        return None
    done = (
        "it is written down as llama.cpp's converter does, and llama.cpp runs the model without it"
        if config.mtp
        else "the file names none either, because llama.cpp refuses one that lacks the layer"
    )
    return f"config.json names a layer that predicts further tokens (MTP), and the checkpoint has none: {done}."


def on(layers: Layers, *weights: Weight) -> tuple[Weight, ...]:
    """The weights in these layers only."""
    return tuple(replace(weight, layers=layers) for weight in weights)


def of_type(*types: str, every: int = 1) -> Layers:
    """The layers that layer_types gives one of these types; where it is silent, one in so many, the last of each."""

    def layers(config: Config) -> list[tuple[int, int]]:
        if config.layer_types is None:
            return [(layer, layer) for layer in range(config.layers) if (layer + 1) % every == 0]
        return [(layer, layer) for layer, kind in enumerate(config.layer_types[: config.layers]) if kind in types]

    return layers


def multiplied(key: str, attribute: str) -> Key:
    """A multiplier, which is written where it is there and not zero."""
    return Key(key, "float32", lambda config: getattr(config, attribute) or None)


def usual(
    layers: int, width: int, heads: int, ffn: int | None, vocab: int, context: int, **more: object
) -> dict[str, object]:
    """What transformers fills in of a decoder's sizes."""
    sizes = {"layers": layers, "width": width, "heads": heads, "ffn": ffn, "vocab": vocab, "context": context}
    return {**sizes, "rms_eps": 1e-6, **more}


def partly_rotated(default: float) -> Key:
    """How many values of a head turn with their position: a share, which config.json may state."""

    def dims(config: Config) -> int:
        return int(config.head_width * (default if config.rope.partial is None else config.rope.partial))

    return Key("rope.dimension_count", "uint32", dims)


VOCAB_SIZE = Key("vocab_size", "uint32", "vocab")


def sliding_pattern(every: int) -> Key:
    """Which layers see a window only: by layer_types, or all but one in so many; nothing where there is no window."""

    def pattern(config: Config) -> list[bool] | None:
        if config.window is None:
            return None
        kinds = config.layer_types
        if kinds is None:
            return [(layer + 1) % every != 0 for layer in range(config.layers)]
        return [kind == "sliding_attention" for kind in kinds]

    return Key("attention.sliding_window_pattern", "array[bool]", pattern)
