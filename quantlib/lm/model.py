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
from quantlib.architectures import by_name
from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.errors import CheckpointError
from quantlib.lm.architectures import ARCHITECTURES, Architecture, Shape, read_shape
from quantlib.lm.cache import Cache
from quantlib.lm.delta import convolved, delta_rule, softplus, unit
from quantlib.lm.experts import mixed, route
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
    def _last_norm(self) -> str:
        return "output_norm" if "output_norm.weight" in self.weights else "token_embd_norm"

    @property
    def output_name(self) -> str:
        """The matrix that makes logits: the embedding, where the model has none of its own for this."""
        return "output.weight" if "output.weight" in self.weights else "token_embd.weight"

    def __call__(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        """Logits after each token: int (..., n) -> float32 (..., n, vocabulary).

        One row of tokens, or several sequences of one length. cache: what came before; it grows by n.
        observe(name, x) is called before each matrix product with the GGUF name of the matrix and its input
        activations, float32 (tokens, in); the matrix of an expert is called by its stack's name, a # and its number.
        """
        return self.logits(self.hidden(tokens, cache, observe), observe)

    def logits(self, hidden: np.ndarray, observe: Observe | None = None) -> np.ndarray:
        """What `hidden` returned to logits: (..., hidden) -> (..., vocabulary)."""
        flat = hidden.reshape(-1, hidden.shape[-1])
        out = self._product(flat, self.output_name, observe).reshape(*hidden.shape[:-1], -1)
        if self.shape.logit_scale is not None:
            scale = np.float32(self.shape.logit_scale)
            out *= 1 / scale if self.architecture.divides_logits else scale
        return _capped(out, self.shape.final_cap)

    def hidden(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        """The last layer's values, normalized: int (..., n) -> float32 (..., n, hidden)."""
        x = deque(self.stream(tokens, cache, observe), maxlen=1).pop()
        return self._norm(x, self._last_norm).reshape(*np.shape(tokens), -1)

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
        before = self._norm(x, w + "attn_norm") if kind.norm_before else x
        inner = self._mixing(before, w, here)
        added = x + self._added(inner, w + "post_attention_norm")
        if kind.parallel:
            own = f"{w}{kind.second_norm}.weight" in self.weights
            return added + self._forward(self._norm(x, w + kind.second_norm) if own else before, w, here)
        inner = self._norm(added, w + kind.second_norm) if kind.norm_before else added
        return added + self._added(self._forward(inner, w, here), w + "post_ffw_norm")

    def _added(self, inner: np.ndarray, norm: str) -> np.ndarray:
        """What a part puts out as it is added to the stream."""
        inner = self._norm(inner, norm) if self.architecture.norm_after else inner
        return inner if self.shape.residual_scale is None else inner * np.float32(self.shape.residual_scale)

    def _mixing(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """What tokens learn of each other: attention, or what this layer has in place of it."""
        if self.shape.delta is not None and w + "ssm_out.weight" in self.weights:
            return self._linear_attention(x, w, here)
        if self.architecture.convolved and w + "shortconv.conv.weight" in self.weights:
            return self._convolution(x, w, here)
        return self._latent_attention(x, w, here) if self.shape.latent is not None else self._attention(x, w, here)

    def _forward(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """The feed-forward part: one, or experts."""
        if self.shape.experts is not None and w + "ffn_gate_inp.weight" in self.weights:
            return self._mixture(x, w, here)
        return self._feed_forward(x, w, here)

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (n,) as vectors, float32 (n, hidden)."""
        table = self.weights["token_embd.weight"]
        if isinstance(table, np.ndarray):
            x = table[tokens]
        else:
            used, where = np.unique(tokens, return_inverse=True)
            x = np.concatenate([table.rows(t, t + 1) for t in used.tolist()])[where]
        if self.shape.embedding_scale is not None:
            return x * np.float32(self.shape.embedding_scale)
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
        bias = name + ".bias"
        return y + self.weight(bias) if self.architecture.norm == "layer" and bias in self.weights else y

    def _feed_forward(self, x: np.ndarray, w: str, here: Pass, end: str = "") -> np.ndarray:
        """down · (silu(gate · x) * (up · x)), or without a gate down · gelu(up · x); end: of the matrices' names."""
        kind, gate = self.architecture, None
        up = self._product(x, f"{w}ffn_up{end}.weight", here.observe)
        if kind.fused_gate:
            gate, up = np.split(up, 2, axis=-1)
        elif kind.gated:
            gate = self._product(x, f"{w}ffn_gate{end}.weight", here.observe)
        return self._product(activated(kind.activation, up, gate), f"{w}ffn_down{end}.weight", here.observe)

    def _mixture(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """The weighted sum of what a few experts make of each token, and what the expert makes that all share."""
        balance = w + "exp_probs_b.bias"
        scores = self._product(x, w + "ffn_gate_inp.weight", here.observe)
        chosen, weights = route(scores, self.shape.experts, self.weight(balance) if balance in self.weights else None)

        def product(part: str, expert: int, inputs: np.ndarray) -> np.ndarray:
            name = f"{w}{part}_exps."
            if here.observe is not None:
                here.observe(f"{name}weight#{expert}", inputs)
            y = inputs @ self._of_stack(name + "weight", expert).T
            return y + self.weight(name + "bias")[expert] if name + "bias" in self.weights else y

        def apply(expert: int, inputs: np.ndarray) -> np.ndarray:
            up, gate = product("ffn_up", expert, inputs), product("ffn_gate", expert, inputs)
            return product("ffn_down", expert, activated(self.architecture.activation, up, gate))

        out = mixed(x, chosen, weights, apply)
        if w + "ffn_up_shexp.weight" not in self.weights:
            return out
        shared = self._feed_forward(x, w, here, "_shexp")
        gate = w + "ffn_gate_inp_shexp.weight"
        if gate in self.weights:
            shared *= _sigmoid(x @ self.weight(gate).reshape(1, -1).T)
        return out + shared

    def _of_stack(self, name: str, index: int) -> np.ndarray:
        """One matrix of a stack."""
        found = self.weights[name]
        if isinstance(found, np.ndarray):
            return found[index]
        rows = found.shape[1]
        return found.rows(index * rows, (index + 1) * rows)

    def _attention(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """softmax(q·k / sqrt(d)) · v over the tokens up to each one's own; query heads share key-value heads."""
        s, kind = self.shape, self.architecture
        q, k, v, gate = self._queries_keys_values(x, w, here)  # (sequences, n, heads, d)
        local = self._local(here.layer)
        if kind.rotates(here.layer, local):
            angles = turn(s.rotary, here.positions, local, self._factors(here.positions))
            q, k = rotate(q, angles, kind.rotation), rotate(k, angles, kind.rotation)
        if kind.normed_after:
            q, k = self._norm(q, w + "attn_q_norm"), self._norm(k, w + "attn_k_norm")
        if s.temperature is not None:
            beyond = np.floor(here.positions / (s.rotary.original_context or s.context))
            q = q * (1 + s.temperature * np.log1p(beyond)).astype(np.float32)[:, None, None]
        k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)  # (sequences, kv_heads, n, d)
        if here.cache is not None:
            k, v = here.cache.take(here.layer, k, v)
        sinks = self.weights.get(w + "attn_sinks.weight")
        sinks = None if sinks is None else self.weight(w + "attn_sinks.weight").reshape(-1)
        mix = attend(q * np.float32(s.scale), k, v, s.window if local else None, s.attention_cap, sinks)
        mix = mix.reshape(len(x), -1)
        return self._product(mix if gate is None else mix * gate, w + "attn_output.weight", here.observe)

    def _local(self, layer: int) -> bool:
        """Whether a layer sees a window only."""
        if self.shape.window is None:
            return False
        return self.shape.windows[layer] if self.shape.windows is not None else self.architecture.windowed(layer)

    def _queries_keys_values(self, x: np.ndarray, w: str, here: Pass) -> list[np.ndarray | None]:
        """Each (sequences, n, heads, head_dim), queries and keys normalized where the architecture does; and what the
        heads' outputs are multiplied with, if there is such a gate.
        """
        s, kind, gate = self.shape, self.architecture, None
        if kind.fused_attention:
            sizes = np.cumsum([s.heads * s.head_dim, s.kv_heads * s.head_dim])
            parts = np.split(self._product(x, w + "attn_qkv.weight", here.observe), sizes, axis=-1)
        else:
            parts = [self._product(x, w + f"attn_{part}.weight", here.observe) for part in "qkv"]
        if kind.gated_queries:
            both = parts[0].reshape(len(x), s.heads, 2, s.head_dim)
            parts[0], gate = both[:, :, 0].reshape(len(x), -1), _sigmoid(both[:, :, 1].reshape(len(x), -1))
        names = (w + "attn_q_norm", w + "attn_k_norm", None)
        if kind.head_norm == "all":
            parts = [self._norm(part, name) if name else part for part, name in zip(parts, names, strict=True)]
        parts = [part.reshape(here.sequences, -1, part.shape[-1] // s.head_dim, s.head_dim) for part in parts]
        if kind.head_norm == "head" and not kind.normed_after and f"{names[0]}.weight" in self.weights:
            parts = [self._norm(part, name) if name else part for part, name in zip(parts, names, strict=True)]
        return [*parts, gate]

    def _latent_attention(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """Attention whose heads all read the same latents: each head's query is brought to them, and what it gathers is
        brought back to its values. DeepSeek-AI, "DeepSeek-V2", 2024.
        """
        s, m = self.shape, self.shape.latent
        if w + "attn_q.weight" in self.weights:
            q = self._product(x, w + "attn_q.weight", here.observe)
        else:
            q = self._norm(self._product(x, w + "attn_q_a.weight", here.observe), w + "attn_q_a_norm")
            q = self._product(q, w + "attn_q_b.weight", here.observe)
        q = q.reshape(here.sequences, -1, s.heads, m.still + m.turning)
        made = self._product(x, w + "attn_kv_a_mqa.weight", here.observe).reshape(
            here.sequences, -1, m.rank + m.turning
        )
        latents = self._norm(made[..., : m.rank], w + "attn_kv_a_norm")[:, :, None]
        angles = turn(s.rotary, here.positions, False, self._factors(here.positions))
        pairs = self.architecture.rotation
        turned = rotate(np.ascontiguousarray(made[..., m.rank :])[:, :, None], angles, pairs)
        brought = np.einsum("snhi,hri->snhr", q[..., : m.still], self.weight(w + "attn_k_b.weight"), optimize=True)
        q = np.concatenate(
            [brought, rotate(np.ascontiguousarray(q[..., m.still :]), angles, self.architecture.rotation)], -1
        )
        k = np.concatenate([latents, turned], -1).transpose(0, 2, 1, 3)
        v = np.ascontiguousarray(latents.transpose(0, 2, 1, 3))
        if here.cache is not None:
            k, v = here.cache.take(here.layer, k, v)
        mix = attend(q * np.float32(s.scale), k, v).reshape(here.sequences, -1, s.heads, m.rank)
        out = np.einsum("snhr,hvr->snhv", mix, self.weight(w + "attn_v_b.weight"), optimize=True)
        return self._product(out.reshape(len(x), -1), w + "attn_output.weight", here.observe)

    def _linear_attention(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """A gated delta rule over a state for each head, behind a short convolution; see `delta`."""
        d, kind = self.shape.delta, self.architecture.delta
        states = here.cache.states[here.layer] if here.cache is not None else None
        last, state = states if states is not None else (None, None)
        qkv = self._product(x, w + "attn_qkv.weight", here.observe).reshape(here.sequences, -1, d.channels)
        gate = self._product(x, w + "attn_gate.weight", here.observe)
        beta, decay = self._steps(x, w, here)
        qkv, last = convolved(qkv, self.weight(w + "ssm_conv1d.weight"), last)
        qkv = _silu(qkv)
        sizes = np.cumsum([d.key_heads * d.key_dim] * 2)
        q, k, v = (part.reshape(*qkv.shape[:2], -1, width) for part, width in zip(
            np.split(qkv, sizes, axis=-1), (d.key_dim, d.key_dim, d.value_dim), strict=True
        ))  # fmt: skip
        share = d.value_heads // d.key_heads
        spread = (lambda a: np.tile(a, (1, 1, share, 1))) if kind.tiled else (lambda a: np.repeat(a, share, axis=2))
        q, k = spread(unit(q) / np.float32(np.sqrt(d.key_dim))), spread(unit(k))
        out, state = delta_rule(q, k, v, decay, beta, state)
        if here.cache is not None:
            here.cache.states[here.layer] = (last, state)
        out = self._norm(out, w + "ssm_norm") * _silu(gate.reshape(out.shape))
        return self._product(out.reshape(len(x), -1), w + "ssm_out.weight", here.observe)

    def _steps(self, x: np.ndarray, w: str, here: Pass) -> tuple[np.ndarray, np.ndarray]:
        """How far each head's state moves at a token, and the logarithm of how much stays: (sequences, n, heads)."""
        d = self.shape.delta
        if self.architecture.delta.joined:
            both = self._product(x, w + "ssm_ba.weight", here.observe).reshape(len(x), d.key_heads, 2, -1)
            step, decay = both[:, :, 0], both[:, :, 1]
        else:
            step, decay = (self._product(x, f"{w}ssm_{part}.weight", here.observe) for part in ("beta", "alpha"))
        step, decay = (part.reshape(here.sequences, -1, d.value_heads) for part in (step, decay))
        rate = self.weight(w + "ssm_a").reshape(-1)
        return _sigmoid(step), rate * softplus(decay + self.weight(w + "ssm_dt.bias").reshape(-1))

    def _convolution(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """out · (c * conv(b * h)), where in · x = [b, c, h]: a short convolution with gates before and behind."""
        states = here.cache.states[here.layer] if here.cache is not None else None
        parts = self._product(x, w + "shortconv.in_proj.weight", here.observe)
        b, c, h = np.split(parts.reshape(here.sequences, -1, parts.shape[-1]), 3, axis=-1)
        out, last = convolved(b * h, self.weight(w + "shortconv.conv.weight"), states[0] if states else None)
        if here.cache is not None:
            here.cache.states[here.layer] = (last,)
        return self._product((c * out).reshape(len(x), -1), w + "shortconv.out_proj.weight", here.observe)

    def _factors(self, positions: np.ndarray) -> np.ndarray | None:
        """What frequencies are divided by, where the checkpoint says it: others for texts beyond the first context."""
        original = self.shape.rotary.original_context
        long = original is not None and positions[-1] >= original
        names = ("rope_freqs.weight", f"rope_factors_{'long' if long else 'short'}.weight")
        return next((self.weight(name) for name in names if name in self.weights), None)


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    window: int | None = None,
    cap: float | None = None,
    sinks: np.ndarray | None = None,
) -> np.ndarray:
    """softmax(q · kᵀ) · v, each query over the keys up to its own position, which for the last query is the last key.

    q (sequences, n, heads, d), scaled; k, v (sequences, kv_heads, m, d); returns (sequences, n, heads * d).
    window: how many keys a query sees, its own included; cap: scores become cap · tanh(scores / cap). sinks (heads,):
    the score of a key that takes its share of attention and has no value. v may be of another width than q and k.
    Some queries at a time, with no more keys than these see.
    """
    count, n, heads, d = q.shape
    kv, before = k.shape[1], k.shape[2] - n
    q = q.reshape(count, n, kv, heads // kv, d).transpose(0, 2, 3, 1, 4)  # (sequences, kv, shared, n, d)
    wide = v.shape[-1]
    out = np.empty((count, n, heads * wide), np.float32)
    if sinks is not None:
        sinks = sinks.astype(np.float32).reshape(1, kv, -1, 1)
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
        highest = scores.max(axis=-1, keepdims=True)
        scores -= highest
        np.exp(scores, out=scores)
        total = scores.sum(axis=-1, keepdims=True)
        if sinks is not None:
            total += np.exp(np.repeat(sinks, rows, axis=-1).reshape(1, kv, -1, 1) - highest)
        mix = scores @ v[:, :, low:seen] / total
        mix = mix.reshape(count, heads, rows, wide).transpose(0, 2, 1, 3)  # (sequences, rows, heads, d)
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


def _erf_gelu(x: np.ndarray) -> np.ndarray:
    """x / 2 · (1 + erf(x / sqrt(2))), erf to 1.5e-7. Abramowitz and Stegun, 7.1.26."""
    a = np.abs(x) / np.sqrt(2.0)
    t = 1 / (1 + 0.3275911 * a)
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return (x / 2 * (1 + np.sign(x) * (1 - tail * np.exp(-a * a)))).astype(np.float32)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


ACTIVATIONS = {"silu": _silu, "gelu": _gelu, "erf": _erf_gelu}
SWIGLU_ALPHA, SWIGLU_LIMIT = np.float32(1.702), np.float32(7.0)


def activated(kind: str, up: np.ndarray, gate: np.ndarray | None) -> np.ndarray:
    """What the feed-forward part makes of up · x and gate · x: a new array."""
    if kind == "swiglu":
        gate, up = np.minimum(gate, SWIGLU_LIMIT), np.clip(up, -SWIGLU_LIMIT, SWIGLU_LIMIT)
        return (up + 1) * gate * _sigmoid(SWIGLU_ALPHA * gate)
    inner = ACTIVATIONS[kind](up if gate is None else gate)
    if gate is not None:
        inner *= up
    return inner


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
        known = by_name(view.architecture)
        does = "converts, but does not run" if known else "does not run"
        raise CheckpointError(
            f"{checkpoint.source} is a model of the kind {str(view.architecture)[:40]!r}, which {does} here: its "
            "computation is not declared "
            "(`quantlib architectures` lists those that run)."
        )
    shape = read_shape(view, architecture, _window(checkpoint))
    for name, size in architecture.needed(shape, view.tensors).items():
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
