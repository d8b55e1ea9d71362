"""Recipes that a user writes: a TOML file with a recipe to start from and rules for tensors.

base = "Q4_K_M"            # a recipe of llama-quantize, or a budget such as "auto:4.5bpw"
leave_output = false       # the output matrix stays as it is
output = "Q6_K"            # the format of the output matrix
embedding = "Q4_K"         # the format of the token embedding

[[rule]]                   # the first rule that fits a tensor decides; all its conditions must hold
role = "attention value"   # as `inspect` and the plan's reasons say
match = "attn_v"           # a regular expression, searched for in the GGUF name
layers = "0-3, 28"         # layers, from 0
format = "Q6_K"
"""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantlib.errors import FormatError, RecipeError
from quantlib.recipes.choosing import Overrides, TensorRule
from quantlib.recipes.roles import Role

LARGEST = 2**20  # bytes
KEYS = {"base", "leave_output", "output", "embedding", "rule"}
RULE_KEYS = {"role", "match", "layers", "format"}
SHORT_ROLES = {role.name.lower(): role for role in Role}
ROLES = SHORT_ROLES | {str(role): role for role in Role}


@dataclass(frozen=True)
class UserRecipe:
    """What a file says: the recipe to start from, by name, and what is wanted otherwise."""

    base: str
    overrides: Overrides


def read_recipe(path: str | Path) -> UserRecipe:
    """Read a recipe file. Raises RecipeError that names the file, and the line or the key that is wrong."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1).decode("utf-8")
    except OSError as error:
        raise RecipeError(f"The recipe {path} cannot be read: {(error.strerror or 'unknown').lower()}.") from None
    except UnicodeDecodeError:
        raise RecipeError(f"The recipe {path} is not UTF-8 text.") from None
    if len(text) > LARGEST:
        raise RecipeError(f"The recipe {path} is larger than {LARGEST:,} bytes, too large for a recipe.")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of more digits than Python reads
        raise RecipeError(f"The recipe {path} is not valid TOML: {error}.") from None
    return _recipe(_Table(path, "", values))


def recipe_text(recipe: UserRecipe) -> str:
    """The file that `read_recipe` reads as this recipe."""
    wishes = recipe.overrides
    lines = [f"base = {json.dumps(recipe.base)}"]
    lines += ["leave_output = true"] if wishes.leave_output else []
    lines += [f"output = {json.dumps(wishes.output)}"] if wishes.output else []
    lines += [f"embedding = {json.dumps(wishes.embedding)}"] if wishes.embedding else []
    for rule in wishes.rules:
        lines += ["", "[[rule]]"]
        lines += [f"role = {json.dumps(str(rule.role))}"] if rule.role else []
        lines += [f"match = {json.dumps(rule.pattern)}"] if rule.pattern is not None else []
        lines += [f"layers = {json.dumps(_said(rule.layers))}"] if rule.layers else []
        lines.append(f"format = {json.dumps(rule.format)}")
    return "\n".join(lines) + "\n"


def _said(layers: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in layers)


class _Table:
    """A table of the file, whose values are checked when they are taken; where: how messages name it."""

    def __init__(self, path: Path, where: str, values: dict[str, Any]):
        self.path, self.where, self.values = path, where, values

    def wrong(self, key: str, what: str) -> RecipeError:
        return RecipeError(f"The recipe {self.path} has {self.where}{key} {what}.")

    def only(self, allowed: set[str]) -> None:
        for key in self.values:
            if key not in allowed:
                known = ", ".join(sorted(allowed))
                raise self.wrong(f"{key!r}", f"which means nothing there; the keys are {known}")

    def take(self, key: str, kind: type, default: object = None) -> Any:
        value = self.values.get(key, default)
        if value is not default and type(value) is not kind:
            words = {str: "a string in quotes", bool: "true or false", list: "a list of [[rule]] tables"}
            raise self.wrong(f"{key} = {value!r}", f"where {words[kind]} belongs")
        return value


def _recipe(table: _Table) -> UserRecipe:
    table.only(KEYS)
    rules = [_rule(table.path, i, values) for i, values in enumerate(table.take("rule", list, []), start=1)]
    try:
        overrides = Overrides(
            output=table.take("output", str),
            embedding=table.take("embedding", str),
            rules=tuple(rules),
            leave_output=table.take("leave_output", bool, False),
        )
    except (FormatError, RecipeError) as error:
        raise RecipeError(f"The recipe {table.path}: {error}") from None
    return UserRecipe(table.take("base", str, "Q4_K_M"), overrides)


def _rule(path: Path, number: int, values: Any) -> TensorRule:
    table = _Table(path, f"in rule {number} ", values)
    if not isinstance(values, dict):
        raise table.wrong(repr(values), "where a [[rule]] table belongs")
    table.only(RULE_KEYS)
    role, match, layers = (table.take(key, str) for key in ("role", "match", "layers"))
    if role is not None and role not in ROLES:
        raise table.wrong(f"role = {role!r}", f"which is none; the roles are {', '.join(SHORT_ROLES)}")
    if role is match is layers is None:
        raise table.wrong("no condition", "so it fits everything; give it a role, a match or layers")
    if "format" not in values:
        raise table.wrong("no format", 'so it decides nothing; give it one, such as format = "Q6_K"')
    try:
        return TensorRule(table.take("format", str), match, ROLES.get(role), _layers(table, layers))
    except (FormatError, RecipeError) as error:
        raise RecipeError(f"The recipe {path}, rule {number}: {error}") from None


def _layers(table: _Table, text: str | None) -> tuple[tuple[int, int], ...] | None:
    """ "0-3, 28" as ranges with both ends: ((0, 3), (28, 28))."""
    if text is None:
        return None
    ranges = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        if not found:
            raise table.wrong(f"layers = {text!r}", 'where ranges such as "0-3, 28" belong')
        ranges.append((int(found[1]), int(found[2] or found[1])))
    return tuple(ranges)
