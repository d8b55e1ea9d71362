"""What a way of storing quantized weights is: its name in config.json, the parts of a module, and how they decode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.untrusted import Fields


class Undecodable(Exception):
    """A variant that is recognised but not decoded: what it is, in words."""


Decode = Callable[[Path, Fields, Mapping[str, Mapping[str, Tensor]]], dict[str, Tensor]]


@dataclass(frozen=True)
class Scheme:
    """title: in messages. parts: suffixes of the tensors that store a module's weights. decode: (path of config.json,
    quantization_config, the parts of each module by suffix) -> tensors by name, which take the place of the parts.
    note: what to say about it, if anything, from quantization_config and the parts."""

    title: str
    parts: tuple[str, ...]
    decode: Decode
    note: Callable[[Fields, Mapping[str, Mapping[str, Tensor]]], str | None] = lambda settings, modules: None
