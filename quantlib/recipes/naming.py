"""What the letters of a recipe's name say, one by one."""

import re
from dataclasses import dataclass

from quantlib import formats
from quantlib.recipes.rules import Recipe

SIZES = {"XXS": "extra extra small", "XS": "extra small", "S": "small", "M": "medium", "L": "large"}


@dataclass(frozen=True)
class Part:
    """A piece of a name. kind: "family", "bits", "scheme" or "mixture"; title and meaning: what it says, in words."""

    text: str
    kind: str
    title: str
    meaning: str


FAMILIES = {
    "Q": ("evenly spaced levels", "A code is a small integer; a scale, and in some formats a minimum, turns it back."),
    "IQ": ("levels from a codebook", "A code is an index into a fixed table of values, or of groups of values."),
    "TQ": ("three levels", "Every weight is −1, 0 or 1 times a scale: for models that were trained to be so."),
    "BF": ("a float", "The upper half of a 32-bit float: all of its range, 8 bits of its precision."),
    "F": ("a float", "A float as processors know it: every weight has an exponent of its own."),
    "MXFP": ("microscaled floats", "Small floats that share a power of two in blocks of 32 (the OCP microscaling)."),
}
SCHEMES = {
    "0": ("type 0: a scale for every block", "Zero is always a level, and there is nothing else to store."),
    "1": ("type 1: a scale and a minimum", "The levels of a block start at its own minimum instead of around zero."),
    "K": ("k-quant: super-blocks",
          "256 weights share one or two floats, and each block inside has a small integer scale of its own."),
    "NL": ("not linear", "The 16 levels lie closer around zero, where most weights are."),
    "MOE": ("for mixtures of experts", "The experts get this format, everything else Q8_0."),
}  # fmt: skip
NAME = re.compile(r"(MXFP|IQ|TQ|BF|Q|F)(\d+)((?:_[A-Z0-9]+)*)")


def parts(recipe: Recipe) -> tuple[Part, ...]:
    """The name's pieces in order; joined by "_" where the name has it, their texts spell the name."""
    found = NAME.fullmatch(recipe.name)
    if not found:
        return (Part(recipe.name, "family", "a recipe", recipe.summary),)
    family, bits, rest = found[1], found[2], found[3].split("_")[1:]
    return (
        Part(family, "family", *FAMILIES[family]),
        _bits(recipe, bits),
        *(Part(text, *_suffix(recipe, text)) for text in rest),
    )


def _bits(recipe: Recipe, bits: str) -> Part:
    default = formats.get(recipe.default)
    if default.kind == "float":
        return Part(bits, "bits", f"{bits} bits for each weight", "Nothing is shared, so nothing comes on top.")
    levels = f"{2 ** int(bits)} levels" if recipe.name.startswith("Q") else "indices and signs"
    return Part(
        bits, "bits", "about 1 bit for each code" if bits == "1" else f"about {bits} bits for each code",
        f"{levels[0].upper()}{levels[1:]} for each weight. Scales come on top: {default.name} takes {default.bpw:g} "
        "bits per weight, everything counted.",
    )  # fmt: skip


def _suffix(recipe: Recipe, text: str) -> tuple[str, str, str]:
    if text in SCHEMES:
        return ("scheme", *SCHEMES[text])
    raised = sorted({rule.format for rule in recipe.rules} - {recipe.default})
    others = f"Some get {' or '.join(raised)} instead." if raised else "All of them get it."
    return (
        "mixture",
        f"{SIZES[text]}: which tensors get more",
        f"A mixture of formats over the model's tensors: most get {recipe.default}. {others} "
        "The letter says nothing about how precise the scales are.",
    )
