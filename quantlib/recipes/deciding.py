"""A recipe's decisions for any model: by the rules of language models, or by those of image and video models."""

from collections.abc import Iterable, Sequence

from quantlib.architectures.diffusion import BY_NAME
from quantlib.recipes import diffusion
from quantlib.recipes.choosing import NO_OVERRIDES, Choice, Overrides, choose_formats
from quantlib.recipes.conditions import Model
from quantlib.recipes.rules import Recipe


def decide(
    tensors: Iterable[tuple[str, Sequence[int], str]],
    recipe: Recipe,
    model: Model,
    *,
    pure: bool = False,
    important: bool = False,
    overrides: Overrides = NO_OVERRIDES,
) -> list[Choice]:
    """A choice for each tensor, given as (name, shape, format it has now); arguments as of `choose_formats`."""
    if (family := BY_NAME.get(model.architecture or "")) is not None:
        return diffusion.choose(tensors, recipe, family, pure=pure, overrides=overrides)
    return choose_formats(tensors, recipe, model, pure=pure, important=important, overrides=overrides)
