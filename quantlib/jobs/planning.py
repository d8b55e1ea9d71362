"""The plan of a run: every tensor's format before and after, with the reason, and the exact size of the file."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from quantlib import formats
from quantlib.architectures.diffusion import BY_NAME as IMAGE_MODELS
from quantlib.architectures.diffusion import SIXTEEN, UNPACKED_FAST
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
from quantlib.checkpoints.base import shown
from quantlib.checkpoints.gguf_types import INTEGERS
from quantlib.checkpoints.rewriting import edited
from quantlib.errors import RecipeError
from quantlib.jobs.budgeting import budget_choices, budget_recipe
from quantlib.jobs.coverage import Coverage, idle_rules, lacking_of, weighable
from quantlib.jobs.measuring import Measured, measure
from quantlib.recipes import (
    Choice,
    Model,
    Overrides,
    Recipe,
    decide,
    get_recipe,
    layer_of,
    quantizable,
)
from quantlib.recipes.budget import PREFIX, Budget, parse_budget
from quantlib.recipes.roles import CONVERTED
from quantlib.recipes.user import read_recipe
from quantlib.showing import Shown

NO_OVERRIDES = Overrides()
MXFP4, MXFP4_MOE = "MXFP4", 38  # what some experts come in, and llama.cpp's number for files that have it
SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of a plan: formats before and after by name, sizes in bytes, the reason in words.

    effort: how its codes are searched, as `BlockFormat.quantize` takes it. instead_of: the format that the recipe
    names, where the tensor's rows do not divide into its blocks.
    """

    name: str
    shape: tuple[int, ...]
    source: str
    target: str
    source_nbytes: int
    nbytes: int
    reason: str
    tensor: Tensor = field(repr=False, compare=False)
    importance: np.ndarray | None = field(default=None, repr=False, compare=False)  # (experts, n)
    effort: str = "standard"
    instead_of: str = ""

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


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What `run` will write. nbytes: the exact size of the file; bpw: bits of all tensors over all weights.

    effort: "best" where blocks are searched for a lower error than ggml's.
    lacking: names of tensors whose format needs an importance that was not given; `run` refuses then, with `refusal`.
    reads: the files that it was made from and that a run reads, which no run replaces.
    """

    recipe: Recipe
    tensors: tuple[PlannedTensor, ...]
    metadata: Mapping[str, MetadataValue] = field(repr=False)
    nbytes: int
    warnings: tuple[str, ...]
    lacking: tuple[str, ...]
    checkpoint: Checkpoint = field(repr=False, compare=False)
    effort: str = "standard"
    reads: tuple[Path, ...] = field(default=(), repr=False, compare=False)
    refusal: str = field(default="", repr=False, compare=False)

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
    recipe: str | Path | Recipe | Budget = "Q4_K_M",
    imatrix: str | Path | ImportanceMatrix | None = None,
    pure: bool = False,
    overrides: Overrides = NO_OVERRIDES,
    measured: Sequence[Measured] | None = None,
    effort: str = "standard",
    important: bool = False,
) -> Plan:
    """Plan the quantization of a checkpoint to one GGUF file; reads headers only, but samples rows for a budget.

    recipe: a name of `quantlib.recipes.RECIPES`, a budget such as "auto:4.5bpw" or "auto:6GB", a TOML file (see
    `quantlib.recipes.user`), a GGUF file whose mixture is taken over, or one of these as a value. imatrix: an
    importance matrix or the file it is in. pure: the recipe's default for every matrix. overrides: what the user wants
    otherwise. measured: what `measure` found of this checkpoint, where a budget need not measure again. effort:
    "standard" for ggml's bytes, "best" for a lower error of most block formats in the same size. important: the sizes
    of a run with an importance matrix that is not at hand.
    Raises RecipeError for an unknown recipe or effort, a format that cannot be written and a budget too small;
    CheckpointError for a model that cannot be converted to GGUF and an importance matrix that cannot be read or is
    another model's.
    """
    if effort not in formats.EFFORTS:
        raise RecipeError(f"An effort is {' or '.join(formats.EFFORTS)}, not {effort!r}.")
    given = [Path(r) for r in (recipe, imatrix) if isinstance(r, str | Path)]
    recipe, overrides = _resolved(recipe, overrides)
    imatrix = read_imatrix(imatrix) if isinstance(imatrix, str | Path) else imatrix
    view = gguf_view(checkpoint, 0)
    coverage = Coverage.of(imatrix, view)
    imatrix = coverage.matrix
    converts_only = checkpoint.kind != "gguf" and isinstance(recipe, Recipe) and not recipe.quantizes
    as_read = converts_only or view.architecture in IMAGE_MODELS
    tensors, empty = _with_values(checkpoint, view.tensors.values() if as_read else in_quantizer_order(view))
    about = [
        (t.name, tuple(t.shape) or (1,), _present(t, checkpoint.kind == "gguf", view.architecture)) for t in tensors
    ]
    model, important = model_facts(view), important or imatrix is not None
    if isinstance(recipe, Budget):
        if pure:
            raise RecipeError(f"{recipe.name} mixes formats, and pure asks for one: choose between them.")
        measured = measure(checkpoint, imatrix, effort=effort) if measured is None else measured
        choices: Sequence[Choice] = budget_choices(about, recipe, measured, view.metadata, model, important, overrides)
        recipe = budget_recipe(recipe, choices)
    else:
        choices = decide(about, recipe, model, pure=pure, important=important, overrides=overrides)
        choices = _converted(about, recipe, _packed_kept(about, choices)) if converts_only else choices
    choices = _as_loaded(tensors, recipe, _integers_kept(about, choices))
    metadata = (
        gguf_view(checkpoint, _file_type(recipe, choices, checkpoint)).metadata
        if converts_only
        else _requantized(view.metadata, recipe, imatrix)
    )
    planned = tuple(_planned(tensor, choice, imatrix, effort) for tensor, choice in zip(tensors, choices, strict=True))
    size = gguf_size(metadata, [(t.name, t.shape, t.target) for t in planned])
    lacking = lacking_of(recipe, planned)
    notes = coverage.notes(weighable(planned, coverage.given), lacking, recipe)
    warnings = view.warnings + empty + _requantizing_warning(planned) + notes
    warnings += idle_rules(overrides, [t.name for t in planned])
    warnings += _slow_in_comfyui(planned) if view.architecture in IMAGE_MODELS else ()
    refusal = coverage.refusal(lacking, recipe) if lacking else ""
    reads = (*checkpoint.paths, *given)
    return Plan(recipe, planned, metadata, size, warnings, lacking, checkpoint, effort, reads, refusal)


def _with_values(checkpoint: Checkpoint, tensors: Iterable[Tensor]) -> tuple[list[Tensor], tuple[str, ...]]:
    """The tensors that hold a value, and a note on the others: some loaders divide by the sizes of a tensor.

    Raises RecipeError where none is left.
    """
    tensors = list(tensors)
    kept = [tensor for tensor in tensors if tensor.size]
    if not kept:
        what = f"{len(tensors):,} tensors without a value" if tensors else "no tensor"
        raise RecipeError(f"{Path(checkpoint.source).name} holds {what}, so there is nothing to quantize.")
    if len(kept) == len(tensors):
        return kept, ()
    first = next(tensor for tensor in tensors if not tensor.size)
    return kept, (
        f"{len(tensors) - len(kept):,} tensors hold no value and are left out: {shown(first.name)} "
        f"{list(first.shape)} is the first.",
    )


def with_metadata(planned: Plan, settings: Sequence[str]) -> Plan:
    """The plan of a file whose header says something else: settings KEY=VALUE or KEY=TYPE:VALUE.

    Raises CheckpointError for a text that is no such setting.
    """
    if not settings:
        return planned
    metadata = edited(planned.metadata, settings)
    size = gguf_size(metadata, [(t.name, t.shape, t.target) for t in planned.tensors])
    return replace(planned, metadata=metadata, nbytes=size)


def _resolved(recipe: str | Path | Recipe | Budget, overrides: Overrides) -> tuple[Recipe | Budget, Overrides]:
    """The recipe as a value, and the user's wishes with those of a recipe file."""
    if isinstance(recipe, Recipe | Budget):
        return recipe, overrides
    if str(recipe).lower().endswith(".toml"):
        file = read_recipe(recipe)
        return _resolved(file.base, overrides.over(file.overrides))
    if str(recipe).lower().endswith(".gguf"):
        from quantlib.jobs.likeness import recipe_of_file  # it opens a file, which few plans need

        file = recipe_of_file(recipe)
        return _resolved(file.base, overrides.over(file.overrides))
    if str(recipe).lower().startswith(PREFIX):
        return parse_budget(str(recipe)), overrides
    return get_recipe(str(recipe)), overrides


