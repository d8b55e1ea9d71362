"""The recipes of llama-quantize, as rules that a person can read.

Source: llama_tensor_get_type_impl and llama_ftype_get_default_type in llama.cpp's src/llama-quant.cpp.
"""

from quantlib.errors import RecipeError
from quantlib.formats import FORMATS
from quantlib.recipes.conditions import (
    ALWAYS,
    EIGHT_EXPERTS,
    FIRST_EIGHTH,
    FIRST_SIXTEENTH,
    FOUR_EXPERTS,
    IN_70B,
    MIDDLE,
    MORE_BITS,
    OWN_DOWN,
    SHARED,
    STACKED,
    WITH_IMATRIX,
    WITHOUT_IMATRIX,
    When,
    first,
)
from quantlib.recipes.roles import VALUE_LIKE, Role
from quantlib.recipes.rules import Recipe, Rule

Rules = tuple[Rule, ...]


def to(format: str, when: When = ALWAYS, *roles: Role) -> Rule:
    return Rule(format, when, frozenset(roles))


def values(*choices: tuple[str, When], default: str) -> Rules:
    """Rules of the attention value: the choices in order, else the default; raised where many heads lean on it.

    Models of 8 experts keep it in Q8_0, and what would be Q3_K or Q4_K in a 70B model becomes Q5_K.
    """
    rules = [to("Q8_0", EIGHT_EXPERTS, *VALUE_LIKE)]
    for format, when in (*choices, (default, ALWAYS)):
        if format in ("Q3_K", "Q4_K"):
            rules.append(to("Q5_K", when & IN_70B, *VALUE_LIKE))
        rules.append(to(format, when, *VALUE_LIKE))
    return tuple(rules)


KEYS = (to("Q8_0", EIGHT_EXPERTS, Role.K),)
EXPERT_OUTPUT = (to("Q5_K", EIGHT_EXPERTS, Role.ATTN_OUTPUT),)


def down(*choices: tuple[str, When]) -> Rules:
    return tuple(to(format, when, Role.FFN_DOWN) for format, when in choices)


def attention_output(format: str) -> Rules:
    """The attention output but in Falcon, which keeps the default."""
    return (to(format, ~OWN_DOWN, Role.ATTN_OUTPUT),)


def embedding(format: str) -> Rules:
    return (to(format, ALWAYS, Role.EMBEDDING),)


def queries_and_keys(format: str) -> Rules:
    return (to(format, ALWAYS, Role.Q, Role.K),)


def lowest(raised: str, embedding_format: str, output: str | None = None) -> Rules:
    """The recipes of about 2 bits and below: what they raise, and to what."""
    rules = [
        *embedding(embedding_format),
        to("Q4_K", SHARED, *VALUE_LIKE),
        to("Q4_K", FOUR_EXPERTS, *VALUE_LIKE),
        to(raised, ALWAYS, *VALUE_LIKE),
        to("Q4_K", EIGHT_EXPERTS, Role.K),
        to(raised, FIRST_EIGHTH, Role.FFN_DOWN),
        *EXPERT_OUTPUT,
    ]
    return (*rules, to(output, ALWAYS, Role.ATTN_OUTPUT)) if output else tuple(rules)


EVERY_ROLE = tuple(Role)
NEED = frozenset({"IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M"})

_FLOATS = (
    Recipe("F32", 0, "FP32", "every matrix in 32-bit floats: nothing is lost, nothing is saved"),
    Recipe("BF16", 32, "BF16", "every matrix in bfloat16, the format most models are published in"),
    Recipe("F16", 1, "FP16", "every matrix in half precision: finer than BF16, over a shorter range"),
)

