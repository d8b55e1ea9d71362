"""What each layer keeps of every token: keys and values, read from a model's GGUF metadata."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantlib.architectures import by_name
from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.image_models import check_reads_text
from quantlib.errors import CheckpointError

MOST_LAYERS = 4096


@dataclass(frozen=True)
class CacheLayer:
    """What one layer caches of a token: keys and values of so many heads. window: tokens that it sees; 0: all."""

    kv_heads: int
    key_dim: int
    value_dim: int
    window: int = 0

    @property
    def values(self) -> int:
        """Numbers cached for one token: kv_heads · (key_dim + value_dim)."""
        return self.kv_heads * (self.key_dim + self.value_dim)

    def tokens(self, context: int) -> int:
        """How many tokens of the context it keeps."""
        return min(context, self.window) if self.window else context


def attention_of(view: Checkpoint) -> tuple[CacheLayer, ...]:
    """The cache of each layer, from a GGUF view's metadata.

    Raises CheckpointError where the metadata lack the number of layers or heads, or claim what cannot be.
    """
    check_reads_text(view)
    arch = view.architecture
    layers = _count(view, "block_count")
    if layers > MOST_LAYERS:
        raise CheckpointError(f"{view.source} claims {layers:,} layers, which cannot be.")
    heads = _per_layer(view, "attention.head_count", layers)
    kv_heads = _per_layer(view, "attention.head_count_kv", layers, heads)
    width = _count(view, "embedding_length", 0) // max(1, max(heads, default=1))
    key_dim = _count(view, "attention.key_length", width)
    value_dim = _count(view, "attention.value_length", key_dim)
    if not key_dim:
        raise CheckpointError(f"{view.source} does not say how wide its attention heads are ({arch}.embedding_length).")
    windows = _windows(view, layers)
    return tuple(CacheLayer(k, key_dim, value_dim, w) for k, w in zip(kv_heads, windows, strict=True))


def _windows(view: Checkpoint, layers: int) -> list[int]:
    arch = view.architecture
    declared = by_name(arch)
    window = _count(view, "attention.sliding_window", declared.window if declared else 0)
    pattern = view.value(f"{arch}.attention.sliding_window_pattern")
    if not window:
        return [0] * layers
    if isinstance(pattern, Sequence | np.ndarray) and len(pattern) == layers:
        return [window if slides else 0 for slides in pattern]
    every = pattern if isinstance(pattern, int) and pattern > 0 else (declared.global_every or 1 if declared else 1)
    return [0 if layer % every == every - 1 else window for layer in range(layers)]


def _count(view: Checkpoint, key: str, default: int | None = None) -> int:
    value = view.value(f"{view.architecture}.{key}", default)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        if value is None:
            raise CheckpointError(f"{view.source} does not say its {view.architecture}.{key}, so its cache is unknown.")
        raise CheckpointError(f"{view.source} gives {view.architecture}.{key} as {str(value)[:40]}, no whole number.")
    return int(value)


def _per_layer(view: Checkpoint, key: str, layers: int, default: list[int] | None = None) -> list[int]:
    """A count that a file states once for all layers, or as an array with one for each."""
    value = view.value(f"{view.architecture}.{key}")
    if isinstance(value, np.ndarray | list | tuple):
        if len(value) != layers:
            raise CheckpointError(f"{view.source} lists {len(value):,} values of {key} for {layers:,} layers.")
        return [int(v) for v in value]
    if value is None and default is not None:
        return default
    return [_count(view, key)] * layers
