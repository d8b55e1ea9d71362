"""The working memory of llama.cpp's computation: an estimate, held against what it prints for real models.

It is the largest set of tensors that are alive at once while a batch of a prompt passes:

in the last step  4 · batch · (vocabulary + 2 · width)                                  the scores of every token
in a layer        4 · batch · (3 · feed-forward + 4 · width) + 2 · batch · cells        with the mask of who sees whom

For a mixture of experts the feed-forward is that of all experts that a token uses; where keys are latents, each head's
query is as wide as they are, and three of those are alive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantlib.checkpoints import Checkpoint
from quantlib.fit.cache import BATCH, padded

RESERVE = 1.08  # of what the two steps leave out: linear attention, windows with a mask of their own


def work_bytes(view: Checkpoint, context: int, batch: int = BATCH) -> int:
    """Bytes of the compute buffer, about."""
    embedding = view.tensors.get("token_embd.weight")
    vocabulary, width = embedding.shape if embedding is not None and len(embedding.shape) == 2 else (0, 0)
    routed = _number(view, "expert_used_count") * _number(view, "expert_feed_forward_length")
    forward = max(_number(view, "feed_forward_length"), routed)
    if _number(view, "expert_count") and not routed:
        forward *= max(1, _number(view, "expert_used_count"))
    batch = min(batch, padded(context))
    last = 4 * batch * (vocabulary + 2 * width)
    latent = _number(view, "attention.key_length_mla") and _number(view, "attention.key_length")
    queries = latent * _number(view, "attention.head_count")
    layer = 4 * batch * max(3 * forward + 4 * width, 3 * queries) + 2 * batch * padded(context)
    return round(RESERVE * max(last, layer))


def _number(view: Checkpoint, key: str) -> int:
    """A count of the metadata; the largest where it is stated layer by layer."""
    value = view.value(f"{view.architecture}.{key}", 0)
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return max((int(each) for each in value), default=0)
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else 0
