"""Which tensor of one checkpoint is which of another: by name, or by what names mean where they differ."""

import re
from collections.abc import Mapping

from quantlib.architectures import prefixes
from quantlib.checkpoints import Checkpoint, Tensor, gguf_view
from quantlib.errors import QuantlibError

# What programs put before the names of a model that they wrap.
WRAPPERS = re.compile(rf"^(?:(?:module|_orig_mod|base_model|{'|'.join(map(re.escape, prefixes()))})\.)+")
ENOUGH = 0.5  # of the smaller one's tensors: from this share of common names on, names are taken as they are

Tensors = Mapping[str, Tensor]


def aligned(checkpoint: Checkpoint, other: Checkpoint) -> tuple[Tensors, Tensors]:
    """The tensors of both under common names.

    Where one is a GGUF file and the other is not, both are seen as GGUF stores them (names, order of rows). Else names
    count as they are, or without what wrappers put before them, or as GGUF would call them: the first of these that
    gives the smaller one's tensors a partner.
    Raises CheckpointError where the first of these views cannot be made.
    """
    if checkpoint.kind != other.kind and "gguf" in (checkpoint.kind, other.kind):
        return gguf_view(checkpoint).tensors, gguf_view(other).tensors
    pairs = [(checkpoint.tensors, other.tensors)]
    if _shared(*pairs[0]) < ENOUGH:
        pairs.append((_unwrapped(checkpoint.tensors), _unwrapped(other.tensors)))
        pairs.append((_as_gguf(checkpoint), _as_gguf(other)))
    return max(pairs, key=lambda pair: _shared(*pair))


def _shared(a: Tensors, b: Tensors) -> float:
    return len(a.keys() & b.keys()) / max(1, min(len(a), len(b)))


def _unwrapped(tensors: Tensors) -> Tensors:
    """The names without their wrappers; as they are where two would be one."""
    short = {WRAPPERS.sub("", name): tensor for name, tensor in tensors.items()}
    return short if len(short) == len(tensors) else tensors


def _as_gguf(checkpoint: Checkpoint) -> Tensors:
    try:
        return gguf_view(checkpoint).tensors
    except QuantlibError:
        return checkpoint.tensors
