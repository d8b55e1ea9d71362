"""A transformer in float32 numpy, from any checkpoint: a Hugging Face folder or a GGUF file of any formats.

    x = embedding[tokens]
    for each layer:  x = x + attention(norm(x));  x = x + feed_forward(norm(x))
    logits = output · norm(x)

Touvron et al., "LLaMA: Open and Efficient Foundation Language Models", 2023; rotary positions after Su et al., 2021.
Where architectures differ is declared in architectures.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.architectures import ARCHITECTURES, Architecture, Shape, read_shape
from quantlib.lm.cache import Cache

Observe = Callable[[str, np.ndarray], None]
DECODED = 1_500_000_000  # weights; models above are read from the checkpoint matrix by matrix: 6 GB
QUERIES = 128  # queries whose scores are held at once: a few hundred KB, which stay in the processor's cache


@dataclass(frozen=True)
class Pass:
    """One call of the model: how many sequences, and what is the same for all layers."""

    sequences: int
    cache: Cache | None
    observe: Observe | None
    turn: tuple[np.ndarray, np.ndarray]  # cosine and sine, float32 (n, 1, rotated / 2)


@dataclass(frozen=True, eq=False)
class Model:
    """A model that runs. weights: by GGUF name, float32 arrays or tensors that are decoded at each use."""

    architecture: Architecture
    shape: Shape
    weights: Mapping[str, np.ndarray | Tensor] = field(repr=False)

    def weight(self, name: str) -> np.ndarray:
        """One tensor as float32, rows and columns as GGUF has them. Raises CheckpointError where there is none."""
        found = self.weights.get(name)
        if found is None:
            raise CheckpointError(f"The model has no tensor {name}.")
        return found if isinstance(found, np.ndarray) else found.rows().reshape(found.shape)

    def replaced(self, weights: Mapping[str, np.ndarray]) -> Model:
        """The same model with these weights in place of its own; all others are shared.

        Raises CheckpointError for a name that the model lacks, and for another shape.
        """
        for name, new in weights.items():
            if name not in self.weights or new.shape != self.weights[name].shape:
                raise CheckpointError(f"The model has no tensor {name} of shape {new.shape} that could be replaced.")
        return replace(self, weights={**self.weights, **{n: np.asarray(w, np.float32) for n, w in weights.items()}})

    @property
    def held(self) -> bool:
        """Whether all weights are held decoded."""
        return all(isinstance(w, np.ndarray) for w in self.weights.values())

    @property
    def output_name(self) -> str:
        """The matrix that makes logits: the embedding, where the model has none of its own for this."""
        return "output.weight" if "output.weight" in self.weights else "token_embd.weight"

    def __call__(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        """Logits after each token: int (..., n) -> float32 (..., n, vocabulary).

        One row of tokens, or several sequences of one length. cache: what came before; it grows by n.
        observe(name, x) is called before each matrix product with the GGUF name of the matrix and its input
        activations, float32 (tokens, in).
        """
        return self.logits(self.hidden(tokens, cache, observe), observe)

    def logits(self, hidden: np.ndarray, observe: Observe | None = None) -> np.ndarray:
        """What `hidden` returned to logits: (..., hidden) -> (..., vocabulary)."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        return self._product(flat, self.output_name, observe).reshape(*hidden.shape[:-1], -1)

    def hidden(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        """The last layer's values, normalized: int (..., n) -> float32 (..., n, hidden)."""
        x = deque(self.stream(tokens, cache, observe), maxlen=1).pop()
        return self._norm(x, "output_norm").reshape(*np.shape(tokens), -1)

    def stream(
        self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None
    ) -> Iterator[np.ndarray]:
        """What runs through the layers, which each add to it: the embedding, then after each layer (tokens, hidden)."""
        rows = np.asarray(tokens).reshape(-1, np.shape(tokens)[-1])  # (sequences, n)
        x = self.embedded(rows.ravel())  # (sequences * n, hidden)
        yield x
        for layer in range(self.shape.layers):
            x = self.layer(layer, x, len(rows), cache, observe)
            yield x
        if cache is not None:
            cache.length += rows.shape[1]

    def layer(
        self, layer: int, x: np.ndarray, sequences: int, cache: Cache | None = None, observe: Observe | None = None
    ) -> np.ndarray:
        """What runs through the layers, after one of them: (sequences * n, hidden) -> the same shape."""
        start = cache.length if cache is not None else 0
        here = Pass(sequences, cache, observe, self._turn(start + np.arange(len(x) // sequences)))
        w = f"blk.{layer}."
        x = x + self._attention(self._norm(x, w + "attn_norm"), layer, here)
        return x + self._feed_forward(self._norm(x, w + "ffn_norm"), w, here)

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (n,) as vectors, float32 (n, hidden)."""
        table = self.weights["token_embd.weight"]
        if isinstance(table, np.ndarray):
            return table[tokens]
        used, where = np.unique(tokens, return_inverse=True)
        return np.concatenate([table.rows(t, t + 1) for t in used.tolist()])[where]

    def _product(self, x: np.ndarray, name: str, observe: Observe | None) -> np.ndarray:
        """x · Wᵀ (+ bias)"""
        if observe is not None:
            observe(name, x)
        y = x @ self.weight(name).T
        bias = name.removesuffix("weight") + "bias"
        return y + self.weight(bias) if bias in self.weights else y

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """x / sqrt(mean(x²) + ε) · g"""
        mean = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
        return x * (1 / np.sqrt(mean + np.float32(self.shape.norm_epsilon))) * self.weight(name + ".weight")

    def _feed_forward(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """down · (silu(gate · x) * (up · x))"""
        gate = self._product(x, w + "ffn_gate.weight", here.observe)
        up = self._product(x, w + "ffn_up.weight", here.observe)
        return self._product(_silu(gate) * up, w + "ffn_down.weight", here.observe)

    def _attention(self, x: np.ndarray, layer: int, here: Pass) -> np.ndarray:
        """softmax(q·k / sqrt(d)) · v over the tokens up to each one's own; query heads share key-value heads."""
        s, w = self.shape, f"blk.{layer}."
        q, k, v = (self._product(x, w + f"attn_{part}.weight", here.observe) for part in "qkv")
        q = _rotate(q.reshape(here.sequences, -1, s.heads, s.head_dim), here.turn)  # (sequences, n, heads, d)
        k = _rotate(k.reshape(here.sequences, -1, s.kv_heads, s.head_dim), here.turn)
        v = v.reshape(here.sequences, -1, s.kv_heads, s.head_dim)
        k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)  # (sequences, kv_heads, n, d)
        if here.cache is not None:
            k, v = here.cache.take(layer, k, v)
        mix = attend(q * np.float32(s.scale), k, v)  # (sequences, n, heads * d)
        return self._product(mix.reshape(len(x), -1), w + "attn_output.weight", here.observe)

    def _turn(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of position · base^(-2i/d), float32 (n, 1, rotated / 2)."""
        d = self.shape.rotated
        frequency = self.shape.rope_base ** (-np.arange(0, d, 2) / d)
        if "rope_freqs.weight" in self.weights:
            frequency = frequency / self.weight("rope_freqs.weight")
        angle = (positions[:, None] * frequency)[:, None, :]
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """softmax(q · kᵀ) · v, each query over the keys up to its own position, which for the last query is the last key.

    q (sequences, n, heads, d), scaled; k, v (sequences, kv_heads, m, d); returns (sequences, n, heads * d).
    Some queries at a time, with no more keys than these see.
    """
    count, n, heads, d = q.shape
    kv, before = k.shape[1], k.shape[2] - n
    q = q.reshape(count, n, kv, heads // kv, d).transpose(0, 2, 3, 1, 4)  # (sequences, kv, shared, n, d)
    out = np.empty((count, n, heads * d), np.float32)
    for start in range(0, n, QUERIES):
        stop = min(start + QUERIES, n)
        rows, seen = stop - start, before + stop
        some = q[..., start:stop, :].reshape(count, kv, -1, d)  # (sequences, kv, shared * rows, d)
        scores = some @ k[:, :, :seen].swapaxes(2, 3)  # (sequences, kv, shared * rows, seen)
        later = np.triu(np.full((rows, rows), -np.inf, np.float32), 1)
        scores.reshape(count, kv, -1, rows, seen)[..., before + start :] += later
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        mix = scores @ v[:, :, :seen] / scores.sum(axis=-1, keepdims=True)
        mix = mix.reshape(count, heads, rows, d).transpose(0, 2, 1, 3)  # (sequences, rows, heads, d)
        out[:, start:stop] = mix.reshape(count, rows, -1)
    return out


def _rotate(x: np.ndarray, turn: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rotary position embedding in GGUF's pairing, where channel 2i turns with channel 2i + 1."""
    cos, sin = turn
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack((even * cos - odd * sin, even * sin + odd * cos), axis=-1).reshape(x.shape)


def _silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x))"""
    with np.errstate(over="ignore"):  # exp(-x) may reach infinity, where the quotient is 0 as it should be
        return x / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum exp(x) over the last axis, shifted so that nothing overflows."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def load(checkpoint: Checkpoint, decoded: bool | None = None) -> Model:
    """The model of a checkpoint. decoded: whether all weights are held as float32; if not, each matrix is read from
    the checkpoint, which must stay open, and decoded when it is used: slower, in the memory of one matrix. By
    default what has up to DECODED weights is decoded.

    Raises CheckpointError for an architecture that is not known, and where a tensor or a number is missing or wrong.
    """
    view = gguf_view(checkpoint)
    architecture = ARCHITECTURES.get(view.architecture)
    if architecture is None:
        raise CheckpointError(
            f"{checkpoint.source} is a model of the kind {str(view.architecture)[:40]!r}, and those that can be run "
            f"are {', '.join(ARCHITECTURES)}."
        )
    shape = read_shape(view, architecture)
    for name in architecture.needed(shape.layers):
        if name not in view.tensors:
            raise CheckpointError(f"{checkpoint.source} lacks the tensor {name}, without which it cannot be run.")
    _check(view, shape)
    if decoded is None:
        decoded = view.size <= DECODED
    weights = {n: t.rows().reshape(t.shape) if decoded or len(t.shape) < 2 else t for n, t in view.tensors.items()}
    return Model(architecture, shape, weights)


def _check(view: Checkpoint, shape: Shape) -> None:
    q, k = view.tensors["blk.0.attn_q.weight"].shape, view.tensors["blk.0.attn_k.weight"].shape
    fits = (shape.heads * shape.head_dim, shape.hidden), (shape.kv_heads * shape.head_dim, shape.hidden)
    if (q, k) != fits or shape.heads % shape.kv_heads:
        raise CheckpointError(f"{view.source} has attention matrices of {q} and {k}, which its metadata does not fit.")
