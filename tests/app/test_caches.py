"""One rule for what pages keep: the key names what is opened by its identity, and every cache has a bound.

A cache of Streamlit leaves parameters out of its key whose names begin with an underscore. Whatever such a parameter
is made of, the first parameter has to tell: `identity`, which changes with the files (`pages.server.opened.identity`).
What pages keep lives in one process, so it is of that process's code; what outlives it is keyed by code, too
(`quantlib.lm.keeping`).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "pages").rglob("*.py"))
KEYS = ("identity", "source", "token", "about")  # what the parameter is called that holds it, with more or without
GIVEN = re.compile(r"identity|\bsource\(\)|\btoken\b|\babout\b")  # what callers give for it


def cached(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, list[str]]]:
    """The functions of a module whose results are kept, with the settings of their cache."""
    for node in ast.walk(tree):
        for decorator in getattr(node, "decorator_list", []):
            if "st.cache_" in ast.unparse(decorator):
                yield node, [word.arg for word in getattr(decorator, "keywords", [])]


def offences(source: str) -> list[str]:
    """What a module's caches lack, a sentence each."""
    tree, found = ast.parse(source), []
    kept = list(cached(tree))
    for function, settings in kept:
        names = [argument.arg for argument in function.args.args]
        hidden = [name for name in names if name.startswith("_")]
        if names and not {"max_entries", "scope"} & set(settings):
            found.append(f"{function.name} keeps any number of results")
        if hidden and not set(KEYS) & set(names):
            found.append(f"{function.name} leaves {hidden[0]} out of its key and has no identity for it")
    takes = {function.name for function, _ in kept if function.args.args and function.args.args[0].arg in KEYS}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and getattr(call.func, "id", None) in takes:
            key = ast.unparse(call.args[0]) if call.args else ""
            if key != "source" and not GIVEN.search(key):
                found.append(f"{call.func.id} is called with {key or 'nothing'} where the identity belongs")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT / "pages")))
def test_what_is_kept_is_known_by_the_identity_of_what_is_opened(page):
    assert not offences(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("source, said", [
    ("@st.cache_data\ndef f(name, _tensor): ...", "any number"),
    ("@st.cache_data(max_entries=9)\ndef f(name, _tensor): ...", "no identity"),
    ("@st.cache_data(max_entries=9)\ndef f(identity, _tensor): ...\nf(str(checkpoint.source), t)", "is called with"),
    ("@st.cache_data(max_entries=9)\ndef f(identity, _tensor): ...\nf(opened.identity, t)", ""),
])  # fmt: skip
def test_offenders_are_found(source, said):
    found = offences(source)
    assert bool(found) == bool(said)
    assert all(said in sentence for sentence in found[:1])
