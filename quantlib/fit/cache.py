"""What llama.cpp keeps of a conversation, layer by layer: keys and values, or the state of a recurrent layer.

cells of a layer that sees everything = context, rounded up to 256
cells of a layer with a window        = min(those, window + batch), rounded up to 256
bytes of a layer = cells · (bytes of its keys + bytes of its values) + 4 · numbers of its state

Source: llama_kv_cache, llama_kv_cache_iswa, llama_memory_recurrent and llama_hparams in llama.cpp's src. For one
conversation at a time (`--parallel 1`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantlib import formats
from quantlib.architectures import by_name, keeping_of
from quantlib.checkpoints import Checkpoint
from quantlib.checkpoints.base import shown
from quantlib.checkpoints.image_models import check_reads_text
from quantlib.errors import CheckpointError

MOST_LAYERS = 4096
PADDING = 256  # cells come in so many
BATCH = 512  # tokens of a prompt that llama.cpp computes at once, its --ubatch-size
CACHE_FORMATS = ("FP16", "Q8_0", "Q4_0")


@dataclass(frozen=True)
class CacheLayer:
    """What one layer keeps: keys and values of so many heads for each token, and a state that does not grow.

    kv_heads: 0 where it keeps none. value_dim: 0 where values are made of the keys (MLA). window: tokens that it looks
    back over; 0: all. state: 32-bit numbers of a recurrent layer. index: numbers of a key by which sparse attention
    chooses its tokens.
    """

    kv_heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    window: int = 0
    state: int = 0
    index: int = 0

    @property
    def values(self) -> int:
        """Numbers kept of one token: kv_heads · (key_dim + value_dim) + index."""
        return self.kv_heads * (self.key_dim + self.value_dim) + self.index

    def cells(self, context: int, batch: int = BATCH) -> int:
        """For how many tokens it has room."""
        if not self.values:
            return 0
        whole = padded(context)
        return min(whole, padded(self.window + batch)) if self.window else whole

    def nbytes(self, context: int, format: str = "FP16", batch: int = BATCH) -> int:
        """Bytes that are allocated for it."""
        kept = (self.kv_heads * self.key_dim, self.kv_heads * self.value_dim, self.index)
        rows = sum(_row_bytes(format, values) for values in kept if values)
        return self.cells(context, batch) * rows + 4 * self.state


def padded(cells: int) -> int:
    """Rounded up to a multiple of 256."""
    return -(-cells // PADDING) * PADDING


def _row_bytes(format: str, values: int) -> int:
    """Bytes of a row; where its length does not fill blocks, llama.cpp refuses, and the last block counts whole."""
    known = formats.get(format)
    return known.row_bytes(-(-values // known.values) * known.values)


def cache_bytes(layers: Iterable[CacheLayer], context: int, format: str = "FP16", batch: int = BATCH) -> int:
    """Bytes that llama.cpp allocates for keys, values and states of so many tokens."""
    return sum(layer.nbytes(context, format, batch) for layer in layers)


def token_bytes(layers: Iterable[CacheLayer], format: str = "FP16") -> float:
    """Bytes that one more token takes, in the layers that see everything."""
    return sum(layer.values for layer in layers if not layer.window) * formats.get(format).bpw / 8


def cache_of(view: Checkpoint) -> tuple[CacheLayer, ...]:
    """What each layer of a model keeps, from a GGUF view's metadata.

    Raises CheckpointError where the metadata lack the number of layers or heads, or claim what cannot be.
    """
    check_reads_text(view)
    blocks = _count(view, "block_count")
    if blocks > MOST_LAYERS:
        raise CheckpointError(f"{view.source} claims {blocks:,} layers, which cannot be.")
    layers = max(0, blocks - _count(view, "nextn_predict_layers", 0))  # layers that predict further tokens keep nothing
    state = _state(view)
    known = keeping_of(view.architecture)
    if known.state == "all":
        return tuple(CacheLayer(state=state) for _ in range(layers))
    heads = _per_layer(view, "attention.head_count", blocks)
    kv_heads = _per_layer(view, "attention.head_count_kv", blocks, heads)
    recurrent = _recurrent(view, blocks, kv_heads) if state else [False] * blocks
    windows, wide, narrow = _windows(view, blocks), _dims(view, heads), _dims(view, heads, "_swa")
    keeping, index = _keeping(view, layers), _count(view, "attention.indexer.key_length", 0)
    found = []
    for layer in range(layers):
        key_dim, value_dim = narrow if windows[layer] else wide
        attends = kv_heads[layer] > 0 and layer < keeping and (known.state == "beside" or not recurrent[layer])
        kept = CacheLayer(kv_heads[layer], key_dim, value_dim, windows[layer], index=index)
        attention = kept if attends else CacheLayer()
        found.append(replace(attention, state=state) if recurrent[layer] else attention)
    return tuple(found)


def _dims(view: Checkpoint, heads: Sequence[int], suffix: str = "") -> tuple[int, int]:
    """Widths of a key and of a value in layers with a window ("_swa") or without; no values where they are latents."""
    width = _count(view, "embedding_length", 0) // max(1, max(heads, default=1))
    key_dim = _count(view, "attention.key_length", width)
    value_dim = _count(view, "attention.value_length", key_dim)
    if not key_dim:
        raise CheckpointError(
            f"{view.source} does not say how wide its attention heads are ({view.architecture}.embedding_length)."
        )
    if _count(view, "attention.key_length_mla", 0) and _count(view, "attention.value_length_mla", 0):
        value_dim = 0
    if suffix:
        return _count(view, f"attention.key_length{suffix}", key_dim), _count(
            view, f"attention.value_length{suffix}", value_dim
        )
    return key_dim, value_dim


def _state(view: Checkpoint) -> int:
    """Numbers that a recurrent layer keeps: the last inputs of its convolution, and the state itself."""
    if kernel := _count(view, "shortconv.l_cache", 0):
        return _count(view, "embedding_length") * (kernel - 1)
    inner, size = _count(view, "ssm.inner_size", 0), _count(view, "ssm.state_size", 0)
    if not inner or not size:
        return 0
    passing = inner + 2 * _count(view, "ssm.group_count", 0) * size
    return max(0, _count(view, "ssm.conv_kernel", 0) - 1) * passing + size * inner


def _recurrent(view: Checkpoint, blocks: int, kv_heads: Sequence[int]) -> list[bool]:
    """Which layers have a state."""
    known = keeping_of(view.architecture)
    if known.state:
        return [True] * blocks
    listed = view.value(f"{view.architecture}.attention.recurrent_layers")
    if isinstance(listed, Sequence | np.ndarray) and not isinstance(listed, str) and len(listed) == blocks:
        return [bool(each) for each in listed]
    every = _count(view, "full_attention_interval", 0)
    if every:
        return [(layer + 1) % every != 0 for layer in range(blocks)]
    forward = _per_layer(view, "feed_forward_length", blocks, [0] * blocks)
    return [not kv_heads[n] and not (known.alone and forward[n]) for n in range(blocks)]


def _keeping(view: Checkpoint, layers: int) -> int:
    """How many layers, from the first, keep keys and values of their own."""
    if (own := keeping_of(view.architecture).own) is not None:
        return own
    return layers - min(layers, _count(view, "attention.shared_kv_layers", 0))


def _windows(view: Checkpoint, blocks: int) -> list[int]:
    arch = view.architecture or ""
    declared = by_name(arch)
    key = f"{arch}.attention.sliding_window"
    silent = declared.window if declared else 0
    window, pattern = _count(view, "attention.sliding_window", silent), view.value(f"{key}_pattern")
    if not window or keeping_of(arch).whole:
        return [0] * blocks
    if isinstance(pattern, Sequence | np.ndarray) and not isinstance(pattern, str) and len(pattern) == blocks:
        return [window if slides else 0 for slides in pattern]
    full = (declared.global_every if declared else None) or 1
    every = pattern if type(pattern) is int and pattern > 0 else full
    return [0 if layer % every == every - 1 else window for layer in range(blocks)]


def _count(view: Checkpoint, key: str, default: int | None = None) -> int:
    value = view.value(f"{view.architecture}.{key}", default)
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        if value is None:
            lacking = shown(f"{view.architecture}.{key}") if view.architecture else "architecture"
            raise CheckpointError(f"{view.source} does not say its {lacking}, so its cache is unknown.")
        raise CheckpointError(f"{view.source} gives {view.architecture}.{key} as {str(value)[:40]}, no whole number.")
    return int(value)


def _per_layer(view: Checkpoint, key: str, layers: int, default: list[int] | None = None) -> list[int]:
    """A count that a file states once for all layers, or as an array with one for each."""
    value = view.value(f"{view.architecture}.{key}")
    if isinstance(value, np.ndarray | list | tuple):
        if len(value) != layers:
            raise CheckpointError(f"{view.source} lists {len(value):,} values of {key} for {layers:,} layers.")
        if not all(isinstance(v, int | np.integer) and 0 <= v < 2**32 for v in value):
            raise CheckpointError(f"{view.source} lists values of {key} that are no whole numbers.")
        return [int(v) for v in value]
    if value is None and default is not None:
        return default
    return [_count(view, key)] * layers
