"""The tensors of a model under GGUF's names and in GGUF's row order, by what its architecture declares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from quantlib.checkpoints.base import Tensor, fault, shown
from quantlib.checkpoints.codecs import codec
from quantlib.checkpoints.convert import lazy
from quantlib.checkpoints.convert.architecture import UNCHANGED, Architecture, Change, Shape, Weight
from quantlib.checkpoints.convert.config import Config

# Buffers that old versions of transformers stored with the weights.
BUFFERS = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True)
class Wanted:
    """One tensor that GGUF wants: its name and shape, and where it may come from, the first that is there."""

    name: str
    shape: Shape
    needed: bool
    sources: tuple[tuple[tuple[str, ...], Change | None], ...]  # None: a stack of the named ones


def view_tensors(
    path: Path, architecture: Architecture, config: Config, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors under GGUF's names in the converter's order, those that are computed first.

    Raises CheckpointError where a tensor is unknown or missing, or has another shape than the config says.
    """
    ordered = sorted(tensors.values(), key=lambda tensor: (tensor.file, tensor.name))
    named = _without_prefixes(path, architecture, ordered)
    place = _places(named)
    used: set[str] = set()
    found: list[tuple[int, Tensor]] = []
    for wanted in wanted_tensors(architecture, config):
        names, change = next((s for s in wanted.sources if all(n in named for n in s[0])), ((), None))
        if names:
            used.update(names)
            sources = [named[name] for name in names]
            found.append((max(place[name] for name in names), _made(path, wanted, sources, change, config)))
        elif wanted.needed:
            raise fault(
                path,
                f"describes {config.layers} layers, but the checkpoint lacks the tensor of {shown(wanted.name)}: "
                f"{shown(_first_missing(wanted, named))}.",
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
    for weight in architecture.weights:
        shape = tuple(config.sizes[size] for size in weight.shape)
        for layer in range(config.layers if "{}" in weight.gguf else 1):
            yield from _of_layer(weight, shape, layer, config)


def _of_layer(weight: Weight, shape: Shape, layer: int, config: Config) -> Iterator[Wanted]:
    gguf = weight.gguf.format(layer)
    if weight.stacked:
        stack = tuple(f"{weight.hf}.weight".format(layer, expert) for expert in range(config.experts or 0))
        fused, change = weight.fused
        whole = fused.format(layer)
        sources = ((stack, None), ((whole,), change), ((f"{whole}.weight",), change))
        yield Wanted(f"{gguf}.weight", shape, weight.needed, sources)
        return
    hf = weight.hf.format(layer)
    names = [hf] if weight.stand_in is None else [hf, weight.stand_in]
    sources = tuple(((f"{name}.weight",), weight.change) for name in names)
    yield Wanted(f"{gguf}.weight", shape, weight.needed, sources)
    if weight.bias != "none":
        change = UNCHANGED if len(shape) == 1 or weight.change.moves_columns else weight.change
        yield Wanted(f"{gguf}.bias", shape[:1], weight.bias == "needed", (((f"{hf}.bias",), change),))


def _made(path: Path, wanted: Wanted, sources: list[Tensor], change: Change | None, config: Config) -> Tensor:
    """The wanted tensor of its sources, whose shapes are checked."""
    shape = wanted.shape[1:] if change is None else change.source_shape(wanted.shape)
    for source in sources:
        if source.shape != shape:
            raise fault(
                path,
                f"makes {shown(source.name)} a tensor of shape {list(shape)}, but the file stores "
                f"{list(source.shape)}.",
            )
    if change is not None:
        return change.applied(sources[0], wanted.name, wanted.shape, config)
    if len({source.format for source in sources}) > 1:
        raise fault(path, f"describes experts of one kind, but those of {shown(wanted.name)} are stored in several.")
    return lazy.joined(wanted.name, wanted.shape, [(source, 0, source.nrows) for source in sources])


def _without_prefixes(path: Path, architecture: Architecture, tensors: list[Tensor]) -> dict[str, Tensor]:
    """The tensors by the names that weights are declared with; those that GGUF has no use for are left out."""
    out: dict[str, Tensor] = {}
    ignored = _starts(architecture.ignored)
    for tensor in tensors:
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
def _starts(patterns: tuple[str, ...]) -> re.Pattern:
    """Matches names that start with one of these; {} is a layer."""
    return re.compile("|".join(re.escape(p).replace(r"\{\}", r"\d{1,9}") for p in patterns) or "(?!)", re.ASCII)


def _places(named: Mapping[str, Tensor]) -> dict[str, int]:
    """Where each tensor stands; the converter writes a layer's experts when it has met the last of them."""
    place = {name: at for at, name in enumerate(named)}
    last: dict[str, int] = {}
    for name, at in place.items():
        before, experts, _ = name.partition(".experts.")
        if experts:
            last[before] = at
    return {name: max(at, last.get(name.partition(".experts.")[0], at)) for name, at in place.items()}


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
def _patterns(architecture: Architecture) -> list[tuple[re.Pattern, Weight]]:
    layer = r"(0|[1-9]\\d{0,4})"
    return [
        (re.compile(re.sub(r"\\{\\}", layer, re.escape(weight.hf)) + r"\.(weight|bias)", re.ASCII), weight)
        for weight in architecture.weights
        if not weight.stacked
    ]


def row_order(architecture: Architecture, config: Config, name: str, rows: int) -> np.ndarray:
    """Which row of Hugging Face's tensor each row of GGUF's is: int (rows,); for matrices that lie alone.

    A tensor of row numbers goes through the change that is declared for this name.
    """
    numbers = np.arange(rows, dtype=np.float32).view(np.uint8).reshape(rows, 4)
    spelling, decode = codec("F32")
    tensor = Tensor(name, (rows, 1), spelling, 4 * rows, lambda start, stop: numbers[start:stop], decode)
    for pattern, weight in _patterns(architecture):
        if any(pattern.fullmatch(name.removeprefix(prefix)) for prefix in (*architecture.prefixes, "")):
            return weight.change.applied(tensor, name, tensor.shape, config).rows()[:, 0].astype(np.int64)
    return np.arange(rows)
