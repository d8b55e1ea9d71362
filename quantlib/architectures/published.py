"""Sizes of models that people know. Source: each model's published config.json."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sizes:
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


_LLAMA_3: dict[str, Any] = {"head_dim": 128, "kv_heads": 8, "vocabulary": 128_256}
_QWEN_2: dict[str, Any] = {"architecture": "qwen2", "qkv_bias": True, "context": 32_768}
_QWEN_3: dict[str, Any] = {"head_dim": 128, "vocabulary": 151_936, "context": 40_960, "head_norm": True}
_GEMMA_3: dict[str, Any] = {
    "architecture": "gemma3", "head_dim": 256, "vocabulary": 262_208, "context": 131_072, "tied": True,
    "head_norm": True, "post_norm": True, "window": 1024, "full_every": 6,
}  # fmt: skip

PUBLISHED = (
    Sizes("Qwen2.5-0.5B", 896, 24, 14, 2, 64, 4864, 151_936, tied=True, **_QWEN_2),
    Sizes("Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192, 128_256, 131_072, tied=True),
    Sizes("Llama-3.2-3B", 3072, 28, 24, feed_forward=8192, context=131_072, tied=True, **_LLAMA_3),
    Sizes("Gemma-3-4B", 2560, 34, 8, 4, feed_forward=10_240, **_GEMMA_3),
    Sizes("Llama-2-7B", 4096, 32, 32, 32, 128, 11_008, 32_000, 4096),
    Sizes("Mistral-7B-v0.3", 4096, 32, 32, 8, 128, 14_336, 32_768, 32_768),
    Sizes("Qwen2.5-7B", 3584, 28, 28, 4, 128, 18_944, 152_064, **_QWEN_2),
    Sizes("Llama-3-8B", 4096, 32, 32, feed_forward=14_336, context=8192, **_LLAMA_3),
    Sizes("Qwen3-8B", 4096, 36, 32, 8, feed_forward=12_288, architecture="qwen3", **_QWEN_3),
    Sizes("Gemma-2-9B", 3584, 42, 16, 8, 256, 14_336, 256_000, 8192, architecture="gemma2", tied=True,
          post_norm=True, window=4096, full_every=2),
    Sizes("Llama-2-13B", 5120, 40, 40, 40, 128, 13_824, 32_000, 4096),
    Sizes("Gemma-3-27B", 5376, 62, 32, 16, **{**_GEMMA_3, "head_dim": 128}, feed_forward=21_504),
    Sizes("Qwen3-30B-A3B", 2048, 48, 32, 4, feed_forward=768, architecture="qwen3moe", experts=128, used=8,
          **_QWEN_3),
    Sizes("Qwen3-32B", 5120, 64, 64, 8, feed_forward=25_600, architecture="qwen3", **_QWEN_3),
    Sizes("Mixtral-8x7B", 4096, 32, 32, 8, 128, 14_336, 32_000, 32_768, experts=8, used=2),
    Sizes("Llama-3-70B", 8192, 80, 64, feed_forward=28_672, context=8192, **_LLAMA_3),
)  # fmt: skip
