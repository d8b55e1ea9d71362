"""Which tensor of a model gets which format.

A recipe (llama.cpp's "ftype") has a default format and rules that give some tensors another one. The rules are
values: the first that holds decides, and it can say why. They decide as `llama_tensor_get_type_impl` and
`tensor_type_fallback` of llama.cpp's src/llama-quant.cpp do.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantlib import formats
from quantlib.errors import FormatError, RecipeError


class Role(StrEnum):
    """What a tensor does in a transformer, as far as recipes tell tensors apart."""

    OUTPUT = "the output matrix"
    EMBEDDING = "the token embedding"
    QKV = "attention query-key-value"
    KV_B = "attention key-value expansion"
    V = "attention value"
    K = "attention key"
    Q = "attention query"
    ATTN_OUTPUT = "attention output"
    FFN_UP = "feed-forward up"
    FFN_GATE = "feed-forward gate"
    FFN_DOWN = "feed-forward down"
    OTHER = "other"


# The first pattern found in a tensor's GGUF name decides.
ROLE_PATTERNS = (
    (re.compile(r"^output\.weight$"), Role.OUTPUT),
    (re.compile(r"^(per_layer_)?token_embd\.weight$"), Role.EMBEDDING),
    (re.compile(r"attn_qkv\.weight"), Role.QKV),
    (re.compile(r"attn_kv_b\.weight"), Role.KV_B),
    (re.compile(r"attn_v\.weight"), Role.V),
    (re.compile(r"attn_k\.weight"), Role.K),
    (re.compile(r"attn_q\.weight"), Role.Q),
    (re.compile(r"attn_output\.weight"), Role.ATTN_OUTPUT),
    (re.compile(r"ffn_up"), Role.FFN_UP),
    (re.compile(r"ffn_gate"), Role.FFN_GATE),
    (re.compile(r"ffn_down"), Role.FFN_DOWN),
)
VALUE_LIKE = frozenset({Role.V, Role.QKV, Role.KV_B})

# Names, or parts of names, of matrices that stay as they are: norms, routers, convolutions, small or positional tables.
KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj"
    r"|^position_embd\.weight$|^token_types\.weight$|ssm_conv1d|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight"
    r"|time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight|attn_rel_b\.weight"
    r"|\.position_embd|sam\.(pos_embd|neck\.|net_)|\.rel_pos|\.patch_(embd|merger)|a\.rvq\.codebook|mm\.a\.code_embd"
)


def role_of(name: str) -> Role:
    """The role of a tensor by its GGUF name."""
    return next((role for pattern, role in ROLE_PATTERNS if pattern.search(name)), Role.OTHER)


def layer_of(name: str) -> int | None:
    """The layer in `blk.<layer>.`; None for tensors outside the layers."""
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else None


def quantizable(name: str, shape: Sequence[int]) -> bool:
    """Whether recipes touch this tensor: a matrix named `...weight` that is not one of the KEPT."""
    dimensions = len(shape)
    while dimensions > 1 and shape[len(shape) - dimensions] == 1:  # a (1, n) matrix counts as a vector
        dimensions -= 1
    return dimensions >= 2 and name.endswith("weight") and not KEPT.search(name)


@dataclass(frozen=True)
class Model:
    """The facts of a model that rules ask for."""

    architecture: str | None
    layers: int
    experts: int = 0
    tied: bool = False
    grouped: bool = False  # several query heads share a key-value head

    @property
    def is_70b(self) -> bool:
        """What llama.cpp takes for a 70B model: 80 layers, and in the Llama architecture grouped heads."""
        by_architecture = {"llama": self.grouped, "qwen2": True, "deci": True, "olmo": True}
        return self.layers == 80 and by_architecture.get(self.architecture or "", False)


@dataclass(frozen=True)
class Place:
    """Where a tensor stands: its role, and which it is (from 0) of how many with that role, layer by layer."""

    role: Role
    index: int
    count: int
    model: Model


@dataclass(frozen=True)
class When:
    """A condition on a place, and the words for it."""

    words: str
    holds: Callable[[Place], bool]


def _gets_more_bits(place: Place) -> bool:
    eighth = place.count // 8
    i = place.index
    return i < eighth or i >= 7 * place.count // 8 or (i - eighth) % 3 == 2


ALWAYS = When("", lambda place: True)
MORE_BITS = When("in the first eighth, the last eighth or every third layer between", _gets_more_bits)
FIRST_SIXTEENTH = When("in the first sixteenth of the layers", lambda p: p.index < p.count // 16)
IN_70B = When("in an 80-layer model, where eight heads share it", lambda p: p.model.is_70b)
EIGHT_EXPERTS = When("in a model of 8 experts, where it is a small share", lambda p: p.model.experts == 8)
FALCON = When("in the Falcon architecture", lambda p: p.model.architecture == "falcon")


def both(first: When, second: When) -> When:
    """The condition that both hold."""
    return When(f"{first.words}, {second.words}", lambda p: first.holds(p) and second.holds(p))


@dataclass(frozen=True)
class Rule:
    """Tensors of these roles, at places where the condition holds, get this format."""

    roles: frozenset[Role]
    when: When
    format: str


def rule(format: str, when: When, *roles: Role) -> Rule:
    return Rule(frozenset(roles), when, format)


@dataclass(frozen=True)
class Recipe:
    """A named mixture of formats; file_type is what GGUF's general.file_type says of it."""

    name: str
    file_type: int
    default: str
    summary: str
    output: str | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def quantizes(self) -> bool:
        """Whether it does more than convert between float formats."""
        return formats.get(self.default).kind != "float"


