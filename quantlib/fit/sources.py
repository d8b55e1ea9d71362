"""What a person names, a checkpoint, a model that is known by name or a size such as 8B, as something to be fitted."""

import re
from dataclasses import dataclass, replace
from math import log

from quantlib.checkpoints import Checkpoint, gguf_view, open_checkpoint
from quantlib.checkpoints.base import shown
from quantlib.errors import CheckpointError
from quantlib.fit.shapes import KNOWN, Shape

CLOSE = 1.04  # a size within 4% of a known model's is taken as that model's
UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}
SIZES = (1e7, 2e12)


@dataclass(frozen=True)
class Subject:
    """A model to be fitted: the checkpoint, the same as GGUF, and whose shape was assumed, in words, if any was."""

    name: str
    checkpoint: Checkpoint
    view: Checkpoint
    assumed: str = ""

    @property
    def parameters(self) -> int:
        return self.view.size


def subject(source: str) -> Subject:
    """A checkpoint's path or address, a known model's name in any case, or a size such as 8B or 500M.

    Raises CheckpointError where the source is none of these, or cannot be opened.
    """
    found = _of_text(str(source).strip())
    if found is not None:
        return found
    checkpoint = open_checkpoint(source)
    return Subject(checkpoint.source.name, checkpoint, gguf_view(checkpoint))


def named_subject(text: str) -> Subject:
    """A known model's name or a size, and nothing that would have to be opened: for text that a visitor types.

    Raises CheckpointError for anything else.
    """
    found = _of_text(text.strip())
    if found is None:
        raise CheckpointError(f"{shown(text.strip())} is no size: write one such as 8B, 13.5B or 500M.")
    return found


def _of_text(text: str) -> Subject | None:
    """By name or size; for a size the nearest known shape, with more or fewer layers where it is not near."""
    known = {name.lower(): shape for name, shape in KNOWN.items()}.get(text.lower())
    if known:
        return _of_shape(known, "")
    size = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*([MBT])", text, re.IGNORECASE)
    return _of_size(float(size[1]) * UNITS[size[2].upper()], text) if size else None


def _of_shape(shape: Shape, assumed: str) -> Subject:
    checkpoint = shape.checkpoint()
    return Subject(shape.name, checkpoint, checkpoint, assumed)


def _of_size(parameters: float, text: str) -> Subject:
    if not SIZES[0] <= parameters <= SIZES[1]:
        raise CheckpointError(f"{text} is no size of a language model; sizes from 10M to 2T are read.")
    dense = (shape for shape in KNOWN.values() if not shape.experts)
    near = min(dense, key=lambda shape: abs(log(shape.parameters / parameters)))
    if 1 / CLOSE <= near.parameters / parameters <= CLOSE:
        return _of_shape(near, f"the shape of {near.name}, {near.parameters:,} weights")
    flat = replace(near, layers=0).parameters
    layers = max(1, round((parameters - flat) / ((near.parameters - flat) / near.layers)))
    shape = replace(near, name=text, layers=layers)
    return _of_shape(
        shape, f"the shape of {near.name} with {layers:,} layers instead of {near.layers}, {shape.parameters:,} weights"
    )
