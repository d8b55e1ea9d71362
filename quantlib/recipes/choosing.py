"""Choosing the format of every tensor of a model by a recipe, with the reason in words."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantlib import formats
from quantlib.architectures import rules_of
from quantlib.errors import FormatError, RecipeError
from quantlib.recipes.conditions import Model, Place
from quantlib.recipes.roles import VALUE_LIKE, Role, layer_of, quantizable, role_of
from quantlib.recipes.rules import Recipe

# The format that takes over where a row length is no multiple of the block, and FP16 where that does not fit either.
# Source: tensor_type_fallback in llama.cpp's src/llama-quant.cpp.
FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
FORWARD = frozenset({Role.FFN_DOWN, Role.FFN_GATE, Role.FFN_UP})
SMALLEST_BLOCK = 32  # formats of larger blocks must name what stands in for them


@dataclass(frozen=True)
class Choice:
    """The format chosen for a tensor, and why, in words. instead_of: the format that its rows do not divide into."""

    format: str
    reason: str
    instead_of: str = ""


@dataclass(frozen=True)
class TensorRule:
    """A format for the tensors that fit all of what is given: a pattern in the GGUF name, a role, ranges of layers.

    layers: (first, last) with both ends. Raises FormatError or RecipeError for what cannot be.
    """

    format: str
    pattern: str | None = None
    role: Role | None = None
    layers: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        check_storable(self.format)
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise RecipeError(f"{self.pattern!r} is not a regular expression: {error}.") from None

    def fits(self, name: str, role: Role) -> bool:
        if self.role is not None and role is not self.role:
            return False
        layer = layer_of(name)
        if self.layers is not None and not (layer is not None and any(a <= layer <= b for a, b in self.layers)):
            return False
        return self.pattern is None or re.search(self.pattern, name) is not None

    @property
    def words(self) -> str:
        """What was asked for, as a reason."""
        layers = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in self.layers or ())
        parts = (self.pattern, self.role and str(self.role), layers and f"layers {layers}")
        return f"asked for: {', '.join(filter(None, parts))}={self.format}"


@dataclass(frozen=True)
class Overrides:
    """What the user wants otherwise than the recipe: formats by role, by rules, or the output matrix as it is.

    rules: the first that fits decides. Raises FormatError or RecipeError for a format that GGUF cannot hold.
    """

    output: str | None = None
    embedding: str | None = None
    rules: tuple[TensorRule, ...] = ()
    leave_output: bool = False

    def __post_init__(self) -> None:
        for name in filter(None, (self.output, self.embedding)):
            check_storable(name)

    def of(self, name: str, role: Role, present: str) -> Choice | None:
        """The override for a tensor by its role, if there is one; present: the format it has now."""
        if role is Role.OUTPUT and self.leave_output:
            return Choice(present, "asked for: the output matrix stays as it is")
        wanted = {Role.OUTPUT: self.output, Role.EMBEDDING: self.embedding}.get(role)
        return Choice(formats.get(wanted).name, f"asked for: the format of {role}") if wanted else None

    def by_rule(self, name: str, role: Role) -> Choice | None:
        """The override for a tensor by the rules, if there is one."""
        rule = next((rule for rule in self.rules if rule.fits(name, role)), None)
        return Choice(formats.get(rule.format).name, rule.words) if rule else None

    def over(self, base: "Overrides") -> "Overrides":
        """These wishes first, then those of base."""
        return Overrides(
            self.output or base.output,
            self.embedding or base.embedding,
            self.rules + base.rules,
            self.leave_output or (base.leave_output and not self.output),
        )


def check_storable(name: str) -> None:
    """Raises FormatError for an unknown format, RecipeError for one that GGUF files do not hold weights in."""
    form = formats.get(name)
    if form.kind == "activation":
        raise RecipeError(
            f"{form.name} is what ggml turns activations into while it computes; no file stores weights so."
        )
    if form.ggml_type is None:
        raise RecipeError(
            f"{form.name} has no type in GGUF files; the formats that have one are {', '.join(storable())}."
        )


def storable() -> tuple[str, ...]:
    """The formats that GGUF files hold weights in."""
    return tuple(f.name for f in formats.FORMATS.values() if f.ggml_type is not None and f.kind != "activation")


NO_OVERRIDES = Overrides()


def choose_formats(
    tensors: Iterable[tuple[str, Sequence[int], str]],
    recipe: Recipe,
    model: Model,
    *,
    pure: bool = False,
    important: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> list[Choice]:
    """A choice for each tensor, given as (GGUF name, shape, format it has now), in the order given.

    pure: every quantizable matrix gets the recipe's default. important: the run has an importance matrix.
    Tensors that recipes do not touch keep their format. Raises RecipeError where the catalogue lacks a format.
    """
    tensors = list(tensors)
    choices = []
    for (name, shape, present), place in zip(tensors, _places(tensors, model, important), strict=True):
        if not quantizable(name, shape, model.architecture):
            choices.append(Choice(present, f"a vector or a small table: kept in {present}"))
            continue
        choices.append(_choose(name, shape[-1], present, recipe, place, pure, overrides))
    return choices


def needs_importance(recipe: Recipe, name: str, format: str) -> bool:
    """Whether llama.cpp refuses to store this tensor so without an importance matrix."""
    return format in recipe.needs_imatrix and role_of(name) not in (Role.OUTPUT, Role.EMBEDDING)


def _places(tensors: Sequence[tuple[str, Sequence[int], str]], model: Model, important: bool) -> Iterable[Place]:
    """Where each tensor stands among those of its role; roles that hold values count as one."""
    roles = [role_of(name) for name, _, _ in tensors]
    value_like = sum(role in VALUE_LIKE for role in roles)
    seen: Counter[object] = Counter()
    alone = rules_of(model.architecture).experts_alone
    for (name, shape, _), role in zip(tensors, roles, strict=True):
        group = VALUE_LIKE if role in VALUE_LIKE else role
        index, count = seen[group], value_like if role in VALUE_LIKE else model.layers
        seen[group] += quantizable(
            name, shape, model.architecture
        )  # a bias has the name of its matrix, and no place of its own
        if model.experts > 1 and role in FORWARD:
            index = layer_of(name) or 0  # the experts of a layer are tensors of their own
        stacked = len(shape) > 2 and shape[-3] > 1 and (role in FORWARD or not alone)
        yield Place(role, index, count, model, stacked, important)


def _choose(name: str, n: int, present: str, recipe: Recipe, place: Place, pure: bool, overrides: Overrides) -> Choice:
    asked = overrides.of(name, place.role, present)
    if asked:
        return asked
    default = Choice(recipe.default, f"the default of {recipe.name}")
    if not recipe.quantizes:
        return default
    asked = overrides.by_rule(name, place.role)
    if asked is None and not pure and any(part in name for part in rules_of(place.model.architecture).finest):
        asked = Choice("Q8_0", "a matrix that llama-quantize keeps at eight bits in this architecture")
    return fitting(asked or (default if pure else _by_rules(recipe, place, n, default)), n)


def _by_rules(recipe: Recipe, place: Place, n: int, default: Choice) -> Choice:
    if place.role is Role.OUTPUT or (place.role is Role.EMBEDDING and place.model.tied):
        reason = f"{place.role}, every answer passes through it"
        if rules_of(place.model.architecture).fine_output or n % formats.get(recipe.default).values:
            return Choice("Q8_0", reason)
        return Choice(recipe.output, reason) if recipe.output else default
    for rule in recipe.rules:
        if place.role in rule.roles and rule.when.holds(place):
            if rule.format == recipe.default and not rule.when.words:
                return default
            return Choice(rule.format, f"{place.role} {rule.when.words}".strip())
    return default


def fitting(choice: Choice, n: int) -> Choice:
    """The choice, or what stands in for it where rows of n weights do not divide into its blocks."""
    try:
        values = formats.get(choice.format).values
        if n % values == 0:
            return choice
        if choice.format not in FALLBACK and values > SMALLEST_BLOCK:
            raise RecipeError(
                f"Rows of {n} weights do not divide into {choice.format} blocks of {values}, and nothing stands in for "
                "that format; choose another recipe."
            )
        substitute = FALLBACK.get(choice.format, choice.format)
        if n % formats.get(substitute).values:
            substitute = "FP16"
    except FormatError as error:
        raise RecipeError(f"This model needs a format that quantlib cannot write yet. {error}") from error
    reason = f"rows of {n} weights do not divide into {choice.format} blocks of {values}"
    return Choice(substitute, reason, choice.format)
