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
from functools import lru_cache

import numpy as np

from quantlib.architectures import ARCHITECTURES as KINDS
from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.architectures import ARCHITECTURES, Architecture, Shape, read_shape
from quantlib.lm.cache import Cache
from quantlib.lm.positions import rotate, turn

Observe = Callable[[str, np.ndarray], None]
DECODED = 1_500_000_000  # weights; models above are read from the checkpoint matrix by matrix: 6 GB
QUERIES = 64  # queries whose scores are held at once: a few hundred KB, which stay in the processor's cache


@dataclass(frozen=True)
class Pass:
    """Where a layer stands in one call of the model: how many sequences, at which positions."""

    layer: int
    sequences: int
    positions: np.ndarray  # int (n,)
    cache: Cache | None
    observe: Observe | None


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
        out = self._product(flat, self.output_name, observe).reshape(*hidden.shape[:-1], -1)
        return _capped(out, self.shape.final_cap)

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
        if self.architecture.rotation is None:
            start = cache.length if cache is not None else 0
            x = x + np.tile(self.weight("position_embd.weight")[start : start + rows.shape[1]], (len(rows), 1))
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
        here = Pass(layer, sequences, start + np.arange(len(x) // sequences), cache, observe)
        w, kind = f"blk.{layer}.", self.architecture
        inner = self._norm(x, w + "attn_norm") if kind.norm_before else x
        inner = self._attention(inner, w, here)
        x = x + (self._norm(inner, w + "post_attention_norm") if kind.norm_after else inner)
        inner = self._norm(x, w + "ffn_norm") if kind.norm_before else x
        inner = self._feed_forward(inner, w, here)
        return x + (self._norm(inner, w + "post_ffw_norm") if kind.norm_after else inner)

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (n,) as vectors, float32 (n, hidden)."""
        table = self.weights["token_embd.weight"]
        if isinstance(table, np.ndarray):
            x = table[tokens]
        else:
            used, where = np.unique(tokens, return_inverse=True)
            x = np.concatenate([table.rows(t, t + 1) for t in used.tolist()])[where]
        return x * np.float32(np.sqrt(self.shape.hidden)) if self.architecture.scaled_embedding else x

    def _product(self, x: np.ndarray, name: str, observe: Observe | None) -> np.ndarray:
        """x · Wᵀ (+ bias)"""
        if observe is not None:
            observe(name, x)
        y = x @ self.weight(name).T
        bias = name.removesuffix("weight") + "bias"
        return y + self.weight(bias) if bias in self.weights else y

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """x / sqrt(mean(x²) + ε) · g; a layer norm subtracts the mean of x first, and adds a bias."""
        if self.architecture.norm == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        mean = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
        y = x * (1 / np.sqrt(mean + np.float32(self.shape.norm_epsilon))) * self.weight(name + ".weight")
        return y + self.weight(name + ".bias") if self.architecture.norm == "layer" else y

    def _feed_forward(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """down · (silu(gate · x) * (up · x)), or without a gate down · gelu(up · x)"""
        kind = self.architecture
        up = self._product(x, w + "ffn_up.weight", here.observe)
        if kind.fused_gate:
            gate, up = np.split(up, 2, axis=-1)
        elif kind.gated:
            gate = self._product(x, w + "ffn_gate.weight", here.observe)
        inner = ACTIVATIONS[kind.activation](gate if kind.gated else up)  # a new array
        if kind.gated:
            inner *= up
        return self._product(inner, w + "ffn_down.weight", here.observe)

    def _attention(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """softmax(q·k / sqrt(d)) · v over the tokens up to each one's own; query heads share key-value heads."""
        s, kind = self.shape, self.architecture
        q, k, v = self._queries_keys_values(x, w, here)  # (sequences, n, heads, d)
        local = s.window is not None and kind.windowed(here.layer)
        if kind.rotates(here.layer):
            angles = turn(s.rotary, here.positions, local, self._factors(here.positions))
            q, k = rotate(q, angles, kind.rotation), rotate(k, angles, kind.rotation)
        k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)  # (sequences, kv_heads, n, d)
        if here.cache is not None:
            k, v = here.cache.take(here.layer, k, v)
        mix = attend(q * np.float32(s.scale), k, v, s.window if local else None, s.attention_cap)
        return self._product(mix.reshape(len(x), -1), w + "attn_output.weight", here.observe)

    def _queries_keys_values(self, x: np.ndarray, w: str, here: Pass) -> list[np.ndarray]:
        """Each (sequences, n, heads, head_dim), queries and keys normalized where the architecture does."""
        s, kind = self.shape, self.architecture
        if kind.fused_attention:
            sizes = np.cumsum([s.heads * s.head_dim, s.kv_heads * s.head_dim])
            parts = np.split(self._product(x, w + "attn_qkv.weight", here.observe), sizes, axis=-1)
        else:
            parts = [self._product(x, w + f"attn_{part}.weight", here.observe) for part in "qkv"]
        names = (w + "attn_q_norm", w + "attn_k_norm", None)
        if kind.head_norm == "all":
            parts = [self._norm(part, name) if name else part for part, name in zip(parts, names, strict=True)]
        parts = [part.reshape(here.sequences, -1, part.shape[-1] // s.head_dim, s.head_dim) for part in parts]
        if kind.head_norm == "head":
            parts = [self._norm(part, name) if name else part for part, name in zip(parts, names, strict=True)]
        return parts

    def _factors(self, positions: np.ndarray) -> np.ndarray | None:
        """What frequencies are divided by, where the checkpoint says it: others for texts beyond the first context."""
        original = self.shape.rotary.original_context
        long = original is not None and positions[-1] >= original
        names = ("rope_freqs.weight", f"rope_factors_{'long' if long else 'short'}.weight")
        return next((self.weight(name) for name in names if name in self.weights), None)


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, window: int | None = None, cap: float | None = None
) -> np.ndarray:
    """softmax(q · kᵀ) · v, each query over the keys up to its own position, which for the last query is the last key.

    q (sequences, n, heads, d), scaled; k, v (sequences, kv_heads, m, d); returns (sequences, n, heads * d).
    window: how many keys a query sees, its own included; cap: scores become cap · tanh(scores / cap).
    Some queries at a time, with no more keys than these see.
    """
    count, n, heads, d = q.shape
    kv, before = k.shape[1], k.shape[2] - n
    q = q.reshape(count, n, kv, heads // kv, d).transpose(0, 2, 3, 1, 4)  # (sequences, kv, shared, n, d)
    out = np.empty((count, n, heads * d), np.float32)
    for start in range(0, n, QUERIES):
        stop = min(start + QUERIES, n)
        rows, seen = stop - start, before + stop
        low = 0 if window is None else max(0, before + start - window + 1)
        some = q[..., start:stop, :].reshape(count, kv, -1, d)  # (sequences, kv, shared * rows, d)
        scores = _capped(some @ k[:, :, low:seen].swapaxes(2, 3), cap)  # (sequences, kv, shared * rows, seen - low)
        by_row = scores.reshape(count, kv, -1, rows, seen - low)
        by_row[..., -rows:] += _later(rows)
        if window is not None and low + window < seen:
            back = np.arange(before + start, seen)[:, None] - np.arange(low, seen)  # how far behind a query a key is
            by_row += np.where(back >= window, np.float32(-np.inf), np.float32(0))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        mix = scores @ v[:, :, low:seen] / scores.sum(axis=-1, keepdims=True)
        mix = mix.reshape(count, heads, rows, d).transpose(0, 2, 1, 3)  # (sequences, rows, heads, d)
        out[:, start:stop] = mix.reshape(count, rows, -1)
    return out


@lru_cache(maxsize=256)
def _later(rows: int) -> np.ndarray:
    """What hides keys from the queries before them: -infinity above the diagonal, float32 (rows, rows)."""
    return np.triu(np.full((rows, rows), -np.inf, np.float32), 1)


def _capped(x: np.ndarray, cap: float | None) -> np.ndarray:
    """cap · tanh(x / cap), which keeps values between -cap and cap; x where there is no cap."""
    return x if cap is None else np.float32(cap) * np.tanh(x / np.float32(cap))


def _silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x))"""
    e = np.negative(x)
    with np.errstate(over="ignore"):  # exp(-x) may reach infinity, where the quotient is 0 as it should be
        np.exp(e, out=e)
    e += 1
    return np.divide(x, e, out=e)


def _gelu(x: np.ndarray) -> np.ndarray:
    """x / 2 · (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))"""
    return x / 2 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)))


ACTIVATIONS = {"silu": _silu, "gelu": _gelu}


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
    shape = read_shape(view, architecture, _window(checkpoint))
    for name, size in architecture.needed(shape).items():
        found = view.tensors.get(name)
        if found is None:
            raise CheckpointError(f"{checkpoint.source} lacks the tensor {name}, without which it cannot be run.")
        if tuple(found.shape) != size:
            raise CheckpointError(
                f"{checkpoint.source} has {name} of shape {tuple(found.shape)}, and its metadata asks for {size}."
            )
    if decoded is None:
        decoded = view.size <= DECODED
    weights = {n: t.rows().reshape(t.shape) if decoded or len(t.shape) < 2 else t for n, t in view.tensors.items()}
    return Model(architecture, shape, weights)


def _window(checkpoint: Checkpoint) -> int | None:
    """The window that only config.json says, of architectures for which GGUF has no key for it."""
    config = checkpoint.metadata.get("config") if checkpoint.kind == "huggingface" else None
    declared = KINDS.get(str(config.get("model_type"))) if config else None
    window = config.get("sliding_window") if declared is not None and declared.config_window else None
    return window if isinstance(window, int) and window > 0 else None
