"""The plan of a run: every tensor's format before and after, with the reason, and the exact size of the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.checkpoints import (
    QUANTIZATION_VERSION,
    Checkpoint,
    ImportanceMatrix,
    MetadataValue,
    Tensor,
    gguf_size,
    gguf_view,
    read_imatrix,
)
from quantlib.errors import RecipeError
from quantlib.recipes import (
    Choice,
    Model,
    Overrides,
    Recipe,
    choose_formats,
    get_recipe,
    layer_of,
    needs_importance,
    quantizable,
)

NO_OVERRIDES = Overrides()
SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of a plan: formats before and after by name, sizes in bytes, the reason in words."""

    name: str
    shape: tuple[int, ...]
    source: str
    target: str
    source_nbytes: int
    nbytes: int
    reason: str
    tensor: Tensor = field(repr=False, compare=False)
    importance: np.ndarray | None = field(default=None, repr=False, compare=False)  # (experts, n)

    @property
    def copied(self) -> bool:
        """Whether the bytes are taken over as they are."""
        return self.source == self.target

    @property
    def bpw(self) -> float:
        return 8 * self.nbytes / max(1, prod(self.shape))

    @property
    def experts(self) -> int:
        """How many matrices with importances of their own it holds."""
        return 1 if self.importance is None else len(self.importance)

    def importance_of(self, row: int) -> np.ndarray | None:
        """The importance of the columns (n,) in the matrix that this row belongs to."""
        if self.importance is None:
            return None
        return self.importance[row * self.experts // max(1, prod(self.shape[:-1]))]


@dataclass(frozen=True)
class Plan:
    """What `run` will write. nbytes: the exact size of the file; bpw: bits of all tensors over all weights.

    lacking: names of tensors whose format needs an importance matrix that was not given; `run` refuses then.
    """

    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]
    metadata: Mapping[str, MetadataValue] = field(repr=False)
    nbytes: int
    warnings: tuple[str, ...]
    lacking: tuple[str, ...]
    checkpoint: Checkpoint = field(repr=False, compare=False)

    @property
    def source_nbytes(self) -> int:
        return sum(t.source_nbytes for t in self.tensors)

    @cached_property
    def weights(self) -> int:
        return sum(prod(t.shape) for t in self.tensors)

    @cached_property
    def tensor_nbytes(self) -> int:
        """Bytes of the tensors alone, without the header and what pads them."""
        return sum(t.nbytes for t in self.tensors)

    @property
    def bpw(self) -> float:
        return 8 * self.tensor_nbytes / max(1, self.weights)


