"""The encoder of a checkpoint: its numbers read from the metadata, and its tensors checked against them."""

from __future__ import annotations

import numpy as np

from quantlib.architectures import by_name
from quantlib.architectures.computation import Encoding
from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.encoder import Encoder, EncoderShape
from quantlib.lm.shape import Experts, Rotary

LIMIT = 2**20  # of the sizes that metadata name


def load_encoder(checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint. Raises CheckpointError for other models, and where a number or tensor is wrong."""
    view = gguf_view(checkpoint)
    known = by_name(view.architecture)
    if known is None or known.encodes is None:
        raise CheckpointError(f"{checkpoint.source} is no encoder that runs here.")
    kind = known.encodes
    shape = _read_shape(view, kind)
    for name, wanted in _needed(view, kind, shape).items():
        found = view.tensors.get(name)
        if found is None or tuple(found.shape) != wanted:
            raise CheckpointError(f"{view.source} lacks {name} in the shape {wanted}, without which it cannot be run.")
    own = {n: t for n, t in view.tensors.items() if n.startswith(kind.prefix) or not n.startswith(("enc.", "dec."))}
    table = own.pop("token_embd.weight")
    return Encoder(kind, shape, {n: t.rows().reshape(t.shape) for n, t in own.items()} | {"token_embd.weight": table})


def _count(view: Checkpoint, key: str, default: int | None = None) -> int:
    value = view.value(f"{view.architecture}.{key}", default)
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 1 <= value <= LIMIT:
        raise CheckpointError(f"{view.source} does not say {view.architecture}.{key}, or not as a count.")
    return int(value)


def _number(view: Checkpoint, key: str) -> float | None:
    value = view.value(f"{view.architecture}.{key}")
    if not isinstance(value, float | np.floating) or not 0 <= value < 2**40:
        return None
    return float(value)


def _read_shape(view: Checkpoint, kind: Encoding) -> EncoderShape:
    width, heads = _count(view, "embedding_length"), _count(view, "attention.head_count")
    head_dim = _count(view, "attention.key_length", width // heads or None)
    keys = ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon")
    epsilon = next((found for key in keys if (found := _number(view, key)) is not None), None)
    stated = view.value(f"{view.architecture}.attention.key_length") is not None
    if (width % heads and not stated) or head_dim % 2 or epsilon is None or epsilon >= 1:
        raise CheckpointError(f"{view.source} has numbers of heads or of norms that do not fit.")
    learned = view.tensors.get("position_embd.weight")
    rotary = Rotary(head_dim, _number(view, "rope.freq_base") or 10_000.0, _number(view, "rope.freq_base_swa") or None)
    experts = None
    if _count(view, "expert_count", 1) > 1:
        used = min(_count(view, "expert_used_count"), _count(view, "expert_count"))
        experts = Experts(_count(view, "expert_count"), used, 0, "softmax", False)
    return EncoderShape(
        layers=_count(view, "block_count"),
        heads=heads,
        head_dim=head_dim,
        context=_count(view, "context_length") if learned is None or not learned.shape else learned.shape[0],
        epsilon=epsilon,
        rotary=rotary if kind.positions == "rotary" else None,
        window=_count(view, "attention.sliding_window", LIMIT) if kind.full_every > 1 else 0,
        full_every=_count(view, "attention.sliding_window_pattern", kind.full_every) if kind.full_every > 1 else 1,
        experts=experts,
    )


def _needed(view: Checkpoint, kind: Encoding, s: EncoderShape) -> dict[str, tuple[int, ...]]:
    """The tensors without which an encoder of these numbers cannot be run, with their shapes."""
    width, inner = _count(view, "embedding_length"), s.heads * s.head_dim
    forward, there = _count(view, "feed_forward_length"), view.tensors
    table = there.get("token_embd.weight")
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (table.shape[0] if table and table.shape else 0, width)}
    if kind.positions == "learned":
        found["position_embd.weight"] = (s.context, width)
    elif kind.positions == "distances":
        found["enc.blk.0.attn_rel_b.weight"] = (_count(view, "attention.relative_buckets_count"), s.heads)
    norms = ("attn_norm", "ffn_norm") if kind.norm_first else ("attn_output_norm", "layer_output_norm")
    outer = f"{kind.prefix}output_norm" if kind.norm_first else "token_embd_norm"
    found[f"{outer}.weight"] = (width,)
    for layer in range(s.layers):
        w = f"{kind.prefix}blk.{layer}."
        parts: dict[str, tuple[int, ...]] = {f"{w}{kind.output}": (width, inner)}
        if f"{w}attn_qkv.weight" in there:
            parts[f"{w}attn_qkv"] = (3 * inner, width)
        else:
            parts |= {f"{w}attn_{part}": (inner, width) for part in "qkv"}
        if s.experts is not None and f"{w}ffn_gate_inp.weight" in there:
            parts[f"{w}ffn_gate_inp"] = (s.experts.count, width)
            parts[f"{w}ffn_up_exps"] = (s.experts.count, forward, width)
            parts[f"{w}ffn_down_exps"] = (s.experts.count, width, forward)
        else:
            parts[f"{w}ffn_up"] = (2 * forward if kind.halves else forward, width)
            parts[f"{w}ffn_down"] = (width, forward)
        # Where values are normalized already, the first layer of an encoder may do without.
        free = kind.norm_first and layer == 0 and "token_embd_norm.weight" in there
        parts |= {f"{w}{norm}": (width,) for norm in norms if not (free and norm == norms[0])}
        found |= {f"{name}.weight": shape for name, shape in parts.items()}
    return found
