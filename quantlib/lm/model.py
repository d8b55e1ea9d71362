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

from quantlib.architectures import ARCHITECTURES as KINDS
from quantlib.architectures import by_name
from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.checkpoints.image_models import check_reads_text
from quantlib.errors import CheckpointError
from quantlib.lm import instead
from quantlib.lm.architectures import ARCHITECTURES, Architecture, read_shape
from quantlib.lm.attention import attend, capped
from quantlib.lm.cache import Cache
from quantlib.lm.experts import mixed, route
from quantlib.lm.nonlinear import activated, sigmoid
from quantlib.lm.positions import rotate, turn
from quantlib.lm.shape import Shape

Observe = Callable[[str, np.ndarray], None]
DECODED = 1_500_000_000  # weights; models above are read from the checkpoint matrix by matrix: 6 GB


@dataclass(frozen=True)
class Along:
    """What layers hand on beside the stream: keys and values of the last layers with and without a window, and each
    layer's own input for each token, float32 (tokens, layers, channels).
    """

    keys: dict[bool, tuple[np.ndarray, np.ndarray]]
    inputs: np.ndarray | None


@dataclass(frozen=True)
class Pass:
    """Where a layer stands in one call of the model: how many sequences, at which positions."""

    layer: int
    sequences: int
    positions: np.ndarray  # int (n,)
    cache: Cache | None
    observe: Observe | None
    along: Along | None = None


def weight_of(weights: Mapping[str, np.ndarray | Tensor], name: str) -> np.ndarray:
    """One tensor of those that a model runs with, as float32. Raises CheckpointError where there is none."""
    found = weights.get(name)
    if found is None:
        raise CheckpointError(f"The model has no tensor {name}.")
    return found if isinstance(found, np.ndarray) else found.rows().reshape(found.shape)


