"""Whatever an address says, a page is drawn: numbers of thousands of digits, text without end, no characters at all."""

import ast
import asyncio
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from person import Person
from server import running

from pages.ui import menu

PAGES = Path(__file__).parents[2] / "pages"
ODD = {
    "a long number": "9" * 5000,
    "a long negative number": "-" + "9" * 5000,
    "a long fraction": "0." + "1" * 5000,
    "a huge power": "1e999999999",
    "not a number": "nan",
    "infinity": "-inf",
    "digits of another script": "٣٣٣",
    "nothing": "",
    "a zero byte": "\x00",
    "half a character": "\udc80",
    "deep lists": "[" * 20_000,
    "deep objects": '{"a":' * 20_000,
    "markup": "<img src=x onerror=alert(1)>",
    "long text": "a" * 50_000,
}


def names() -> list[str]:
    """Every text in the pages' code that could be the name of a parameter."""
    found = set()
    for path in PAGES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                found.add(node.value)
    return sorted(name for name in found if len(name) < 24 and name.islower() and name not in ("present",))


NAMES = names()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("odd")) as server:
        yield server


def query(value: str) -> str:
    said = quote_plus(value, errors="surrogateescape")
    # As many parameters as fit: text of 50,000 characters under every name would only test the socket's own limit.
    return "&".join(f"{name}={said}" for name in NAMES[: max(1, 600_000 // max(1, len(said)))])


@pytest.mark.parametrize("entry", menu.ENTRIES, ids=lambda entry: entry.file)
def test_a_page_is_drawn_whatever_its_address_says(entry, server):
    async def visit() -> dict[str, list[str]]:
        wrong = {}
        for what, value in ODD.items():
            async with Person(server.address, seed=1) as person:
                await person.visit(entry.address, query(value))
                if person.errors:
                    wrong[what] = person.errors
        return wrong

    assert {"row", "size", "tensor", "opened", "job"} <= set(NAMES)
    log = server.folder / "server.log"
    before = len(log.read_text())
    assert asyncio.run(visit()) == {}
    assert "Traceback" not in log.read_text()[before:], log.read_text()[before:][-3000:]
