"""The tensors of a model under GGUF's names and in GGUF's row order, by what its architecture declares."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from quantlib.architectures import Architecture, Config
from quantlib.architectures.changes import UNCHANGED, Change, Shape
from quantlib.architectures.declaration import Source, Weight
from quantlib.checkpoints.base import Tensor, fault, shown
from quantlib.checkpoints.convert import lazy

# Buffers that old versions of transformers stored with the weights.
BUFFERS = (".masked_bias", ".attention.bias", ".rotary_emb.inv_freq", ".position_ids")

WRAPPED = (
    ". It has it under 'base_layer', a name that adapters of the package peft give to what they wrap: call "
    "merge_and_unload() on the model, save it again, and open that."
)


@dataclass(frozen=True)
class Wanted:
    """One tensor that GGUF wants: its name and shape, and where it may come from, the first that is there."""

    name: str
    shape: Shape
    needed: bool
    sources: tuple[tuple[tuple[str, ...], Change | None], ...]  # None: a stack of the named ones
    stored: Callable[[str], str] | None = None


def view_tensors(
    path: Path, architecture: Architecture, config: Config, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors under GGUF's names in the converter's order, those that are computed first.

    Raises CheckpointError where a tensor is unknown or missing, or has another shape than the config says.
    """
    ordered = sorted(tensors.values(), key=lambda tensor: (tensor.file, tensor.name))
    named = _without_prefixes(path, architecture, config, ordered)
    place = _places(named)
    used: set[str] = set()
    found: list[tuple[int, Tensor]] = []
    for wanted in wanted_tensors(architecture, config):
        names, change = next((s for s in wanted.sources if all(n in named for n in s[0])), ((), None))
        if names:
            used.update(names, *(s[0] for s in wanted.sources if s[1] is UNCHANGED))  # the same under several names
            sources = [named[name] for name in names]
            tensor = _made(path, wanted, sources, change, config)
            tensor = tensor if wanted.stored is None else replace(tensor, stored=wanted.stored)
            at = max(place[name] for name in names)
            found.append((at - len(place) if tensor.format == "MXFP4" else at, tensor))  # blocks are written first
        elif wanted.needed:
            lacking = _first_missing(wanted, named)
            stem, _, kind = lacking.rpartition(".")
            way = WRAPPED if f"{stem}.base_layer.{kind}" in named else "."
            raise fault(
                path,
                f"describes {config.layers} layers, but the checkpoint lacks the tensor of {shown(wanted.name)}: "
                f"{shown(lacking)}{way}",
            )
    for name, tensor in named.items():
        if name not in used:
            raise fault(
                path,
                f"does not account for the tensor {shown(tensor.name)}: no part of a {architecture.title} model has "
                "that name.",
            )
    extra = architecture.extra(config) if architecture.extra else {}
    out = {name: lazy.computed(name, values) for name, values in extra.items()}
    return out | {tensor.name: tensor for _, tensor in sorted(found, key=lambda item: item[0])}


def wanted_tensors(architecture: Architecture, config: Config) -> Iterator[Wanted]:
    """Every tensor that a model of this config may have, in the order of the declaration, layer by layer."""
    sizes = architecture.sizes_of(config)
    for weight in architecture.weights:
        for layer, theirs in weight.numbered(config):
            shape = tuple(size(config, layer) if callable(size) else sizes[size] for size in weight.shape)
            yield from _of_layer(weight, shape, (layer, theirs), sizes)


def _of_layer(
    weight: Weight, shape: Shape, layers: tuple[int, int], sizes: Mapping[str, int | None]
) -> Iterator[Wanted]:
    ours, theirs = layers
    gguf, suffix = weight.gguf.format(ours), "" if weight.exact else ".weight"
    numbers = [[theirs, part] for part in range(sizes[weight.over] or 0)] if weight.stacked else [[theirs]]
    if "{}" not in weight.gguf:
        numbers = [each[1:] for each in numbers]
    hf = tuple(weight.hf.format(*each) for each in numbers)
    first = (tuple(f"{name}{suffix}" for name in hf), None if weight.stacked else weight.change)
    others = tuple((_names(source, theirs), source.change) for source in weight.others)
    yield Wanted(f"{gguf}{suffix}", shape, weight.needed, (first, *others), weight.stored)
    if weight.bias != "none":
        change = UNCHANGED if weight.change.moves_columns else weight.change
        if len(shape) == 1:
            change = UNCHANGED
        yield Wanted(f"{gguf}.bias", shape[:1], weight.bias == "needed", (((f"{hf[0]}.bias",), change),))


def _names(source: Source, layer: int) -> tuple[str, ...]:
    name = source.hf.format(layer)
    if source.packed is not None:
        return tuple(name + end for end in source.packed)
    return (name,) if source.exact else (f"{name}.weight",)


