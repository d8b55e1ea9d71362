"""Shapes of models that people know, as values: enough to plan them, size them and cache their context without weights.

Source: each model's published config.json. The parameter counts that follow from them are tested against the ones that
the model cards state.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quantlib import formats
from quantlib.checkpoints import Checkpoint, MetadataValue, Tensor
from quantlib.errors import CheckpointError

PUBLISHED_AS = "BF16"


@dataclass(frozen=True)
class Shape:
    """The numbers that make one decoder differ from another; names and meanings as in GGUF.

    experts, used: matrices of the feed-forward in each layer, and how many of them a token passes through.
    window, full_every: most layers see only the last `window` tokens; one in `full_every` sees all.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    vocabulary: int
    context: int
    architecture: str = "llama"
    tied: bool = False
    experts: int = 0
    used: int = 0
    window: int = 0
    full_every: int = 0
    qkv_bias: bool = False
    head_norm: bool = False
    post_norm: bool = False

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


def _hollow(name: str, shape: tuple[int, ...], model: str) -> Tensor:
    # Vectors are kept in FP32 by every converter.
    format = formats.get(PUBLISHED_AS if len(shape) > 1 else "FP32")
    rows = 1
    for dimension in shape[:-1]:
        rows *= dimension

    def read(start: int, stop: int):
        raise CheckpointError(f"Only the shape of {model} is known here, not its weights: open its files to read them.")

    return Tensor(name, shape, format.name, rows * format.row_bytes(shape[-1]), read)


_LLAMA_3 = {"head_dim": 128, "kv_heads": 8, "vocabulary": 128_256}
_QWEN_2 = {"architecture": "qwen2", "qkv_bias": True, "context": 32_768}
_QWEN_3 = {"head_dim": 128, "vocabulary": 151_936, "context": 40_960, "head_norm": True}
_GEMMA_3 = {
    "architecture": "gemma3", "head_dim": 256, "vocabulary": 262_208, "context": 131_072, "tied": True,
    "head_norm": True, "post_norm": True, "window": 1024, "full_every": 6,
}  # fmt: skip

KNOWN = {
    shape.name: shape
    for shape in (
        Shape("Qwen2.5-0.5B", 896, 24, 14, 2, 64, 4864, 151_936, tied=True, **_QWEN_2),
        Shape("Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192, 128_256, 131_072, tied=True),
        Shape("Llama-3.2-3B", 3072, 28, 24, feed_forward=8192, context=131_072, tied=True, **_LLAMA_3),
        Shape("Gemma-3-4B", 2560, 34, 8, 4, feed_forward=10_240, **_GEMMA_3),
        Shape("Llama-2-7B", 4096, 32, 32, 32, 128, 11_008, 32_000, 4096),
        Shape("Mistral-7B-v0.3", 4096, 32, 32, 8, 128, 14_336, 32_768, 32_768),
        Shape("Qwen2.5-7B", 3584, 28, 28, 4, 128, 18_944, 152_064, **_QWEN_2),
        Shape("Llama-3-8B", 4096, 32, 32, feed_forward=14_336, context=8192, **_LLAMA_3),
        Shape("Qwen3-8B", 4096, 36, 32, 8, feed_forward=12_288, architecture="qwen3", **_QWEN_3),
        Shape("Gemma-2-9B", 3584, 42, 16, 8, 256, 14_336, 256_000, 8192, architecture="gemma2", tied=True,
              post_norm=True, window=4096, full_every=2),
        Shape("Llama-2-13B", 5120, 40, 40, 40, 128, 13_824, 32_000, 4096),
        Shape("Gemma-3-27B", 5376, 62, 32, 16, **{**_GEMMA_3, "head_dim": 128}, feed_forward=21_504),
        Shape("Qwen3-30B-A3B", 2048, 48, 32, 4, feed_forward=768, architecture="qwen3moe", experts=128, used=8,
              **_QWEN_3),
        Shape("Qwen3-32B", 5120, 64, 64, 8, feed_forward=25_600, architecture="qwen3", **_QWEN_3),
        Shape("Mixtral-8x7B", 4096, 32, 32, 8, 128, 14_336, 32_000, 32_768, experts=8, used=2),
        Shape("Llama-3-70B", 8192, 80, 64, feed_forward=28_672, context=8192, **_LLAMA_3),
    )
}  # fmt: skip
