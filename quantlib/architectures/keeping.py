"""What llama.cpp keeps of a conversation for an architecture, where no key of a file says it, as a value.

Source: load_arch_hparams() of each model in llama.cpp's src/models, and llama_model::create_memory().
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keeping:
    """whole: every layer sees everything, whatever window the file states. own: so many layers from the first keep
    keys and values, and later ones use theirs. state: "all" layers have one, "beside" their attention or alone; None:
    those without key-value heads. alone: a layer is one of three, a state, attention or feed-forward.
    """

    whole: bool = False
    own: int | None = None
    state: str | None = None
    alone: bool = False


USUAL = Keeping()
