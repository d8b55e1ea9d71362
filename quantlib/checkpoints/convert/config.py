"""config.json of a model that GGUF knows, read with nothing taken on trust."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from quantlib.architectures import Architecture, Config
from quantlib.architectures.config import COMMON, LISTED, Setting
from quantlib.architectures.rope import NO_ROPE
from quantlib.checkpoints.base import fault, shown
from quantlib.checkpoints.convert.pooling import read_pooling
from quantlib.checkpoints.convert.positions import read_rope
from quantlib.checkpoints.untrusted import Fields


def read_config(
    path: Path, values: dict[str, object], architecture: Architecture, names: Iterable[str] | None = None
) -> Config:
    """The hyperparameters in a config.json at `path`, absent ones as transformers fills them in.

    names: of the tensors beside it; None: the text stands alone, and nothing beside it is read.

    Raises CheckpointError for a value of the wrong type or out of range, for numbers that contradict each other, and
    for what llama.cpp does otherwise than the model.
    """
    fields = Fields(path, text_values(path, values, architecture))
    settings = {**COMMON, **architecture.settings}
    found: dict[str, Any] = {name: _first(fields, setting) for name, setting in settings.items()}
    for name, default in architecture.defaults.items():
        if found[name] is None:
            found[name] = default(found) if callable(default) else default
    _check_each_layer(path, settings, found)
    for name, counted in architecture.counted.items():
        numbers = {match[1] for tensor in names or () if (match := re.search(counted.pattern, tensor, re.ASCII))}
        named, stored = found[name] or 0, len(numbers) if names is not None else found[name] or 0
        found |= {f"named_{name}": named, f"stored_{name}": stored}
        found[name] = (named or stored) if counted.stated else stored
    if not architecture.has_experts and (found["experts"] or 0) > 1:
        raise fault(path, f"describes a mixture of experts, which {architecture.title} models in GGUF are not.")
    _check_assumed(path, fields, architecture)
    called = fields.string("_name_or_path", limit=4096)
    rope = read_rope(path, fields, architecture.theta) if architecture.theta else NO_ROPE
    pooling = read_pooling(path.parent) if names is not None else None
    config = Config(found, rope, pooling, called)
    _check_heads(path, config, rotary=architecture.theta is not None)
    return config


def text_values(path: Path, values: dict[str, object], architecture: Architecture) -> dict[str, object]:
    """config.json with what it says of the language model within it brought to the top."""
    return {**values, **Fields(path, values).mapping(architecture.nested)} if architecture.nested else values


def _first(fields: Fields, setting: Setting) -> object:
    values = (_read(fields, key, setting) for key in setting.keys)
    return next((value for value in values if value is not None), None)


def _read(fields: Fields, key: str, setting: Setting) -> object:
    match setting.kind:
        case "int":
            return fields.integer(key, int(setting.low), int(setting.high))
        case "float":
            return fields.number(key, setting.low, setting.high)
        case "bool":
            return fields.boolean(key)
        case "str":
            return fields.string(key, limit=4096)
        case "object":
            return fields.mapping(key) or None
        case "words":
            return _listed(fields, key, lambda value: isinstance(value, str), "words")
        case _ if setting.each_layer and type(fields.values.get(key)) in (int, float):
            return fields.number(key, setting.low, setting.high)
        case _:
            what = f"numbers from {setting.low:g} to {setting.high:g}"
            return _listed(fields, key, lambda v: type(v) in (int, float) and setting.low <= v <= setting.high, what)


def _listed(fields: Fields, key: str, fits: Callable[[Any], bool], what: str) -> tuple[object, ...] | None:
    if fields.values.get(key) is None:
        return None
    values = fields.array(key)
    if len(values) > LISTED or not all(fits(value) for value in values):
        raise fault(fields.path, f"has a {shown(key)} that is not a list of at most {LISTED:,} {what}.")
    return tuple(values)


def _check_each_layer(path: Path, settings: Mapping[str, Setting], found: dict[str, Any]) -> None:
    """One number stands for all layers; a list has one entry for each."""
    for name, setting in settings.items():
        value = found[name]
        if not setting.each_layer or value is None:
            continue
        if isinstance(value, float):
            found[name] = (value,) * found["layers"]
        elif len(value) < found["layers"]:
            raise fault(
                path, f"has {found['layers']:,} layers, and a {shown(setting.keys[0])} of {len(value):,} entries."
            )


def _check_assumed(path: Path, fields: Fields, architecture: Architecture) -> None:
    for assumed in architecture.assumed:
        value = fields.values.get(assumed.key)
        if value is not None and value not in assumed.allowed:
            allowed = " or ".join(shown(value) for value in assumed.allowed)
            raise fault(
                path,
                f"says {shown(assumed.key)} is {shown(value)}, and llama.cpp runs {architecture.title} models only "
                f"with {allowed}.",
            )


def _check_heads(path: Path, config: Config, rotary: bool) -> None:
    width, heads, groups = config.width, config.heads, config.groups
    if config.head_dim is None and width % heads:
        raise fault(path, f"divides hidden_size {width:,} by {heads:,} attention heads, which leaves a remainder.")
    if heads % groups:
        raise fault(
            path, f"shares {groups:,} key-value heads among {heads:,} attention heads, which leaves a remainder."
        )
    if rotary and config.head_width % 2:
        raise fault(path, f"has a head_dim of {config.head_width:,}; rotary positions need an even one.")
