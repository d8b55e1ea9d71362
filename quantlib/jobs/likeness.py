"""The recipe that a finished GGUF file is an example of: its own mixture of formats, as rules for another model."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from quantlib import formats
from quantlib.checkpoints import Checkpoint, open_gguf
from quantlib.errors import RecipeError
from quantlib.recipes import RECIPES, Overrides, Role, TensorRule, layer_of, quantizable, role_of
from quantlib.recipes.user import UserRecipe


def recipe_of_file(path: str | Path) -> UserRecipe:
    """The mixture of a GGUF file on this machine. Raises CheckpointError, and RecipeError as `recipe_like` does."""
    with open_gguf(Path(path)) as checkpoint:
        return recipe_like(checkpoint)


def recipe_like(example: Checkpoint) -> UserRecipe:
    """The mixture of an opened GGUF file: what each kind of matrix has, by layer where layers differ.

    Layers that the example lacks get what most of its layers have. Raises RecipeError where nothing in it is quantized.
    """
    stored = {t.name: t.format for t in example if quantizable(t.name, t.shape, example.architecture)}
    if example.kind != "gguf" or not any(_block(format) for format in stored.values()):
        raise RecipeError(f"{example.source} is no example of a recipe: a GGUF file with quantized matrices is one.")
    kinds: dict[str, dict[int, str]] = defaultdict(dict)
    for name, format in stored.items():
        if (layer := layer_of(name)) is not None:
            kinds[name.split(".", 2)[2]][layer] = format
    rules = [rule for kind, by_layer in kinds.items() for rule in _rules(kind, by_layer)]
    roles = {role_of(name): format for name, format in stored.items() if layer_of(name) is None}
    named = {Role.OUTPUT, Role.EMBEDDING}
    rules += [
        TensorRule(format, f"^{re.escape(name)}$")
        for name, format in stored.items()
        if layer_of(name) is None and role_of(name) not in named
    ]
    return UserRecipe(
        _base(example, stored.values()), Overrides(roles.get(Role.OUTPUT), roles.get(Role.EMBEDDING), tuple(rules))
    )


def _rules(kind: str, by_layer: Mapping[int, str]) -> Iterable[TensorRule]:
    """Rules for one kind of matrix: layers that differ from most, then what most have."""
    pattern = rf"^blk\.\d+\.{re.escape(kind)}$"
    usual = Counter(by_layer.values()).most_common(1)[0][0]
    for format in dict.fromkeys(by_layer[layer] for layer in sorted(by_layer)):
        if format != usual:
            layers = [layer for layer in sorted(by_layer) if by_layer[layer] == format]
            yield TensorRule(format, pattern, layers=_ranges(layers))
    yield TensorRule(usual, pattern)


def _ranges(layers: list[int]) -> tuple[tuple[int, int], ...]:
    """Sorted numbers as ranges with both ends."""
    found: list[tuple[int, int]] = []
    for layer in layers:
        if found and found[-1][1] == layer - 1:
            found[-1] = (found[-1][0], layer)
        else:
            found.append((layer, layer))
    return tuple(found)


def _base(example: Checkpoint, present: Iterable[str]) -> str:
    """The recipe that the header names, or one whose default most matrices have."""
    number = example.value("general.file_type")
    named = next((r.name for r in RECIPES.values() if r.file_type == number and r.quantizes), None)
    usual = Counter(format for format in present if _block(format)).most_common(1)[0][0]
    return named or next((r.name for r in RECIPES.values() if r.default == usual), "Q4_K_M")


def _block(format: str) -> bool:
    return format in formats.FORMATS and formats.get(format).kind == "block"
