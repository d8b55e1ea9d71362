"""The plan of a run: every tensor's format before and after, with the reason, and the exact size of the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from quantlib import formats
from quantlib.checkpoints import Checkpoint, MetadataValue, Tensor, gguf_size, gguf_view
from quantlib.errors import RecipeError
from quantlib.recipes import Choice, Model, Recipe, choose_formats, get_recipe, layer_of, quantizable

QUANTIZATION_VERSION = 2  # of ggml's block formats, as GGUF files state it
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

    @property
    def copied(self) -> bool:
        """Whether the bytes are taken over as they are."""
        return self.source == self.target

    @property
    def bpw(self) -> float:
        return 8 * self.nbytes / max(1, prod(self.shape))


@dataclass(frozen=True)
class Plan:
    """What `run` will write. nbytes: the exact size of the file; bpw: bits of all tensors over all weights."""

    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]
    metadata: Mapping[str, MetadataValue] = field(repr=False)
    nbytes: int
    warnings: tuple[str, ...]
    checkpoint: Checkpoint = field(repr=False, compare=False)

    @property
    def source_nbytes(self) -> int:
        return sum(t.source_nbytes for t in self.tensors)

    @property
    def weights(self) -> int:
        return sum(prod(t.shape) for t in self.tensors)

    @property
    def bpw(self) -> float:
        return 8 * sum(t.nbytes for t in self.tensors) / max(1, self.weights)


def plan(checkpoint: Checkpoint, recipe: str | Recipe = "Q4_K_M", pure: bool = False) -> Plan:
    """Plan the quantization of a checkpoint to one GGUF file; reads headers only.

    recipe: a name of `quantlib.recipes.RECIPES` or a Recipe. pure: the recipe's default for every matrix.
    Raises RecipeError for an unknown recipe or a format that cannot be written, CheckpointError for a model that
    cannot be converted to GGUF.
    """
    if isinstance(recipe, str):
        recipe = get_recipe(recipe)
    view = gguf_view(checkpoint, file_type=recipe.file_type)
    converts_only = checkpoint.kind != "gguf" and not recipe.quantizes
    tensors = list(view.tensors.values()) if converts_only else _in_quantizer_order(view)
    metadata = view.metadata if converts_only else _requantized(view.metadata, recipe)
    choices = choose_formats(
        [(t.name, t.shape, t.format) for t in tensors], recipe, _model_facts(view), pure and recipe.quantizes
    )
    planned = tuple(
        _planned(tensor, _stored(tensor, choice, from_gguf=checkpoint.kind == "gguf"))
        for tensor, choice in zip(tensors, choices, strict=True)
    )
    size = gguf_size(metadata, [(t.name, t.shape, t.target) for t in planned])
    return Plan(recipe, planned, metadata, size, view.warnings + _requantizing_warning(planned), checkpoint)


def _stored(tensor: Tensor, choice: Choice, from_gguf: bool) -> Choice:
    """Tensors that recipes leave alone stay as a GGUF file has them; converted ones become FP32, as in llama.cpp."""
    if quantizable(tensor.name, tensor.shape) or from_gguf:
        return choice
    return Choice("FP32", "a vector or a small table: kept in 32-bit floats")


def _planned(tensor: Tensor, choice: Choice) -> PlannedTensor:
    if choice.format == tensor.format:
        nbytes = tensor.nbytes
    elif tensor.format not in formats.FORMATS:
        raise RecipeError(
            f"{tensor.name} is stored as {tensor.format}, which quantlib cannot decode yet, so it cannot become "
            f"{choice.format}; start from a file in 16- or 32-bit floats."
        )
    else:
        nbytes = prod(tensor.shape[:-1]) * formats.get(choice.format).row_bytes(tensor.shape[-1])
    return PlannedTensor(
        tensor.name, tuple(tensor.shape), tensor.format, choice.format, tensor.nbytes, nbytes, choice.reason, tensor
    )


def _in_quantizer_order(view: Checkpoint) -> list[Tensor]:
    """llama-quantize writes what stands outside the layers first, then layer by layer, each by name."""
    return sorted(view.tensors.values(), key=lambda t: (-1 if (n := layer_of(t.name)) is None else n, t.name.encode()))


def _requantized(metadata: Mapping[str, MetadataValue], recipe: Recipe) -> dict[str, MetadataValue]:
    """The metadata as llama-quantize leaves it: the two keys that it sets stand last, those of a split are gone."""
    replaced = ("general.quantization_version", "general.file_type", *SPLIT_KEYS)
    kept = {key: value for key, value in metadata.items() if key not in replaced}
    return kept | {
        "general.quantization_version": MetadataValue("uint32", QUANTIZATION_VERSION),
        "general.file_type": MetadataValue("uint32", recipe.file_type),
    }


def _model_facts(view: Checkpoint) -> Model:
    def count(key: str, default: int = 0) -> int:
        value = view.metadata.get(f"{view.architecture}.{key}")
        value = value.value if isinstance(value, MetadataValue) else value
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    layers = {layer for name in view.tensors if (layer := layer_of(name)) is not None}
    heads = count("attention.head_count")
    return Model(
        architecture=view.architecture,
        layers=count("block_count", max(layers, default=-1) + 1),
        experts=count("expert_count"),
        tied="output.weight" not in view.tensors,
        grouped=count("attention.head_count_kv", heads) != heads,
    )


def _requantizing_warning(planned: tuple[PlannedTensor, ...]) -> tuple[str, ...]:
    again = [t for t in planned if not t.copied and not re.match(r"(FP|BF)\d+$", t.source)]
    if not again:
        return ()
    return (
        f"{len(again)} tensors of this file are already quantized ({again[0].name} is {again[0].source}): "
        "quantizing them again adds their errors up; start from the original weights where you can.",
    )