def _made(path: Path, wanted: Wanted, sources: list[Tensor], change: Change | None, config: Config) -> Tensor:
    """The wanted tensor of its sources, whose shapes are checked."""
    if change is not None and len(sources) == 2:
        return _packed(path, wanted, sources, change, config)
    shape = wanted.shape[1:] if change is None else change.source_shape(wanted.shape, config)
    sources = [source if source.shape else replace(source, shape=(1,)) for source in sources]  # a number alone
    for source in sources:
        if source.shape != shape:
            raise fault(
                path,
                f"makes {shown(source.name)} a tensor of shape {list(shape)}, but the file stores "
                f"{list(source.shape)}.",
            )
    if change is not None:
        return lazy.changed(sources[0], wanted.name, wanted.shape, change, config)
    if len({source.format for source in sources}) > 1:
        raise fault(path, f"describes experts of one kind, but those of {shown(wanted.name)} are stored in several.")
    return lazy.joined(wanted.name, wanted.shape, [(source, 0, source.nrows) for source in sources])


def _packed(path: Path, wanted: Wanted, sources: list[Tensor], change: Change, config: Config) -> Tensor:
    """The wanted tensor of its codes and scales, whose shapes are checked."""
    *rows, columns = change.source_shape(wanted.shape, config)
    for source, shape in zip(sources, ((*rows, columns // 32, 16), (*rows, columns // 32)), strict=True):
        if source.shape != shape or source.format != "U8" or columns % 32:
            raise fault(
                path,
                f"makes {shown(source.name)} bytes of shape {list(shape)}, but the file stores {source.format} of "
                f"shape {list(source.shape)}.",
            )
    codes, scales = sources
    return lazy.mxfp4(codes, scales, wanted.name, wanted.shape, change, config)


def _without_prefixes(
    path: Path, architecture: Architecture, config: Config, tensors: list[Tensor]
) -> dict[str, Tensor]:
    """The tensors by the names that weights are declared with; those that GGUF has no use for are left out."""
    out: dict[str, Tensor] = {}
    ignored = _starts((*architecture.ignored, *(architecture.dropped(config) if architecture.dropped else ())))
    for tensor in tensors:
        if architecture.only and not tensor.name.startswith(architecture.only):
            continue
        prefix = next(prefix for prefix in (*architecture.prefixes, "") if tensor.name.startswith(prefix))
        name = tensor.name.removeprefix(prefix)
        if tensor.name.endswith(BUFFERS) or ignored.match(name) or ignored.match(tensor.name):
            continue
        # The names of BERT's first files: gamma and beta for weight and bias.
        name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
        if name in out:
            raise fault(path, f"does not say which of {shown(out[name].name)} and {shown(tensor.name)} to take.")
        out[name] = tensor
    return out


@cache
def _starts(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Matches names that start with one of these; {} is a layer."""
    return re.compile("|".join(re.escape(p).replace(r"\{\}", r"\d{1,9}") for p in patterns) or "(?!)", re.ASCII)


def _places(named: Mapping[str, Tensor]) -> dict[str, int]:
    """Where each tensor stands; of experts that lie alone, the converter writes a layer's with the last of them."""
    place = {name: at for at, name in enumerate(named)}
    last = {stack: at for name, at in place.items() if (stack := _stack_of(name))}
    return {name: last.get(_stack_of(name), at) for name, at in place.items()}


def _stack_of(name: str) -> str:
    """What stands before an expert's number; "" for what is no expert's alone."""
    before, experts, behind = name.partition(".experts.")
    return before if experts and behind.partition(".")[0].isdecimal() else ""


def _first_missing(wanted: Wanted, named: Mapping[str, Tensor]) -> str:
    return next(name for name in wanted.sources[0][0] if name not in named)


def gguf_name(architecture: Architecture, name: str) -> str | None:
    """GGUF's name of a tensor of Hugging Face's, for tensors that lie alone; None where it has none."""
    for pattern, weight in _patterns(architecture):
        for prefix in (*architecture.prefixes, ""):
            found = pattern.fullmatch(name.removeprefix(prefix))
            if found:
                *layer, kind = found.groups()
                return f"{weight.gguf.format(*layer)}.{kind}"
    return None


@cache
def _patterns(architecture: Architecture) -> list[tuple[re.Pattern[str], Weight]]:
    layer = r"(0|[1-9]\\d{0,4})"
    return [
        (re.compile(re.sub(r"\\{\\}", layer, re.escape(weight.hf)) + r"\.(weight|bias)", re.ASCII), weight)
        for weight in architecture.weights
        if not weight.stacked
    ]


def row_order(architecture: Architecture, config: Config, name: str, rows: int) -> np.ndarray:
    """Which row of Hugging Face's tensor each row of GGUF's is: int (rows,); for matrices that lie alone."""
    for pattern, weight in _patterns(architecture):
        if any(pattern.fullmatch(name.removeprefix(prefix)) for prefix in (*architecture.prefixes, "")):
            return weight.change.row_order((rows, 1), config)
    return np.arange(rows)
