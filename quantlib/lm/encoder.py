"""Encoders in float32 numpy: every token sees every other, and what comes out are vectors of tokens.

    x = norm(embedding + positions);  for each layer:  x = norm(x + attention(x));  x = norm(x + feed_forward(x))
    or, normalized first:             for each layer:  x = x + attention(norm(x));  x = x + feed_forward(norm(x))

Devlin et al., "BERT", 2018; Raffel et al., "Exploring the Limits of Transfer Learning" (T5), 2019; Nussbaum et al.,
"Nomic Embed", 2024; Warner et al., "Smarter, Better, Faster, Longer" (ModernBERT), 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from quantlib.architectures.computation import Encoding
from quantlib.checkpoints import Tensor
from quantlib.errors import CheckpointError
from quantlib.lm.experts import mixed, route
from quantlib.lm.model import weight_of
from quantlib.lm.nonlinear import activated, softmax
from quantlib.lm.positions import rotate, turn
from quantlib.lm.shape import Experts, Rotary

FURTHEST = 128  # tokens from which on T5 tells distances no longer apart


@dataclass(frozen=True)
class EncoderShape:
    """The numbers of one encoder. window: tokens, half of them to each side; 0: all. full_every: as of Encoding."""

    layers: int
    heads: int
    head_dim: int
    context: int
    epsilon: float
    rotary: Rotary | None = None
    window: int = 0
    full_every: int = 1
    experts: Experts | None = None


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoder that runs. weights: by GGUF name, float32 arrays or tensors that are decoded at each use."""

    kind: Encoding
    shape: EncoderShape
    weights: Mapping[str, np.ndarray | Tensor] = field(repr=False)

    def weight(self, name: str) -> np.ndarray:
        """One tensor as float32. Raises CheckpointError where there is none."""
        return weight_of(self.weights, name)

    def hidden(self, tokens: np.ndarray) -> np.ndarray:
        """The last layer's vectors: int (n,) -> float32 (n, width). Raises CheckpointError for too many tokens."""
        tokens, kind = np.asarray(tokens), self.kind
        if tokens.size > self.shape.context:
            raise CheckpointError(
                f"A text of {tokens.size:,} tokens is longer than the model's {self.shape.context:,}."
            )
        x = self._embedded(tokens)
        if kind.positions == "learned":
            x = x + self.weight("position_embd.weight")[: tokens.size]
        if "token_types.weight" in self.weights:
            x = x + np.atleast_2d(self.weight("token_types.weight"))[0]  # of one kind alone, files keep a vector
        x = self._norm(x, "token_embd_norm")
        for layer in range(self.shape.layers):
            w = f"{kind.prefix}blk.{layer}."
            attend = partial(self._attention, layer=layer, w=w)
            forward = partial(self._forward, w=w)
            if kind.norm_first:
                x = x + attend(self._norm(x, f"{w}attn_norm"))
                x = x + forward(self._norm(x, f"{w}ffn_norm"))
            else:
                x = self._norm(x + attend(x), f"{w}attn_output_norm")
                x = self._norm(x + forward(x), f"{w}layer_output_norm")
        return self._norm(x, f"{kind.prefix}output_norm")

    def _embedded(self, tokens: np.ndarray) -> np.ndarray:
        """The rows of these tokens; of a vocabulary of a quarter of a million nothing else is decoded."""
        table = self.weights["token_embd.weight"]
        if isinstance(table, np.ndarray):
            return table[tokens]
        distinct, place = np.unique(tokens, return_inverse=True)
        return np.concatenate([table.rows(t, t + 1) for t in distinct.tolist()])[place]

    def _attention(self, x: np.ndarray, layer: int, w: str) -> np.ndarray:
        """softmax(q · kᵀ / sqrt(d) + distances) · v over the tokens in sight, head by head."""
        s, heads = self.shape, (len(x), self.shape.heads, self.shape.head_dim)
        if f"{w}attn_qkv.weight" in self.weights:
            parts = np.split(self._product(x, f"{w}attn_qkv"), 3, axis=-1)
        else:
            parts = [self._product(x, f"{w}attn_{part}") for part in "qkv"]
        q, k, v = (part.reshape(heads) for part in parts)
        sees_all = not s.window or layer % s.full_every == 0
        if s.rotary is not None:
            angles = turn(s.rotary, np.arange(len(x)), local=not sees_all)
            q, k = rotate(q, angles, "halves"), rotate(k, angles, "halves")
        scores = q.swapaxes(0, 1) @ k.transpose(1, 2, 0)  # (heads, n, n)
        if self.kind.positions == "distances":
            scores += self._distances(len(x), layer)
        else:
            scores /= np.float32(np.sqrt(s.head_dim))
        if not sees_all:
            place = np.arange(len(x))
            scores[:, np.abs(place[:, None] - place) > s.window // 2] = -np.inf
        out = softmax(scores) @ v.swapaxes(0, 1)
        return self._product(out.swapaxes(0, 1).reshape(len(x), -1), f"{w}{self.kind.output}")

    def _distances(self, n: int, layer: int) -> np.ndarray:
        """What each head adds for the distance of two tokens: float32 (heads, n, n). Layers without a table share the
        first one's.
        """
        name = f"{self.kind.prefix}blk.{{}}.attn_rel_b.weight"
        own = name.format(layer)
        table = self.weight(own if own in self.weights else name.format(0))
        return table[buckets(n, len(table))].transpose(2, 0, 1)

    def _forward(self, x: np.ndarray, w: str) -> np.ndarray:
        if f"{w}ffn_gate_inp.weight" in self.weights and self.shape.experts is not None:
            chosen, weights = route(self._product(x, f"{w}ffn_gate_inp"), self.shape.experts, None)
            up, down = self.weight(f"{w}ffn_up_exps.weight"), self.weight(f"{w}ffn_down_exps.weight")
            kind = self.kind.activation
            return mixed(x, chosen, weights, lambda e, rows: activated(kind, rows @ up[e].T, None) @ down[e].T)
        up, gate = self._product(x, f"{w}ffn_up"), None
        if self.kind.halves:
            gate, up = np.split(up, 2, axis=-1)
        elif f"{w}ffn_gate.weight" in self.weights:
            gate = self._product(x, f"{w}ffn_gate")
        kind = self.kind.activation if gate is None else self.kind.gate
        return self._product(activated(kind, up, gate), f"{w}ffn_down")

    def _product(self, x: np.ndarray, name: str) -> np.ndarray:
        y = x @ self.weight(f"{name}.weight").T
        return y + self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else y

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """The values normalized token by token; as they are where the model has no such norm."""
        if f"{name}.weight" not in self.weights:
            return x
        centred = x - x.mean(axis=-1, keepdims=True) if self.kind.norm == "layer" else x
        scale = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.shape.epsilon))
        y = centred / scale * self.weight(f"{name}.weight")
        return y + self.weight(f"{name}.bias") if f"{name}.bias" in self.weights else y


def buckets(n: int, count: int) -> np.ndarray:
    """Which of `count` numbers a head adds for each pair of n tokens: int (n, n), one half for those behind.

    Within a half, the first half of the numbers are for single distances, the others for ever longer stretches of them
    up to FURTHEST.
    """
    distance = np.arange(n)[None, :] - np.arange(n)[:, None]
    half = count // 2
    far, exact = np.abs(distance), half // 2
    stretch = np.log(np.maximum(far, 1) / max(exact, 1)) / np.log(FURTHEST / max(exact, 1)) * (half - exact)
    number = np.where(far < exact, far, np.minimum(exact + stretch.astype(np.int64), half - 1))
    return number + half * (distance > 0)