_Q4_K_M_RULES = (
    rule("Q8_0", EIGHT_EXPERTS, *VALUE_LIKE, Role.K),
    rule("Q5_K", EIGHT_EXPERTS, Role.ATTN_OUTPUT),
    rule("Q6_K", MORE_BITS, *VALUE_LIKE),
    rule("Q5_K", IN_70B, *VALUE_LIKE),
    rule("Q6_K", both(FALCON, FIRST_SIXTEENTH), Role.FFN_DOWN),
    rule("Q5_K", both(FALCON, MORE_BITS), Role.FFN_DOWN),
    rule("Q4_K", FALCON, Role.FFN_DOWN),
    rule("Q6_K", MORE_BITS, Role.FFN_DOWN),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("F32", 0, "FP32", "every matrix in 32-bit floats: nothing is lost, nothing is saved"),
        Recipe("BF16", 32, "BF16", "every matrix in bfloat16, the format most models are published in"),
        Recipe("F16", 1, "FP16", "every matrix in half precision: finer than BF16, over a shorter range"),
        Recipe("Q8_0", 7, "Q8_0", "256 levels, a scale for every 32 weights: almost never seen in the answers"),
        Recipe(
            "Q4_K_M",
            15,
            "Q4_K",
            "16 levels, and 64 for the tensors that suffer most: the usual choice",
            output="Q6_K",
            rules=_Q4_K_M_RULES,
        ),
    )
}

# The format that takes over where a row length is no multiple of the block, and F16 where that does not fit either.
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name, in any case. Raises RecipeError, naming those there are."""
    found = RECIPES.get(name.upper())
    if found is None:
        raise RecipeError(f"There is no recipe {name!r}; the recipes are {', '.join(RECIPES)}.")
    return found


@dataclass(frozen=True)
class Choice:
    """The format chosen for a tensor, and why, in words."""

    format: str
    reason: str


def choose_formats(
    tensors: Iterable[tuple[str, Sequence[int], str]], recipe: Recipe, model: Model, pure: bool = False
) -> list[Choice]:
    """A choice for each tensor, given as (GGUF name, shape, format it has now), in the order given.

    pure: every quantizable matrix gets the recipe's default. Tensors that recipes do not touch keep their format.
    Raises RecipeError where the catalogue lacks a format that the recipe asks for.
    """
    tensors = list(tensors)
    roles = [role_of(name) for name, _, _ in tensors]
    value_like = sum(role in VALUE_LIKE for role in roles)
    seen: Counter[object] = Counter()
    choices = []
    for (name, shape, present), role in zip(tensors, roles, strict=True):
        group = "value-like" if role in VALUE_LIKE else role
        index, count = seen[group], value_like if role in VALUE_LIKE else model.layers
        seen[group] += 1
        if model.experts > 1 and role in (Role.FFN_DOWN, Role.FFN_GATE, Role.FFN_UP):
            index = layer_of(name) or 0  # the experts of a layer are tensors of their own
        if not quantizable(name, shape):
            choices.append(Choice(present, "a vector or a small table: kept as it is"))
            continue
        wanted = _wanted(recipe, Place(role, index, count, model), shape[-1], pure)
        choices.append(_fitting(wanted, shape[-1]))
    return choices


def _wanted(recipe: Recipe, place: Place, n: int, pure: bool) -> Choice:
    default = Choice(recipe.default, f"the default of {recipe.name}")
    if pure or not recipe.quantizes:
        return default
    if place.role is Role.OUTPUT or (place.role is Role.EMBEDDING and place.model.tied):
        if place.model.architecture == "falcon" or n % formats.get(recipe.default).values:
            return Choice("Q8_0", f"{place.role}, every answer passes through it")
        return Choice(recipe.output, f"{place.role}, every answer passes through it") if recipe.output else default
    for candidate in recipe.rules:
        if place.role in candidate.roles and candidate.when.holds(place):
            return Choice(candidate.format, f"{place.role} {candidate.when.words}")
    return default


def _fitting(choice: Choice, n: int) -> Choice:
    try:
        if n % formats.get(choice.format).values == 0:
            return choice
        substitute = FALLBACK.get(choice.format, choice.format)
        if n % formats.get(substitute).values:
            substitute = "FP16"
    except FormatError as error:
        raise RecipeError(f"This model needs a format that quantlib cannot write yet. {error}") from error
    values = formats.get(choice.format).values
    return Choice(substitute, f"rows of {n} weights do not divide into {choice.format} blocks of {values}")
