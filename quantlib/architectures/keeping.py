"""What llama.cpp keeps of a conversation for an architecture, where no key of a file says it.

Source: load_arch_hparams() of each model in llama.cpp's src/models, and llama_model::create_memory().
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keeping:
    """full_every: of layers with a window, one in so many sees everything all the same. window: where the file states
    none. whole: every layer sees everything, whatever window the file states. own: so many layers from the first keep
    keys and values, and later ones use theirs. state: "all" layers have one, "beside" their attention or alone; None:
    those without key-value heads. alone: a layer is one of three, a state, attention or feed-forward.
    """

    full_every: int = 1
    window: int = 0
    whole: bool = False
    own: int | None = None
    state: str | None = None
    alone: bool = False


USUAL = Keeping()
_KEEPING = {
    "gemma2": Keeping(full_every=2),
    "gemma3": Keeping(full_every=6),
    "gemma3n": Keeping(full_every=5, own=20),
    "gemma4": Keeping(full_every=6),
    "cohere2": Keeping(full_every=4),
    "olmo2": Keeping(full_every=4),
    "gpt-oss": Keeping(full_every=2),
    "exaone4": Keeping(full_every=4),
    "llama4": Keeping(full_every=4, window=8192),
    "phi3": Keeping(whole=True),
    "falcon-h1": Keeping(state="beside"),
    "mamba": Keeping(state="all"),
    "mamba2": Keeping(state="all"),
    "nemotron_h": Keeping(alone=True),
    "nemotron_h_moe": Keeping(alone=True),
}


def keeping_of(name: str | None) -> Keeping:
    """By GGUF's name of the architecture; the usual for others."""
    return _KEEPING.get(name or "", USUAL)
