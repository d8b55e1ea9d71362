"""Every golden file says what made it, and what can be made again here is made with the versions that are installed."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"
PEERS = Path(__file__).with_name("requirements-peers.txt").read_text().split()
SCRIPTS = sorted(GOLDEN.glob("make_*.py"))


def rows() -> dict[str, tuple[str, str]]:
    """What the table says: patterns of files -> (made with, how)."""
    cells = [
        line.strip("| \n").split(" | ") for line in (GOLDEN / "README.md").read_text().splitlines() if "| `" in line
    ]
    return {pattern: (by, how) for files, by, how in cells for pattern in re.findall(r"`([^`]+)`", files)}


def data() -> list[str]:
    """The files of data, from the folder on."""
    found = (path for path in GOLDEN.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [str(path.relative_to(GOLDEN)) for path in found if path.suffix != ".py" and path.name != "README.md"]


def test_every_file_has_a_row_that_says_what_made_it():
    patterns = rows()
    without = [name for name in data() if not any(fnmatch(name, pattern) for pattern in patterns)]
    assert not without
    idle = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in data())]
    assert not idle
    assert all(re.search(r"\d+\.\d+|sources|tools|patched", by) for by, _ in patterns.values())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_names_the_version_that_the_peers_are_pinned_to(script):
    stated = set(re.findall(r"[\w-]+==[\d.]+", ast.get_docstring(ast.parse(script.read_text()))))
    assert stated, "its docstring says what to install"
    assert stated <= set(PEERS)
    (row,) = {row for row in rows().values() if f"`{script.name}`" in row[1]}
    assert all(pin.replace("==", " ") in row[0] for pin in stated)