def _packed_kept(about: Sequence[tuple[str, tuple[int, ...], str]], choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """A conversion leaves what comes in a block format as it is: decoding it would only make it larger."""
    kept = Choice(MXFP4, "kept as it is stored")
    pairs = zip(about, choices, strict=True)
    return tuple(kept if present == MXFP4 and choice.format != MXFP4 else choice for (_, _, present), choice in pairs)


def _converted(
    about: Sequence[tuple[str, tuple[int, ...], str]], recipe: Recipe, choices: Sequence[Choice]
) -> tuple[Choice, ...]:
    """A conversion stores some small matrices like all others, which a quantization leaves as they are."""
    stored = Choice(recipe.default, f"the default of {recipe.name}")
    pairs = zip(about, choices, strict=True)
    return tuple(stored if len(shape) > 1 and CONVERTED.search(name) else choice for (name, shape, _), choice in pairs)


def _as_loaded(tensors: Sequence[Tensor], recipe: Recipe, choices: Sequence[Choice]) -> Sequence[Choice]:
    """Tensors that llama.cpp loads in one format only get that."""
    return [
        choice if tensor.stored is None else Choice(tensor.stored(recipe.default), "the format that llama.cpp loads")
        for tensor, choice in zip(tensors, choices, strict=True)
    ]


def _integers_kept(about: Sequence[tuple[str, tuple[int, ...], str]], choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """Integers are positions, counts or codes, whatever their tensor is called: rounding them would change them."""
    pairs = zip(about, choices, strict=True)
    return tuple(Choice(present, "integers are copied") if present in INTEGERS else c for (_, _, present), c in pairs)


def _file_type(recipe: Recipe, choices: Sequence[Choice], source: Checkpoint) -> int:
    """general.file_type of a conversion: llama.cpp has one of its own for experts in MXFP4.

    Its converter also gives it to models that config.json calls packed so, and whose weights have been unpacked since.
    """
    config = source.metadata.get("config")
    quantized = config.get("quantization_config") if isinstance(config, dict) else None
    packed = isinstance(quantized, dict) and quantized.get("quant_method") == "mxfp4"
    return MXFP4_MOE if packed or any(choice.format == MXFP4 for choice in choices) else recipe.file_type


def _present(tensor: Tensor, from_gguf: bool, architecture: str | None) -> str:
    """The format of a tensor that stays as it is: in conversion, what recipes leave alone becomes FP32.

    A family of image models says itself what it becomes, unless it is in blocks already.
    """
    family = IMAGE_MODELS.get(architecture or "")
    if tensor.format in INTEGERS or (from_gguf and (family is None or tensor.format not in SIXTEEN)):
        return tensor.format
    if family is not None:
        return family.stored_as(tensor.name, tensor.shape, tensor.format)
    return tensor.format if quantizable(tensor.name, tensor.shape, architecture) else "FP32"


def _planned(tensor: Tensor, choice: Choice, imatrix: ImportanceMatrix | None, effort: str) -> PlannedTensor:
    if choice.format == tensor.format:
        nbytes = tensor.nbytes
    elif tensor.format not in formats.FORMATS and not tensor.decodable:
        raise RecipeError(
            f"{tensor.name} is stored as {tensor.format}, which quantlib cannot decode yet, so it cannot become "
            f"{choice.format}; start from a file in 16- or 32-bit floats."
        )
    else:
        nbytes = tensor.nrows * formats.get(choice.format).row_bytes(tensor.n)
    shape = tuple(tensor.shape) or (1,)  # a number alone is a vector of one value
    importance = imatrix.of(tensor.name, shape) if imatrix and choice.format != tensor.format else None
    return PlannedTensor(
        tensor.name,
        shape,
        tensor.format,
        choice.format,
        tensor.nbytes,
        nbytes,
        choice.reason,
        tensor,
        importance,
        effort,
        choice.instead_of,
    )


def in_quantizer_order(view: Checkpoint) -> list[Tensor]:
    """The tensors in llama-quantize's order: what is outside the layers first, then layer by layer, each by name."""
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


def _slow_in_comfyui(planned: tuple[PlannedTensor, ...]) -> tuple[str, ...]:
    """The note on formats that the loader of image models has no fast way to unpack."""
    slow = [t for t in planned if t.target not in UNPACKED_FAST]
    if not slow:
        return ()
    names = ", ".join(sorted({t.target for t in slow}))
    return (
        f"{len(slow)} tensors get {names}, which ComfyUI-GGUF unpacks on the processor whenever it needs them: the "
        "model runs many times slower there. IQ4_XS, IQ4_NL and the formats from Q2_K to Q8_0 run fast.",
    )


def model_facts(view: Checkpoint) -> Model:
    """What the conditions of recipes ask of a model, from its GGUF metadata."""

    def count(key: str, default: int = 0) -> int:
        value = view.value(f"{view.architecture}.{key}")
        if isinstance(value, np.ndarray | list | tuple) and len(value):  # one for each layer: the first decides
            return int(value[0])
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    layers = {layer for name in view.tensors if (layer := layer_of(name)) is not None}
    heads = count("attention.head_count")
    return Model(
        architecture=view.architecture,
        layers=count("block_count", max(layers, default=-1) + 1),
        experts=count("expert_count"),
        tied="output.weight" not in view.tensors,
        heads_per_kv=heads // groups if (groups := count("attention.head_count_kv", heads)) else 0,
    )


def _requantizing_warning(planned: tuple[PlannedTensor, ...]) -> tuple[str, ...]:
    again = [t for t in planned if not t.copied and not re.fullmatch(r"(FP|BF|F|I)\d+", t.source)]
    if not again:
        return ()
    return (
        f"{len(again)} tensors of this file are already quantized ({again[0].name} is {again[0].source}): "
        "quantizing them again adds their errors up; start from the original weights where you can.",
    )
