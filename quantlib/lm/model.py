"""The Llama architecture in float32 numpy, from any checkpoint: a Hugging Face folder or a GGUF file of any formats.

    x = embedding[tokens]
    for each layer:  x = x + attention(norm(x));  x = x + feed_forward(norm(x))
    logits = output · norm(x)

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023; rotary positions after Su et al., 2021.
"""

from dataclasses import dataclass, field

import numpy as np

from quantlib.checkpoints import Checkpoint, gguf_view
from quantlib.errors import CheckpointError

LARGEST = 3_000_000_000  # weights that are decoded to float32 at once: 12 GB


@dataclass(frozen=True)
class Shape:
    """The numbers that make one Llama differ from another."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    norm_epsilon: float
    rope_base: float


@dataclass
class Cache:
    """Keys and values of the tokens seen so far: for each layer (tokens, kv_heads, head_dim)."""

    keys: list[np.ndarray] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.keys[0]) if self.keys else 0

    def append(self, layer: int, key: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the keys and values of new tokens to a layer; returns all of the layer."""
        if layer == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer] = np.concatenate((self.keys[layer], key))
            self.values[layer] = np.concatenate((self.values[layer], value))
        return self.keys[layer], self.values[layer]


class Llama:
    """A loaded model. weights: float32 by GGUF name, as the checkpoint's format decodes them."""

    def __init__(self, checkpoint: Checkpoint):
        """Decode all tensors. Raises CheckpointError for other architectures, and where a tensor is missing."""
        view = gguf_view(checkpoint)
        if view.architecture != "llama":
            raise CheckpointError(
                f"{checkpoint.source} is a {view.architecture} model; only Llama models can be run yet."
            )
        if view.size > LARGEST:
            raise CheckpointError(f"{checkpoint.source} has {view.size:,} weights; up to {LARGEST:,} can be run here.")
        self.shape = _shape(view)
        self.weights = {name: t.rows().reshape(t.shape) for name, t in view.tensors.items()}
        if "output.weight" not in self.weights and "token_embd.weight" in self.weights:
            self.weights["output.weight"] = self.weights["token_embd.weight"]
        _check(view, self.weights, self.shape)

    def __call__(self, tokens: np.ndarray, cache: Cache | None = None) -> np.ndarray:
        """Logits after each token: int (n,) -> float32 (n, vocabulary). cache: what came before; it grows by n."""
        cache = Cache() if cache is None else cache
        positions = cache.length + np.arange(len(tokens))
        turn = self._rotation(positions)
        x = self.weights["token_embd.weight"][tokens]  # (n, hidden)
        for layer in range(self.shape.layers):
            w = f"blk.{layer}."
            x = x + self._attention(self._norm(x, w + "attn_norm.weight"), layer, turn, positions, cache)
            x = x + self._feed_forward(self._norm(x, w + "ffn_norm.weight"), w)
        return self._norm(x, "output_norm.weight") @ self.weights["output.weight"].T

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """x / sqrt(mean(x²) + ε) · g"""
        mean = np.mean(np.square(x), axis=-1, keepdims=True)
        return x / np.sqrt(mean + np.float32(self.shape.norm_epsilon)) * self.weights[name]

    def _feed_forward(self, x: np.ndarray, w: str) -> np.ndarray:
        """down · (silu(gate · x) * (up · x))"""
        gate = x @ self.weights[w + "ffn_gate.weight"].T
        up = x @ self.weights[w + "ffn_up.weight"].T
        return (gate / (1 + np.exp(-gate)) * up) @ self.weights[w + "ffn_down.weight"].T

    def _attention(self, x, layer: int, turn, positions, cache: Cache) -> np.ndarray:
        """softmax(q·k / sqrt(d)) · v over the tokens up to each one's own; query heads share key-value heads."""
        s, w, n = self.shape, f"blk.{layer}.", len(x)
        q = (x @ self.weights[w + "attn_q.weight"].T).reshape(n, s.heads, s.head_dim)
        k = (x @ self.weights[w + "attn_k.weight"].T).reshape(n, s.kv_heads, s.head_dim)
        v = (x @ self.weights[w + "attn_v.weight"].T).reshape(n, s.kv_heads, s.head_dim)
        k, v = cache.append(layer, _rotate(k, turn), v)  # (m, kv_heads, head_dim)
        shared = s.heads // s.kv_heads
        q = _rotate(q, turn).reshape(n, s.kv_heads, shared, s.head_dim).transpose(1, 2, 0, 3)  # (kv, shared, n, d)
        k, v = k.transpose(1, 2, 0)[:, None], v.transpose(1, 0, 2)[:, None]  # (kv, 1, d, m), (kv, 1, m, d)
        scores = q @ k / np.float32(np.sqrt(s.head_dim))  # (kv, shared, n, m)
        scores = np.where(np.arange(k.shape[-1]) <= positions[:, None], scores, np.float32(-np.inf))
        mix = softmax(scores) @ v  # (kv, shared, n, d)
        return mix.transpose(2, 0, 1, 3).reshape(n, -1) @ self.weights[w + "attn_output.weight"].T

    def _rotation(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of position · base^(-2i/d), float32 (n, 1, d/2)."""
        d = self.shape.head_dim
        frequency = self.shape.rope_base ** (-np.arange(0, d, 2) / d)
        if "rope_freqs.weight" in self.weights:
            frequency = frequency / self.weights["rope_freqs.weight"]
        angle = (positions[:, None] * frequency)[:, None, :]
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _rotate(x: np.ndarray, turn: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rotary position embedding in GGUF's pairing, where channel 2i turns with channel 2i + 1."""
    cos, sin = turn
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1).reshape(x.shape)


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the last axis, shifted so that nothing overflows."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _shape(view: Checkpoint) -> Shape:
    def read(key: str, default=None):
        value = view.value(f"llama.{key}", default)
        if value is None:
            raise CheckpointError(f"{view.source} does not say its llama.{key}, without which it cannot be run.")
        return value

    heads = int(read("attention.head_count"))
    return Shape(
        layers=int(read("block_count")),
        heads=heads,
        kv_heads=int(read("attention.head_count_kv", heads)),
        head_dim=int(read("attention.key_length", int(read("embedding_length")) // max(1, heads))),
        context=int(read("context_length")),
        norm_epsilon=float(read("attention.layer_norm_rms_epsilon")),
        rope_base=float(read("rope.freq_base", 10000.0)),
    )


PARTS = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")


def _check(view: Checkpoint, weights: dict[str, np.ndarray], shape: Shape) -> None:
    needed = [f"blk.{layer}.{part}.weight" for layer in range(shape.layers) for part in PARTS]
    needed += ["token_embd.weight", "output_norm.weight", "output.weight"]
    for name in needed:
        if name not in weights:
            raise CheckpointError(f"{view.source} lacks the tensor {name}, without which it cannot be run.")
    hidden = weights["token_embd.weight"].shape[-1]
    q, k = weights["blk.0.attn_q.weight"].shape, weights["blk.0.attn_k.weight"].shape
    if q != (shape.heads * shape.head_dim, hidden) or k != (shape.kv_heads * shape.head_dim, hidden):
        raise CheckpointError(f"{view.source} has attention matrices of {q} and {k}, which its metadata does not fit.")
