"""Tensors of a file without an architecture, each made one that GGUF can hold, or left out with a note."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from quantlib.checkpoints.base import Tensor, shown
from quantlib.checkpoints.gguf_types import MAX_DIMS

UNSTORABLE = ("BOOL", "U8", "U16", "U32", "U64", "C64")  # GGUF has none, and they are no weights


def storable(tensors: Iterable[Tensor]) -> tuple[list[Tensor], tuple[str, ...]]:
    """The tensors that GGUF can hold, in order, and notes on what was left out or has another shape.

    A number alone becomes a vector of one value. Of more than four dimensions the first ones become one.
    """
    kept, left, folded = [], [], []
    for tensor in tensors:
        if tensor.format in UNSTORABLE:
            left.append(tensor)
            continue
        if not tensor.shape:
            tensor = replace(tensor, shape=(1,))
        elif len(tensor.shape) > MAX_DIMS:
            first = len(tensor.shape) - MAX_DIMS + 1
            tensor = replace(tensor, shape=(math.prod(tensor.shape[:first]), *tensor.shape[first:]))
            folded.append(tensor)
        kept.append(tensor)
    notes = []
    if left:
        names = ", ".join(f"{shown(t.name)} ({t.format})" for t in left[:3])
        notes.append(f"{len(left):,} tensors are left out, because GGUF has no type for their values: {names}.")
    if folded:
        notes.append(
            f"{len(folded):,} tensors have more than {MAX_DIMS} dimensions, and their first ones are stored as one: "
            f"{shown(folded[0].name)} as {list(folded[0].shape)}."
        )
    return kept, tuple(notes)
