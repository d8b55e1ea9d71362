"""A control's key is its own: two pages with a key in common would take over each other's values."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "pages"
PAGES = sorted(FOLDER.glob("*.py"))
PARTS = sorted((FOLDER / "ui").glob("*.py"))  # of several pages
# The same control on several pages, about the same thing: what was chosen on one is wanted on the next.
SHARED = {"row"}
CONTAINERS = {"container"}  # their keys are names for style sheets


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def keys(path: Path) -> set[str]:
    """The keys of the controls and components that a page, or a part of several, makes itself."""
    made = [call for call in calls(path) if getattr(call.func, "attr", "") not in CONTAINERS]
    given = [k.value for call in made for k in call.keywords if k.arg == "key"]
    return {value.value for value in given if isinstance(value, ast.Constant)}


def picked(path: Path) -> set[str]:
    """The keys of a page's pickers: of a tensor, of a matrix. What was picked on one page is wanted on the next."""
    made = [call for call in calls(path) if getattr(call.func, "attr", "").endswith("_picker")]
    return {value.value for call in made for value in call.args if isinstance(value, ast.Constant)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_key_is_seen_where_it_is_given(path):
    """A variable as a key could be any other page's; a name with a beginning of its own could not."""
    for value in (k.value for call in calls(path) for k in call.keywords if k.arg == "key"):
        assert not isinstance(value, ast.Name | ast.Attribute), f"line {value.lineno}: {ast.unparse(value)}"


def test_no_two_pages_share_a_key():
    users = defaultdict(set)
    for path in [*PAGES, *PARTS]:
        for key in keys(path):
            users[key].add(str(path.relative_to(FOLDER)))
    for key in set.union(*map(picked, PAGES)):
        users[key].add("a picker of several pages")
    assert {"follow-tensor", "matrix", "recipe", "format", "brush"} <= set(users)
    shared = {key: sorted(pages) for key, pages in users.items() if len(pages) > 1 and key not in SHARED}
    assert not shared, f"keys that several pages use: {shared}"
