"""The plan of a budget: formats for every tensor within so many bits or bytes, at about the least measured cost."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import prod

from quantlib.checkpoints import MetadataValue, TensorInfo, gguf_size
from quantlib.checkpoints.gguf_types import DEFAULT_ALIGNMENT
from quantlib.errors import RecipeError
from quantlib.jobs.measuring import Measured
from quantlib.recipes import RECIPES, Choice, Model, Overrides, Recipe, decide, quantizable, role_of
from quantlib.recipes.budget import Budget, Option, hull, improved, spend
from quantlib.recipes.choosing import fitting

Tensors = Sequence[tuple[str, tuple[int, ...], str]]  # name, shape, format it has now
Metadata = Mapping[str, MetadataValue]

UNCERTAIN = 0.02  # of a cost: what a sample of the rows leaves open; a smaller gain over a recipe may be none


def budget_recipe(budget: Budget, choices: Sequence[Choice]) -> Recipe:
    """What a budget's plan says of itself: the file type is that of the recipe whose default most tensors got."""
    common = Counter(choice.format for choice in choices if choice.format != "FP32").most_common(1)
    default = common[0][0] if common else "FP32"
    file_type = next((r.file_type for r in RECIPES.values() if r.default == default), RECIPES["F16"].file_type)
    return Recipe(budget.name, file_type, default, "the least measured error for the budget")


def budget_choices(
    tensors: Tensors,
    budget: Budget,
    measured: Sequence[Measured],
    metadata: Metadata,
    model: Model,
    important: bool,
    overrides: Overrides,
) -> list[Choice]:
    """A choice for each tensor, in their order. It costs no more, by the measure, than any recipe that fits as well.

    A gain over such a recipe that the sample may only feign is not taken.

    Raises RecipeError where even the smallest formats take more than the budget.
    """
    kept = _kept(tensors, measured, overrides, model)
    padding = int(metadata["general.alignment"].value) if "general.alignment" in metadata else DEFAULT_ALIGNMENT
    options = _options(measured, {name for name, _, _ in tensors} - set(kept), padding if budget.nbytes else 1)
    capacity = _capacity(budget, tensors, kept, options, metadata)
    chosen = spend(options, capacity)
    if chosen is None:
        raise RecipeError(_too_small(budget, options, capacity, important))
    standard = [
        improved(choice, options, capacity)
        for recipe in RECIPES.values()
        if (choice := _as_in(recipe, tensors, options, model, important, overrides))
        and sum(option.nbytes for option in choice.values()) <= capacity
    ]
    usual = min(standard, key=_cost, default=chosen)
    best = chosen if _cost(chosen) < (1 - UNCERTAIN) * _cost(usual) else usual
    errors = {(m.name, m.format): m.relative_error for m in measured}
    return [
        kept.get(name) or Choice(best[name].format, _reason(name, best[name], options[name], errors))
        for name, _, _ in tensors
    ]


def _kept(tensors: Tensors, measured: Sequence[Measured], overrides: Overrides, model: Model) -> dict[str, Choice]:
    """Tensors that no budget decides on: vectors, what cannot be decoded, and what the user asked for."""
    known = {m.name for m in measured}
    out = {}
    for name, shape, present in tensors:
        role = role_of(name)
        if not quantizable(name, shape, model.architecture):
            out[name] = Choice(present, f"a vector or a small table: kept in {present}")
        elif asked := overrides.of(name, role, present):
            out[name] = asked
        elif asked := overrides.by_rule(name, role):
            out[name] = fitting(asked, shape[-1])
        elif name not in known:
            out[name] = Choice(present, "was not measured: kept as it is")
    return out


def _options(measured: Sequence[Measured], names: set[str], padding: int) -> dict[str, list[Option]]:
    options = defaultdict(list)
    for m in measured:
        if m.name in names:
            options[m.name].append(Option(m.format, -(-m.nbytes // padding) * padding, m.cost))
    return dict(options)


def _capacity(
    budget: Budget,
    tensors: Tensors,
    kept: Mapping[str, Choice],
    options: Mapping[str, list[Option]],
    metadata: Metadata,
) -> int:
    """Bytes that the budget leaves to the tensors it decides on."""
    storing = {name: options[name][0].format if name in options else kept[name].format for name, _, _ in tensors}
    infos = [TensorInfo(name, shape, storing[name]) for name, shape, _ in tensors]
    if budget.nbytes is not None:
        return budget.nbytes - gguf_size(metadata, infos) + sum(found[0].nbytes for found in options.values())
    weights = sum(prod(info.shape) for info in infos)
    return int((budget.bpw or 0) * weights / 8) - sum(info.nbytes for info in infos if info.name in kept)


def _as_in(
    recipe: Recipe,
    tensors: Tensors,
    options: Mapping[str, list[Option]],
    model: Model,
    important: bool,
    overrides: Overrides,
) -> dict[str, Option] | None:
    """The options that a recipe of llama-quantize takes; None where one of them was not measured."""
    try:
        choices = decide(tensors, recipe, model, important=important, overrides=overrides)
    except RecipeError:
        return None
    by_format = {name: {option.format: option for option in found} for name, found in options.items()}
    wanted = {name: choice.format for (name, _, _), choice in zip(tensors, choices, strict=True) if name in options}
    if any(format not in by_format[name] for name, format in wanted.items()):
        return None
    return {name: by_format[name][format] for name, format in wanted.items()}


def _cost(choice: Mapping[str, Option]) -> float:
    return sum(option.cost for option in choice.values())


def _reason(name: str, option: Option, options: Sequence[Option], errors: Mapping[tuple[str, str], float]) -> str:
    """The error in percent, and what the next better format would have cost and given."""
    error = f"error {errors[name, option.format]:.2%} as {option.format}"
    better = [o for o in hull(options) if o.nbytes > option.nbytes and o.cost < option.cost]
    if not better:
        return f"{error}, and nothing measured is better"
    after = better[0]
    return (
        f"{error}; {after.format} would take {after.nbytes - option.nbytes:,} bytes more for "
        f"{errors[name, after.format]:.2%}, and the budget buys more elsewhere"
    )


def _too_small(budget: Budget, options: Mapping[str, list[Option]], capacity: int, important: bool) -> str:
    least = sum(min(option.nbytes for option in found) for found in options.values())
    hint = "" if important else ", or give an importance matrix, which smaller formats need"
    return (
        f"{budget.name} is too small for this model by {least - capacity:,} bytes, even in the smallest formats; "
        f"ask for more{hint}."
    )
