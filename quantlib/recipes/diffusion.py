"""Which tensor of an image or video model gets which format: llama.cpp's names, the mixtures of ComfyUI-GGUF's patch.

Source: the patch of llama-quantize in city96/ComfyUI-GGUF, branch auto_convert, by what it decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantlib import formats
from quantlib.architectures.diffusion import UNPACKED_FAST, Family
from quantlib.recipes.catalogue import RECIPES
from quantlib.recipes.choosing import NO_OVERRIDES, Choice, Overrides
from quantlib.recipes.roles import Role
from quantlib.recipes.rules import Recipe

VALUES = (
    "attn_v.weight", ".to_v.weight", ".v.weight", ".attn.w1v.weight", ".attn.w2v.weight", "_attn.v_proj.weight",
    ".add_v_proj.weight",
)  # fmt: skip
FUSED = ("attn_qkv.weight", "attn.qkv.weight", "attention.qkv.weight")
DOWN = (
    "ffn_down", ".ffn.2.weight", ".ff.net.2.weight", ".mlp.layer2.weight", ".adaln_modulation_mlp.2.weight",
    ".feed_forward.w2.weight", ".img_mlp.net.2.weight", ".txt_mlp.net.2.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Mixture:
    """What a recipe raises above its default: matrices of values, of queries, keys and values in one, and down ones.

    first: so many matrices of values, in the order of the file, get first_value; the others get value.
    careful: the format of layers in which a family is careful, whatever their role.
    """

    value: str | None = None
    first: int = 0
    first_value: str | None = None
    fused: str | None = None
    down: str | None = None
    careful: str | None = None


PLAIN = Mixture()
# Recipes whose formats its loader unpacks fast, and that need no importance matrix.
OFFERED = tuple(r.name for r in RECIPES.values() if r.default in UNPACKED_FAST and not r.needs_importance)
MIXTURES = {
    "Q2_K": Mixture(value="Q3_K", careful="Q4_K"),
    "Q3_K_S": Mixture(careful="Q4_K"),
    "Q3_K_M": Mixture(value="Q4_K", first=2, first_value="Q5_K", fused="Q4_K", down="Q4_K", careful="Q4_K"),
    "Q3_K_L": Mixture(value="Q5_K", fused="Q4_K", down="Q5_K", careful="Q4_K"),
    "Q4_0": Mixture(down="Q4_1"),
    "Q4_K_S": Mixture(first=4, first_value="Q5_K", down="Q5_K"),
    "Q4_K_M": Mixture(value="Q6_K", fused="Q5_K", down="Q6_K", careful="Q5_K"),
    "Q5_0": Mixture(down="Q5_1"),
    "Q5_K_M": Mixture(value="Q6_K", fused="Q6_K", down="Q6_K", careful="Q6_K"),
}


def choose(
    tensors: Iterable[tuple[str, Sequence[int], str]],
    recipe: Recipe,
    family: Family,
    *,
    pure: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> list[Choice]:
    """A choice for each tensor, given as (name, shape, format it has now), in the order of the file."""
    mixture = PLAIN if pure else MIXTURES.get(recipe.name, PLAIN)
    choices, values = [], 0
    for name, shape, present in tensors:
        if not family.quantizes(name, shape):
            choices.append(Choice(present, _kept(family, name, present)))
            continue
        value = _is(VALUES, name)
        asked = overrides.by_rule(name, Role.OTHER)
        if not recipe.quantizes:
            choice = Choice(recipe.default, f"the default of {recipe.name}")
        else:
            choice = fitting(asked or _mixed(mixture, recipe, family, name, values), shape[-1])
        choices.append(choice)
        values += value
    return choices


def _kept(family: Family, name: str, present: str) -> str:
    if family.keeps(name):
        return f"in or out of the model, or what steers all of it: kept in {present}"
    return f"a vector, a small table or a convolution: kept in {present}"


def _mixed(mixture: Mixture, recipe: Recipe, family: Family, name: str, values: int) -> Choice:
    """The mixture's choice. values: matrices of values before this one."""
    if mixture.careful and _is(family.careful, name):
        return Choice(mixture.careful, "in the first or the last layer")
    if _is(VALUES, name):
        if values < mixture.first and mixture.first_value:
            return Choice(mixture.first_value, f"attention value among the first {mixture.first}")
        raised, role = mixture.value, "attention value"
    elif _is(FUSED, name):
        raised, role = mixture.fused, "queries, keys and values in one"
    elif _is(DOWN, name) or ("experts." in name and ".w2.weight" in name):
        raised, role = mixture.down, "feed-forward down"
    else:
        raised, role = None, ""
    return Choice(raised, role) if raised else Choice(recipe.default, f"the default of {recipe.name}")


def fitting(choice: Choice, n: int) -> Choice:
    """The choice, or IQ4_NL for a grid format and FP16 for others where rows of n weights do not fill its blocks.

    The loader knows no mixture of smaller blocks that would stand in, as llama.cpp has one.
    """
    values = formats.get(choice.format).values
    if n % values == 0:
        return choice
    smaller = "IQ4_NL" if choice.format.startswith("IQ") and n % formats.get("IQ4_NL").values == 0 else "FP16"
    reason = f"rows of {n} weights do not divide into {choice.format} blocks of {values}"
    return Choice(smaller, reason, choice.format)


def _is(parts: Sequence[str], name: str) -> bool:
    return any(part in name for part in parts)
