"""Whether a checkpoint is an image or video model, and the sentence that says what cannot be done with one."""

from quantlib.architectures.diffusion import Family, family_of, own_names
from quantlib.checkpoints.base import Checkpoint
from quantlib.errors import CheckpointError


def image_family(checkpoint: Checkpoint) -> Family | None:
    """The family of image or video models that a checkpoint is of, by its tensors' names; None for all others."""
    return family_of(own_names(checkpoint.tensors).values())


def check_reads_text(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError where a checkpoint is an image model: no text can be run through it."""
    if (family := image_family(checkpoint)) is not None:
        raise CheckpointError(
            f"{checkpoint.source} is an image or video model ({family.title}). It reads no text by itself, so nothing "
            "that runs a text through a model applies to it; it can be quantized, inspected and compared."
        )