_BLOCKS = (
    Recipe("Q8_0", 7, "Q8_0", "255 levels, a scale for every 32 weights: almost never seen in the answers",
           rules=values(default="Q8_0") + KEYS),
    Recipe("Q5_1", 9, "Q5_1", "32 levels and a minimum for every 32 weights; older than Q5_K",
           "Q6_K", values(default="Q5_1") + KEYS),
    Recipe("Q5_0", 8, "Q5_0", "32 levels, a scale for every 32 weights; older than Q5_K",
           "Q6_K", values(default="Q5_0") + KEYS + down(("Q5_1", FIRST_EIGHTH & WITH_IMATRIX))),
    Recipe("Q4_1", 3, "Q4_1", "16 levels and a minimum for every 32 weights; older than Q4_K",
           "Q6_K", values(default="Q4_1") + KEYS),
    Recipe("Q4_0", 2, "Q4_0", "16 levels, a scale for every 32 weights: simple and fast on any machine",
           "Q6_K", values(default="Q4_0") + KEYS + down(("Q4_1", FIRST_EIGHTH & WITH_IMATRIX))),
    Recipe("Q2_0", 41, "Q2_0", "4 levels and one scale, for models trained to stand it",
           "Q6_K", embedding("Q4_K") + values(default="Q2_0") + KEYS),
    Recipe("Q1_0", 40, "Q1_0", "2 levels and one scale, for models trained to stand it",
           "Q6_K", values(default="Q1_0") + KEYS),
    Recipe("MXFP4_MOE", 38, "MXFP4", "experts in 4-bit floats of the OCP microscaling kind, all else in Q8_0",
           "Q8_0", (to("MXFP4", STACKED, *EVERY_ROLE), to("Q8_0", ALWAYS, *EVERY_ROLE))),
)  # fmt: skip

_K_QUANTS = (
    Recipe("Q6_K", 18, "Q6_K", "64 levels: close to the original at two fifths of its size",
           rules=values(default="Q6_K") + KEYS, output="Q6_K"),
    Recipe("Q5_K_M", 17, "Q5_K", "32 levels, and 64 for the tensors that suffer most",
           "Q6_K", values(("Q6_K", MORE_BITS), default="Q5_K") + KEYS + down(("Q6_K", MORE_BITS))),
    Recipe("Q5_K_S", 16, "Q5_K", "32 levels nearly everywhere",
           "Q6_K", values(default="Q5_K") + KEYS),
    Recipe("Q4_K_M", 15, "Q4_K", "16 levels, and 64 for the tensors that suffer most: the usual choice",
           "Q6_K", values(("Q6_K", MORE_BITS), default="Q4_K") + KEYS + EXPERT_OUTPUT
           + down(("Q6_K", OWN_DOWN & FIRST_SIXTEENTH), ("Q5_K", OWN_DOWN & MORE_BITS), ("Q4_K", OWN_DOWN),
                  ("Q6_K", MORE_BITS))),
    Recipe("Q4_K_S", 14, "Q4_K", "16 levels nearly everywhere",
           "Q6_K", values(("Q5_K", first(4)), default="Q4_K") + KEYS + EXPERT_OUTPUT
           + down(("Q5_K", ~OWN_DOWN & FIRST_EIGHTH))),
    Recipe("Q3_K_L", 13, "Q3_K", "8 levels, 32 for the tensors that suffer most",
           "Q6_K", values(default="Q5_K") + KEYS + down(("Q4_K", OWN_DOWN), ("Q5_K", ALWAYS))
           + (to("Q4_K", OWN_DOWN, Role.ATTN_OUTPUT), to("Q3_K", EIGHT_EXPERTS, Role.ATTN_OUTPUT))
           + attention_output("Q5_K")),
    Recipe("Q3_K_M", 12, "Q3_K", "8 levels, 16 or 32 for the tensors that suffer most",
           "Q6_K", values(("Q5_K", first(2)), default="Q4_K") + KEYS + EXPERT_OUTPUT + attention_output("Q4_K")
           + down(("Q5_K", FIRST_SIXTEENTH), ("Q4_K", ~OWN_DOWN), ("Q4_K", MORE_BITS))),
    Recipe("Q3_K_S", 11, "Q3_K", "8 levels everywhere: answers begin to suffer",
           "Q6_K", values(default="Q3_K") + KEYS + EXPERT_OUTPUT),
    Recipe("Q2_K", 10, "Q2_K", "4 levels, 8 for half of the tensors: answers suffer",
           "Q6_K", values(("Q4_K", SHARED), default="Q3_K") + KEYS + EXPERT_OUTPUT + attention_output("Q3_K")
           + down(("Q3_K", ALWAYS))),
    Recipe("Q2_K_S", 21, "Q2_K", "4 levels nearly everywhere; needs an importance matrix",
           "Q6_K", values(("Q4_K", SHARED), default="Q2_K") + KEYS + down(("Q4_K", FIRST_EIGHTH)),
           frozenset({"Q2_K"})),
)  # fmt: skip

