"""The half of a model that sees pictures, which llama.cpp keeps in a file of its own (mmproj, architecture "clip").

It is declared as an architecture like any other. Its numbers come from several files: those of config.json's
vision_config stand under their own names, those of the whole config.json behind "model.", those of the language model
behind "text.", those of the preprocessor's file behind "preprocessor.", and numbers of tokens behind "token.".
Source: MmprojModel of llama.cpp's conversion/base.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantlib.architectures.changes import Change, row_count
from quantlib.architectures.config import Config, Setting, count, listed, number, text
from quantlib.architectures.declaration import FILE_TYPE, Key, Weight

NAME = "clip"
SETTINGS: dict[str, Setting] = {
    "projection": count("text.hidden_size", "text.n_embd", low=1, high=2**24),
    "image_size": count("image_size", low=1, high=2**20),
    "patch": count("patch_size", low=1, high=2**12),
    "channels": count("num_channels", "in_channels", low=1, high=64),
    "mean": listed("preprocessor.image_mean", low=-1e6, high=1e6),
    "deviation": listed("preprocessor.image_std", low=-1e6, high=1e6),
    "merge": count("spatial_merge_size", "model.spatial_merge_size", low=1, high=64),
    "activation": text("hidden_act"),
}
# What transformers fills in: three channels, and nothing of what other files say.
DEFAULTS: dict[str, object] = {"channels": 3}


def sizes(config: Config) -> dict[str, int]:
    """Sizes of vision weights beside the common ones."""
    return {
        "patch": config.patch,
        "channels": config.channels,
        "projection": config.projection,
        "merged": config.width * (config.merge or 1) ** 2,
    }


def keys(*more: Key, projector: str, own: bool = False) -> tuple[Key, ...]:
    """The keys of a vision half in the converter's order. own: whether it names the projector as vision's own."""
    return (
        FILE_TYPE,
        always("has_vision_encoder", True),
        Key("vision.projection_dim", "uint32", "projection"),
        Key("vision.image_size", "uint32", "image_size"),
        Key("vision.patch_size", "uint32", "patch"),
        Key("vision.embedding_length", "uint32", "width"),
        Key("vision.feed_forward_length", "uint32", "ffn"),
        Key("vision.block_count", "uint32", "layers"),
        Key("vision.attention.head_count", "uint32", "heads"),
        Key("vision.image_mean", "array[float32]", lambda config: list(config.mean)),
        Key("vision.image_std", "array[float32]", lambda config: list(config.deviation)),
        Key("vision.projector_type" if own else "projector_type", "string", lambda config: projector),
        *more,
    )


def always(name: str, value: bool) -> Key:
    """A flag that every model of the kind has."""
    return Key(name, "bool", lambda config: value)


def epsilon(value: Callable[[Config], object]) -> Key:
    """What norms add to the variance."""
    return Key("vision.attention.layer_norm_epsilon", "float32", value)


MERGE = Key("vision.spatial_merge_size", "uint32", "merge")


def as_patches(asked: str) -> str:
    """llama.cpp wants the convolution over patches in FP16 where the rest is, else in FP32."""
    return "FP16" if asked == "FP16" else "FP32"


PATCH_SHAPE = ("width", "channels", "patch", "patch")


def patches(gguf: str, hf: str, change: Change, exact: bool = False) -> Weight:
    """The convolution that makes vectors of patches."""
    return Weight(gguf, hf, PATCH_SHAPE, change, bias="none" if exact else "optional", exact=exact, stored=as_patches)


def moment(index: int) -> Change:
    """One of two moments of a convolution that also goes over time."""
    return Change(
        source=lambda s, config: (s[0], s[1], 2, s[2], s[3]),
        arrange=lambda x, shape, config: x[:, :, index],
    )


def third(index: int) -> Change:
    """One of three matrices, or vectors, that lie after each other."""
    return Change(
        source=lambda s, config: (3 * s[0], *s[1:]),
        rows=lambda s, config: index * row_count(s) + np.arange(row_count(s)),
    )


LAYER_NORM = number("layer_norm_eps", low=0.0, high=1.0)
