"""The errors quantlib raises: each message is one sentence that a user can act on."""


class QuantlibError(Exception):
    """Base of all: what is wrong, where, and what to do about it."""


class FormatError(QuantlibError):
    """A format that is not known, or numbers that it cannot store."""


class ScaleError(FormatError):
    """Weights whose scale the format cannot store."""


class CheckpointError(QuantlibError):
    """A file that cannot be read as the checkpoint it claims to be."""


class MethodError(QuantlibError):
    """Weights or activations that a method of choosing codes cannot work with."""


class RecipeError(QuantlibError):
    """A recipe that is not known, or that cannot be applied to this checkpoint."""


class JobError(QuantlibError):
    """A run that could not finish; nothing is left under the final name."""


class Cancelled(QuantlibError):
    """The user stopped the run; nothing is left under the final name."""