@dataclass(frozen=True, eq=False)
class Model:
    """A model that runs. weights: by GGUF name, float32 arrays or tensors that are decoded at each use."""

    architecture: Architecture
    shape: Shape
    weights: Mapping[str, np.ndarray | Tensor] = field(repr=False)

    def weight(self, name: str) -> np.ndarray:
        """One tensor as float32, rows and columns as GGUF has them. Raises CheckpointError where there is none."""
        return weight_of(self.weights, name)

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
        out = self.product(flat, self.output_name, observe).reshape(*hidden.shape[:-1], -1)
        if self.shape.logit_scale is not None:
            scale = np.float32(self.shape.logit_scale)
            out *= 1 / scale if self.architecture.divides_logits else scale
        return capped(out, self.shape.final_cap)

    def hidden(self, tokens: np.ndarray, cache: Cache | None = None, observe: Observe | None = None) -> np.ndarray:
        """The last layer's values, normalized: int (..., n) -> float32 (..., n, hidden)."""
        x = deque(self.stream(tokens, cache, observe), maxlen=1).pop()
        return self.norm(x, self._last_norm).reshape(*np.shape(tokens), -1)

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
        along = Along({}, self._layer_inputs(rows.ravel(), x, observe)) if self.architecture.layered else None
        for layer in range(self.shape.layers):
            x = self.layer(layer, x, len(rows), cache, observe, along)
            yield x
        if cache is not None:
            cache.length += rows.shape[1]

    def layer(
        self,
        layer: int,
        x: np.ndarray,
        sequences: int,
        cache: Cache | None = None,
        observe: Observe | None = None,
        along: Along | None = None,
    ) -> np.ndarray:
        """What runs through the layers, after one of them: (sequences * n, hidden) -> the same shape.

        along: what layers hand on beside it, in architectures that are `layered`.
        """
        start = cache.length if cache is not None else 0
        here = Pass(layer, sequences, start + np.arange(len(x) // sequences), cache, observe, along)
        w, kind = f"blk.{layer}.", self.architecture
        before = self.norm(x, w + "attn_norm") if kind.norm_before else x
        inner = self._mixing(before, w, here)
        added = x + self._added(inner, w + "post_attention_norm")
        if kind.parallel:
            own = f"{w}{kind.second_norm}.weight" in self.weights
            return added + self._forward(self.norm(x, w + kind.second_norm) if own else before, w, here)
        inner = self.norm(added, w + kind.second_norm) if kind.norm_before else added
        out = added + self._added(self._forward(inner, w, here), w + "post_ffw_norm")
        return self._with_input(out, w, here) if kind.layered else out

    def _layer_inputs(self, tokens: np.ndarray, x: np.ndarray, observe: Observe | None) -> np.ndarray | None:
        """What each layer is told of each token: a vector of the token's own, and one made of its embedding."""
        s, width = self.shape, self.shape.layer_input
        if not width:
            return None
        own = self._rows("per_layer_token_embd.weight", tokens) * np.float32(np.sqrt(width))
        made = self.product(x, "per_layer_model_proj.weight", observe) / np.float32(np.sqrt(s.hidden))
        made = self.norm(made.reshape(len(tokens), s.layers, width), "per_layer_proj_norm")
        return (made + own.reshape(made.shape)) / np.float32(np.sqrt(2))

    def _with_input(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """x + norm(proj · (gelu(gate · x) * input)), and all of it scaled."""
        if here.along.inputs is not None:
            gate = self.product(x, w + "inp_gate.weight", here.observe)
            told = activated(self.architecture.activation, here.along.inputs[:, here.layer], gate)
            x = x + self.norm(self.product(told, w + "proj.weight", here.observe), w + "post_norm")
        scale = w + "layer_output_scale.weight"
        return x * self.weight(scale).reshape(-1)[0] if scale in self.weights else x

    def _added(self, inner: np.ndarray, norm: str) -> np.ndarray:
        """What a part puts out as it is added to the stream."""
        inner = self.norm(inner, norm) if self.architecture.norm_after else inner
        return inner if self.shape.residual_scale is None else inner * np.float32(self.shape.residual_scale)

    def _mixing(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """What tokens learn of each other: attention, or what this layer has in place of it."""
        if self.shape.delta is not None and w + "ssm_out.weight" in self.weights:
            return instead.linear_attention(self, x, w, here)
        if self.architecture.convolved and w + "shortconv.conv.weight" in self.weights:
            return instead.convolution(self, x, w, here)
        return (
            instead.latent_attention(self, x, w, here) if self.shape.latent is not None else self._attention(x, w, here)
        )

    def _forward(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """The feed-forward part: one, or experts."""
        if self.shape.experts is not None and w + "ffn_gate_inp.weight" in self.weights:
            return self._mixture(x, w, here)
        return self._feed_forward(x, w, here)

    def embedded(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (n,) as vectors, float32 (n, hidden)."""
        x = self._rows("token_embd.weight", tokens)
        if self.shape.embedding_scale is not None:
            return x * np.float32(self.shape.embedding_scale)
        return x * np.float32(np.sqrt(self.shape.hidden)) if self.architecture.scaled_embedding else x

    def _rows(self, name: str, tokens: np.ndarray) -> np.ndarray:
        """Rows of a table, one for each token. Raises CheckpointError for a token that it has none for."""
        table = self.weights[name]
        if (last := int(tokens.max(initial=0))) >= table.shape[0]:
            raise CheckpointError(
                f"The tokenizer gives token {last:,}, and {name} has {table.shape[0]:,} rows: they belong to two "
                "models."
            )
        if isinstance(table, np.ndarray):
            return table[tokens]
        used, where = np.unique(tokens, return_inverse=True)
        return np.concatenate([table.rows(t, t + 1) for t in used.tolist()])[where]

    def product(self, x: np.ndarray, name: str, observe: Observe | None) -> np.ndarray:
        """x · Wᵀ (+ bias)"""
        if observe is not None:
            observe(name, x)
        y = x @ self.weight(name).T
        bias = name.removesuffix("weight") + "bias"
        return y + self.weight(bias) if bias in self.weights else y

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """x / sqrt(mean(x²) + ε) · g; a layer norm subtracts the mean of x first, and adds a bias."""
        if self.architecture.norm == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        y = self._rescaled(x) * self.weight(name + ".weight")
        bias = name + ".bias"
        return y + self.weight(bias) if self.architecture.norm == "layer" and bias in self.weights else y

    def _rescaled(self, x: np.ndarray) -> np.ndarray:
        """x / sqrt(mean(x²) + ε)"""
        mean = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(x.shape[-1])
        return x * (1 / np.sqrt(mean + np.float32(self.shape.norm_epsilon)))

    def _feed_forward(self, x: np.ndarray, w: str, here: Pass, end: str = "") -> np.ndarray:
        """down · (silu(gate · x) * (up · x)), or without a gate down · gelu(up · x); end: of the matrices' names."""
        kind, gate = self.architecture, None
        up = self.product(x, f"{w}ffn_up{end}.weight", here.observe)
        if kind.fused_gate:
            gate, up = np.split(up, 2, axis=-1)
        elif kind.gated:
            gate = self.product(x, f"{w}ffn_gate{end}.weight", here.observe)
        return self.product(activated(kind.activation, up, gate), f"{w}ffn_down{end}.weight", here.observe)

    def _mixture(self, x: np.ndarray, w: str, here: Pass) -> np.ndarray:
        """The weighted sum of what a few experts make of each token, and what the expert makes that all share."""
        balance = w + "exp_probs_b.bias"
        scores = self.product(x, w + "ffn_gate_inp.weight", here.observe)
        chosen, weights = route(scores, self.shape.experts, self.weight(balance) if balance in self.weights else None)

        def of_expert(part: str, expert: int, inputs: np.ndarray) -> np.ndarray:
            name = f"{w}{part}_exps."
            if here.observe is not None:
                here.observe(f"{name}weight#{expert}", inputs)
            y = inputs @ self._of_stack(name + "weight", expert).T
            return y + self.weight(name + "bias")[expert] if name + "bias" in self.weights else y

        def apply(expert: int, inputs: np.ndarray) -> np.ndarray:
            up, gate = of_expert("ffn_up", expert, inputs), of_expert("ffn_gate", expert, inputs)
            return of_expert("ffn_down", expert, activated(self.architecture.activation, up, gate))

        out = mixed(x, chosen, weights, apply)
        if w + "ffn_up_shexp.weight" not in self.weights:
            return out
        shared = self._feed_forward(x, w, here, "_shexp")
        gate = w + "ffn_gate_inp_shexp.weight"
        if gate in self.weights:
            shared *= sigmoid(x @ self.weight(gate).reshape(1, -1).T)
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
        local = kind.local(s, here.layer)
        q, k, v, gate = self._queries_keys_values(x, w, here, s.head_of(local))  # (sequences, n, heads, d)
        if kind.rotates(here.layer, local):
            angles = turn(s.rotary, here.positions, local, self.factors(here.positions))
            q = rotate(q, angles, kind.rotation)
            k = None if k is None else rotate(k, angles, kind.rotation)
        if kind.normed_after:
            q, k = self.norm(q, w + "attn_q_norm"), self.norm(k, w + "attn_k_norm")
        if s.temperature is not None:
            beyond = np.floor(here.positions / (s.rotary.original_context or s.context))
            q = q * (1 + s.temperature * np.log1p(beyond)).astype(np.float32)[:, None, None]
        if k is None:
            k, v = here.along.keys[local]
        else:
            k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)  # (sequences, kv_heads, n, d)
            if here.cache is not None:
                k, v = here.cache.take(here.layer, k, v)
        if here.along is not None:
            here.along.keys[local] = k, v
        sinks = self.weights.get(w + "attn_sinks.weight")
        sinks = None if sinks is None else self.weight(w + "attn_sinks.weight").reshape(-1)
        mix = attend(q * np.float32(s.scale), k, v, s.window if local else None, s.attention_cap, sinks)
        mix = mix.reshape(len(x), -1)
        return self.product(mix if gate is None else mix * gate, w + "attn_output.weight", here.observe)

    def _queries_keys_values(self, x: np.ndarray, w: str, here: Pass, head: int) -> list[np.ndarray | None]:
        """Each (sequences, n, heads, head_dim), queries and keys normalized where the architecture does; and what the
        heads' outputs are multiplied with, if there is such a gate. No keys and values where a layer before has them.
        """
        s, kind, gate = self.shape, self.architecture, None
        if kind.fused_attention:
            sizes = np.cumsum([s.heads * head, s.kv_heads * head])
            parts = np.split(self.product(x, w + "attn_qkv.weight", here.observe), sizes, axis=-1)
        elif here.layer >= s.layers - s.shared_layers:
            parts = [self.product(x, w + "attn_q.weight", here.observe), None, None]
        else:
            parts = [self.product(x, w + f"attn_{part}.weight", here.observe) for part in "qk"]
            value = w + "attn_v.weight"
            parts.append(self.product(x, value, here.observe) if value in self.weights else parts[1])
        if kind.gated_queries:
            both = parts[0].reshape(len(x), s.heads, 2, head)
            parts[0], gate = both[:, :, 0].reshape(len(x), -1), sigmoid(both[:, :, 1].reshape(len(x), -1))
        names = (w + "attn_q_norm", w + "attn_k_norm", None)

        def normed() -> list[np.ndarray | None]:
            both = zip(parts, names, strict=True)
            return [self.norm(part, name) if name and part is not None else part for part, name in both]

        parts = normed() if kind.head_norm == "all" else parts
        parts = [p if p is None else p.reshape(here.sequences, -1, p.shape[-1] // head, head) for p in parts]
        if kind.head_norm == "head" and not kind.normed_after and f"{names[0]}.weight" in self.weights:
            parts = normed()
        if kind.normed_values and parts[2] is not None:
            parts[2] = self._rescaled(parts[2])
        return [*parts, gate]

    def factors(self, positions: np.ndarray) -> np.ndarray | None:
        """What frequencies are divided by, where the checkpoint says it: others for texts beyond the first context."""
        original = self.shape.rotary.original_context
        long = original is not None and positions[-1] >= original
        names = ("rope_freqs.weight", f"rope_factors_{'long' if long else 'short'}.weight")
        return next((self.weight(name) for name in names if name in self.weights), None)


def load(checkpoint: Checkpoint, decoded: bool | None = None) -> Model:
    """The model of a checkpoint. decoded: whether all weights are held as float32; if not, each matrix is read from
    the checkpoint, which must stay open, and decoded when it is used: slower, in the memory of one matrix. By
    default what has up to DECODED weights is decoded.

    Raises CheckpointError for an architecture that is not known, and where a tensor or a number is missing or wrong.
    """
    check_reads_text(checkpoint)
    view = gguf_view(checkpoint)
    architecture = ARCHITECTURES.get(view.architecture)
    if architecture is None:
        known = by_name(view.architecture)
        if known is not None and known.encodes is not None:
            raise CheckpointError(
                f"{checkpoint.source} converts, but does not run as a language model: it makes embeddings, which "
                "`quantlib embeddings` compares with its original's."
            )
        does = "converts, but does not run" if known else "does not run"
        kind = (
            "does not say of which kind its model is"
            if view.architecture is None
            else (f"is a model of the kind {view.architecture[:40]!r}")
        )
        raise CheckpointError(
            f"{checkpoint.source} {kind}, which {does} here: its computation is not declared (`quantlib architectures` "
            "lists those that run)."
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
