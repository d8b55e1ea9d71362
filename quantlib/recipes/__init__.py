"""Which tensor of a model gets which format.

A recipe (llama.cpp's "ftype") has a default format and rules that give some tensors another one. The rules are
values: the first that holds decides, and it can say why. They decide as llama.cpp's src/llama-quant.cpp does.
"""

from quantlib.recipes.catalogue import RECIPES, get_recipe
from quantlib.recipes.choosing import FALLBACK, Choice, Overrides, TensorRule, choose_formats, needs_importance
from quantlib.recipes.conditions import Model, Place, When
from quantlib.recipes.deciding import decide
from quantlib.recipes.gloss import gloss, glossed
from quantlib.recipes.roles import Role, layer_of, quantizable, role_of
from quantlib.recipes.rules import Recipe, Rule

__all__ = [
    "FALLBACK",
    "RECIPES",
    "Choice",
    "Model",
    "Overrides",
    "Place",
    "Recipe",
    "Role",
    "Rule",
    "TensorRule",
    "When",
    "choose_formats",
    "decide",
    "get_recipe",
    "gloss",
    "glossed",
    "layer_of",
    "needs_importance",
    "quantizable",
    "role_of",
]
