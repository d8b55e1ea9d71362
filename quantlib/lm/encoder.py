"""Encoders in float32 numpy: every token sees every other, and what comes out are vectors of tokens.

    x = norm(embedding + positions);  for each layer:  x = norm(x + attention(x));  x = norm(x + feed_forward(x))

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quantlib.architectures import by_name
from quantlib.architectures.computation import Encoding
from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.model import weight_of
from quantlib.lm.nonlinear import activated, softmax

LIMIT = 2**20  # of the sizes that metadata name


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder that runs. weights: by GGUF name, float32 arrays or tensors that are decoded at each use."""

    kind: Encoding
    layers: int
    heads: int
    context: int
    epsilon: float
    weights: Mapping[str, np.ndarray | Tensor] = field(repr=False)

    def weight(self, name: str) -> np.ndarray:
        """One tensor as float32. Raises CheckpointError where there is none."""
        return weight_of(self.weights, name)

    def hidden(self, tokens: np.ndarray) -> np.ndarray:
        """The last layer's vectors: int (n,) -> float32 (n, width). Raises CheckpointError for too many tokens."""
        tokens = np.asarray(tokens)
        if tokens.size > self.context:
            raise CheckpointError(f"A text of {tokens.size:,} tokens is longer than the model's {self.context:,}.")
        x = self.weight("token_embd.weight")[tokens] + self.weight("position_embd.weight")[: tokens.size]
        if "token_types.weight" in self.weights:
            x = x + self.weight("token_types.weight")[0]
        x = self._norm(x, "token_embd_norm")
        for layer in range(self.layers):
            w = f"blk.{layer}."
            x = self._norm(x + self._attention(x, w), f"{w}attn_output_norm")
            inner = activated(self.kind.activation, self._product(x, f"{w}ffn_up"), None)
            x = self._norm(x + self._product(inner, f"{w}ffn_down"), f"{w}layer_output_norm")
        return x

    def _attention(self, x: np.ndarray, w: str) -> np.ndarray:
        """softmax(q · kᵀ / sqrt(d)) · v over all tokens, head by head."""
        parts = (self._product(x, f"{w}attn_{part}") for part in "qkv")
        q, k, v = (part.reshape(len(x), self.heads, -1).swapaxes(0, 1) for part in parts)  # (heads, n, d)
        mixed = softmax(q @ k.swapaxes(1, 2) / np.float32(np.sqrt(q.shape[-1]))) @ v
        return self._product(mixed.swapaxes(0, 1).reshape(len(x), -1), f"{w}attn_output")

    def _product(self, x: np.ndarray, name: str) -> np.ndarray:
        y = x @ self.weight(f"{name}.weight").T
        return y + self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else y

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return centred / scale * self.weight(f"{name}.weight") + self.weight(f"{name}.bias")


def load_encoder(checkpoint: Checkpoint) -> Encoder:
    """The encoder of a checkpoint. Raises CheckpointError for other models, and where a number or tensor is wrong."""
    view = gguf_view(checkpoint)
    known = by_name(view.architecture)
    if known is None or known.encodes is None:
        raise CheckpointError(f"{checkpoint.source} is no encoder that runs here.")

    def count(key: str) -> int:
        value = view.value(f"{view.architecture}.{key}")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LIMIT:
            raise CheckpointError(f"{view.source} does not say {view.architecture}.{key}, or not as a count.")
        return value

    width, epsilon = count("embedding_length"), view.value(f"{view.architecture}.attention.layer_norm_epsilon")
    layers, heads, inner = count("block_count"), count("attention.head_count"), count("feed_forward_length")
    if width % heads or not isinstance(epsilon, float | np.floating) or not 0 <= epsilon < 1:
        raise CheckpointError(f"{view.source} has numbers of heads or of norms that do not fit.")
    shapes = {"attn_q": (width, width), "attn_k": (width, width), "attn_v": (width, width),
              "attn_output": (width, width), "ffn_up": (inner, width), "ffn_down": (width, inner)}  # fmt: skip
    for layer in range(layers):
        for part, shape in shapes.items():
            found = view.tensors.get(f"blk.{layer}.{part}.weight")
            if found is None or tuple(found.shape) != shape:
                raise CheckpointError(f"{view.source} lacks blk.{layer}.{part}.weight in the shape {shape}.")
    positions = view.tensors.get("position_embd.weight")
    if positions is None or positions.n != width:
        raise CheckpointError(f"{view.source} lacks position_embd.weight, without which it cannot be run.")
    weights = {name: tensor.rows().reshape(tensor.shape) for name, tensor in view.tensors.items()}
    return Encoder(known.encodes, layers, heads, positions.nrows, float(epsilon), weights)
