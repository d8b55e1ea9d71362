"""A control's key is its own: two pages with a key in common would take over each other's values."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "pages").glob("*.py"))
# The same control on several pages, about the same thing: what was chosen on one is wanted on the next.
SHARED = {"tensor", "matrix", "row", "prompt"}
CONTAINERS = {"container"}  # their keys are names for style sheets


def keys(path: Path) -> set[str]:
    """The keys of the controls and components that a page makes itself."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    given = [k.value for call in calls if getattr(call.func, "attr", "") not in CONTAINERS for k in call.keywords
             if k.arg == "key"]  # fmt: skip
    return {value.value for value in given if isinstance(value, ast.Constant)}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_key_is_seen_where_it_is_given(path):
    """A variable as a key could be any other page's; a name with a beginning of its own could not."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    for value in (k.value for call in calls for k in call.keywords if k.arg == "key"):
        assert not isinstance(value, ast.Name | ast.Attribute), f"line {value.lineno}: {ast.unparse(value)}"


def test_no_two_pages_share_a_key():
    users = defaultdict(set)
    for path in PAGES:
        for key in keys(path):
            users[key].add(path.stem)
    assert {"recipe", "format", "brush"} <= set(users)
    shared = {key: sorted(pages) for key, pages in users.items() if len(pages) > 1 and key not in SHARED}
    assert not shared, f"keys that several pages use: {shared}"
