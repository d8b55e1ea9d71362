"""Models that see pictures have two halves, and GGUF keeps each in a file of its own."""

from __future__ import annotations

from dataclasses import replace

from quantlib.checkpoints.base import Checkpoint, fault

PART, VISION = "part", "vision"


def vision_half(checkpoint: Checkpoint) -> Checkpoint:
    """The half of a Hugging Face folder that sees pictures: planned and run, it becomes llama.cpp's mmproj file.

    Raises CheckpointError for what is no folder; for a model that has no such half, when it is planned.
    """
    if checkpoint.kind != "huggingface":
        raise fault(
            checkpoint.source,
            "is no folder with a config.json, which tells what sees pictures: open the model's folder.",
        )
    return replace(checkpoint, metadata={**checkpoint.metadata, PART: VISION})