_I_QUANTS = (
    Recipe("IQ4_NL", 25, "IQ4_NL", "16 uneven levels, a scale for every 32 weights",
           "Q6_K", values(("Q5_K", SHARED), default="IQ4_NL") + KEYS + EXPERT_OUTPUT
           + down(("Q5_K", FIRST_EIGHTH & WITHOUT_IMATRIX))),
    Recipe("IQ4_XS", 30, "IQ4_XS", "16 uneven levels in super-blocks: smaller than Q4_K_S, nearly as good",
           "Q6_K", values(("Q5_K", SHARED), default="IQ4_XS") + KEYS + EXPERT_OUTPUT
           + down(("Q5_K", FIRST_EIGHTH & WITHOUT_IMATRIX))),
    Recipe("IQ3_M", 27, "IQ3_S", "a codebook of 3.4 bits, more for the tensors that suffer most",
           "Q6_K", values(default="Q4_K") + KEYS + EXPERT_OUTPUT + attention_output("Q4_K")
           + down(("Q4_K", FIRST_EIGHTH), ("Q4_K", EIGHT_EXPERTS & MORE_BITS)), NEED),
    Recipe("IQ3_S", 26, "IQ3_S", "a codebook of 3.4 bits",
           "Q6_K", values(("Q4_K", SHARED), default="IQ3_S") + KEYS + EXPERT_OUTPUT, NEED),
    Recipe("IQ3_XS", 22, "IQ3_S", "codebooks of 3.1 and 3.4 bits",
           "Q6_K", values(("Q4_K", SHARED), default="IQ3_S") + KEYS + queries_and_keys("IQ3_XXS") + EXPERT_OUTPUT
           + (to("IQ3_XXS", MIDDLE, Role.FFN_GATE, Role.FFN_UP),), NEED),
    Recipe("IQ3_XXS", 23, "IQ3_XXS", "a codebook of 3.1 bits; needs an importance matrix",
           "Q5_K", embedding("IQ3_S")
           + values(("Q4_K", SHARED), ("IQ3_S", WITHOUT_IMATRIX), default="IQ3_XXS") + KEYS
           + queries_and_keys("IQ2_S") + EXPERT_OUTPUT + attention_output("IQ3_S")
           + down(("Q4_K", WITHOUT_IMATRIX & FIRST_EIGHTH), ("Q3_K", WITHOUT_IMATRIX)), NEED),
    Recipe("IQ2_M", 29, "IQ2_S", "a codebook of 2.6 bits; needs an importance matrix",
           "Q5_K", lowest("IQ3_S", "IQ3_S", "IQ3_S"), NEED),
    Recipe("IQ2_S", 28, "IQ2_XS", "a codebook of 2.3 bits, more for some; needs an importance matrix",
           "Q5_K", lowest("IQ3_S", "IQ3_S", "IQ3_S"), NEED),
    Recipe("IQ2_XS", 20, "IQ2_XS", "a codebook of 2.3 bits; needs an importance matrix",
           "Q5_K", lowest("Q2_K", "Q2_K"), NEED),
    Recipe("IQ2_XXS", 19, "IQ2_XXS", "a codebook of 2.1 bits; needs an importance matrix",
           "Q5_K", lowest("Q2_K", "Q2_K"), NEED),
    Recipe("IQ1_M", 31, "IQ1_M", "a codebook of 1.75 bits; needs an importance matrix",
           "Q5_K", lowest("Q2_K", "Q2_K", "IQ2_XXS"), NEED),
    Recipe("IQ1_S", 24, "IQ1_S", "a codebook of 1.6 bits; needs an importance matrix",
           "Q5_K", lowest("Q2_K", "Q2_K", "IQ2_XXS"), NEED),
    Recipe("TQ2_0", 37, "TQ2_0", "three levels in 2 bits, for models trained to be ternary",
           "Q6_K", embedding("Q4_K") + values(default="TQ2_0") + KEYS),
    Recipe("TQ1_0", 36, "TQ1_0", "three levels in 1.7 bits, for models trained to be ternary",
           "Q6_K", embedding("Q4_K") + values(default="TQ1_0") + KEYS),
)  # fmt: skip

ALL = {recipe.name: recipe for recipe in (*_FLOATS, *_BLOCKS, *_K_QUANTS, *_I_QUANTS)}

# What can be run: the recipes whose every format the catalogue has.
RECIPES = {name: recipe for name, recipe in ALL.items() if recipe.formats <= set(FORMATS)}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name, in any case. Raises RecipeError, naming those there are."""
    found = RECIPES.get(name.upper())
    if found is None:
        raise RecipeError(f"There is no recipe {name[:40]!r}; the recipes are {', '.join(RECIPES)}.")
    return found