def plan(
    checkpoint: Checkpoint,
    recipe: str | Recipe = "Q4_K_M",
    imatrix: str | Path | ImportanceMatrix | None = None,
    pure: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> Plan:
    """Plan the quantization of a checkpoint to one GGUF file; reads headers only.

    recipe: a name of `quantlib.recipes.RECIPES` or a Recipe. imatrix: an importance matrix or the file it is in.
    pure: the recipe's default for every matrix. overrides: formats that the user wants for some tensors.
    Raises RecipeError for an unknown recipe or a format that cannot be written, CheckpointError for a model that
    cannot be converted to GGUF and for an importance matrix that cannot be read or is another model's.
    """
    recipe = get_recipe(recipe) if isinstance(recipe, str) else recipe
    imatrix = read_imatrix(imatrix) if isinstance(imatrix, str | Path) else imatrix
    view = gguf_view(checkpoint, recipe.file_type)
    converts_only = checkpoint.kind != "gguf" and not recipe.quantizes
    tensors = list(view.tensors.values()) if converts_only else _in_quantizer_order(view)
    metadata = view.metadata if converts_only else _requantized(view.metadata, recipe, imatrix)
    choices = choose_formats(
        [(t.name, t.shape, t.format) for t in tensors],
        recipe,
        _model_facts(view),
        pure=pure,
        important=imatrix is not None,
        overrides=overrides,
    )
    planned = tuple(
        _planned(tensor, _stored(tensor, choice, from_gguf=checkpoint.kind == "gguf"), imatrix)
        for tensor, choice in zip(tensors, choices, strict=True)
    )
    size = gguf_size(metadata, [(t.name, t.shape, t.target) for t in planned])
    lacking = () if imatrix else tuple(t.name for t in planned if needs_importance(recipe, t.name, t.target))
    warnings = view.warnings + _requantizing_warning(planned) + _lacking_warning(recipe, lacking)
    return Plan(recipe, planned, metadata, size, warnings, lacking, checkpoint)


def _stored(tensor: Tensor, choice: Choice, from_gguf: bool) -> Choice:
    """Tensors that recipes leave alone stay as a GGUF file has them; converted ones become FP32, as in llama.cpp."""
    if quantizable(tensor.name, tensor.shape) or from_gguf:
        return choice
    return Choice("FP32", "a vector or a small table: kept in 32-bit floats")


def _planned(tensor: Tensor, choice: Choice, imatrix: ImportanceMatrix | None) -> PlannedTensor:
    if choice.format == tensor.format:
        nbytes = tensor.nbytes
    elif tensor.format not in formats.FORMATS:
        raise RecipeError(
            f"{tensor.name} is stored as {tensor.format}, which quantlib cannot decode yet, so it cannot become "
            f"{choice.format}; start from a file in 16- or 32-bit floats."
        )
    else:
        nbytes = prod(tensor.shape[:-1]) * formats.get(choice.format).row_bytes(tensor.shape[-1])
    shape = tuple(tensor.shape)
    importance = imatrix.of(tensor.name, shape) if imatrix and choice.format != tensor.format else None
    return PlannedTensor(
        tensor.name, shape, tensor.format, choice.format, tensor.nbytes, nbytes, choice.reason, tensor, importance
    )


def _in_quantizer_order(view: Checkpoint) -> list[Tensor]:
    """llama-quantize writes what stands outside the layers first, then layer by layer, each by name."""
    return sorted(view.tensors.values(), key=lambda t: (-1 if (n := layer_of(t.name)) is None else n, t.name.encode()))


def _requantized(
    metadata: Mapping[str, MetadataValue], recipe: Recipe, imatrix: ImportanceMatrix | None
) -> dict[str, MetadataValue]:
    """The metadata as llama-quantize leaves it: the keys that it sets stand last, those of a split are gone."""
    replaced = ("general.quantization_version", "general.file_type", *SPLIT_KEYS)
    keys = {
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        "general.file_type": MetadataValue("uint32", recipe.file_type),
    }
    if imatrix:
        keys["quantize.imatrix.file"] = MetadataValue("string", _cut(imatrix.source))
        if imatrix.datasets:
            keys["quantize.imatrix.dataset"] = MetadataValue("string", _cut(imatrix.datasets[0]))
        keys["quantize.imatrix.entries_count"] = MetadataValue("uint32", len(imatrix.entries))
        if imatrix.chunks > 0:
            keys["quantize.imatrix.chunks_count"] = MetadataValue("uint32", imatrix.chunks)
    kept = {key: value for key, value in metadata.items() if key not in replaced and key not in keys}
    return kept | keys


def _cut(text: str) -> str:
    """llama-quantize keeps 127 bytes of a text."""
    return text.encode()[:127].decode(errors="ignore")


def _lacking_warning(recipe: Recipe, lacking: tuple[str, ...]) -> tuple[str, ...]:
    if not lacking:
        return ()
    return (
        f"{recipe.name} needs an importance matrix for {len(lacking)} tensors, {lacking[0]} the first: "
        "it cannot be run without one.",
    )


def _model_facts(view: Checkpoint) -> Model:
    def count(key: str, default: int = 0) -> int:
        value = view.value(f"{view.architecture}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    layers = {layer for name in view.tensors if (layer := layer_of(name)) is not None}
    heads = count("attention.head_count")
    return Model(
        architecture=view.architecture,
        layers=count("block_count", max(layers, default=-1) + 1),
        experts=count("expert_count"),
        tied="output.weight" not in view.tensors,
        heads_per_kv=heads // max(1, count("attention.head_count_kv", heads)),
    )


def _requantizing_warning(planned: tuple[PlannedTensor, ...]) -> tuple[str, ...]:
    again = [t for t in planned if not t.copied and not re.match(r"(FP|BF)\d+$", t.source)]
    if not again:
        return ()
    return (
        f"{len(again)} tensors of this file are already quantized ({again[0].name} is {again[0].source}): "
        "quantizing them again adds their errors up; start from the original weights where you can.",
    )
