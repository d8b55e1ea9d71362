"""Shapes of models that people know, as values: enough to plan them, size them and cache their context without weights.

The parameter counts that follow from them are tested against the ones that the model cards state.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.architectures.published import PUBLISHED, Sizes
from quantlib.checkpoints import Checkpoint, ImportanceMatrix, MetadataValue, Tensor
from quantlib.errors import CheckpointError
from quantlib.jobs import Plan, plan

PUBLISHED_AS = "BF16"


class Shape(Sizes):
    """What follows from the numbers that make one decoder differ from another."""

    @property
    def parameters(self) -> int:
        """Weights in all tensors."""
        return sum(rows * n for _, (rows, n) in self._flat())

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor by its GGUF name, with its row-major shape."""
        yield "token_embd.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            yield from ((f"blk.{layer}.{name}", shape) for name, shape in self._layer())
        yield "output_norm.weight", (self.hidden,)
        if not self.tied:
            yield "output.weight", (self.vocabulary, self.hidden)

    def _layer(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        yield "attn_norm.weight", (self.hidden,)
        yield "attn_q.weight", (queries, self.hidden)
        yield "attn_k.weight", (keys, self.hidden)
        yield "attn_v.weight", (keys, self.hidden)
        if self.qkv_bias:
            yield from (("attn_q.bias", (queries,)), ("attn_k.bias", (keys,)), ("attn_v.bias", (keys,)))
        if self.head_norm:
            yield from (("attn_q_norm.weight", (self.head_dim,)), ("attn_k_norm.weight", (self.head_dim,)))
        yield "attn_output.weight", (self.hidden, queries)
        if self.post_norm:
            yield from ((f"{name}.weight", (self.hidden,)) for name in ("post_attention_norm", "post_ffw_norm"))
        yield "ffn_norm.weight", (self.hidden,)
        if self.experts:
            yield "ffn_gate_inp.weight", (self.experts, self.hidden)
        suffix, stack = ("_exps", (self.experts,)) if self.experts else ("", ())
        yield f"ffn_gate{suffix}.weight", (*stack, self.feed_forward, self.hidden)
        yield f"ffn_up{suffix}.weight", (*stack, self.feed_forward, self.hidden)
        yield f"ffn_down{suffix}.weight", (*stack, self.hidden, self.feed_forward)

    def _flat(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for name, shape in self.tensors():
            rows = 1
            for dimension in shape[:-1]:
                rows *= dimension
            yield name, (rows, shape[-1])

    def checkpoint(self) -> Checkpoint:
        """A checkpoint of this shape that holds no weights: it can be planned and sized, and says so when it is read.

        Its metadata are the hyperparameters alone: a real file also carries its vocabulary, some megabytes.
        """
        prefix = self.architecture
        counts = {
            "block_count": self.layers,
            "context_length": self.context,
            "embedding_length": self.hidden,
            "feed_forward_length": self.feed_forward,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads,
            "attention.key_length": self.head_dim,
            "attention.value_length": self.head_dim,
            "expert_count": self.experts,
            "expert_used_count": self.used,
            "attention.sliding_window": self.window,
            "attention.sliding_window_pattern": self.full_every,
        }
        metadata = {"general.architecture": MetadataValue("string", prefix)} | {
            f"{prefix}.{key}": MetadataValue("uint32", value) for key, value in counts.items() if value
        }
        tensors = {name: _hollow(name, shape, self.name) for name, shape in self.tensors()}
        return Checkpoint(Path(self.name), "gguf", metadata, prefix, tensors)

    def planned(self, recipe: str) -> Plan:
        """The plan of this shape by a recipe; with an importance matrix where the recipe needs one."""
        checkpoint = self.checkpoint()
        found = plan(checkpoint, recipe)
        if not found.lacking:
            return found
        matrices = (t for t in checkpoint.tensors.values() if len(t.shape) > 1)
        ones = {t.name: np.ones((prod(t.shape[:-2]), t.shape[-1]), np.float32) for t in matrices}
        return plan(checkpoint, recipe, ImportanceMatrix("", ones))


def _hollow(name: str, shape: tuple[int, ...], model: str) -> Tensor:
    # Vectors are kept in FP32 by every converter.
    format = formats.get(PUBLISHED_AS if len(shape) > 1 else "FP32")
    rows = 1
    for dimension in shape[:-1]:
        rows *= dimension

    def read(start: int, stop: int) -> np.ndarray:
        raise CheckpointError(f"Only the shape of {model} is known here, not its weights: open its files to read them.")

    return Tensor(name, shape, format.name, rows * format.row_bytes(shape[-1]), read)


KNOWN = {sizes.name: Shape(**vars(sizes)) for sizes in PUBLISHED}
