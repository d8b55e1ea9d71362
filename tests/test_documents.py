"""Documents name files and commands that exist."""

import re
from pathlib import Path

import pytest

from pages.ui import menu
from quantlib.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# `checkpoints/view.py` in a document on the library stands below one of these.
BELOW = (ROOT, ROOT / "quantlib", ROOT / "docs", ROOT / "tests")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)\)", text_of(page)):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:[\w.-]+/)+[\w*.-]+\.(?:py|js|md|toml|txt|json))`", text_of(page)):
        found = any(list(base.glob(name)) for base in BELOW)
        assert found or name.startswith(("out/", "model/")), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_that_are_named_exist(page):
    for command in re.findall(r"python -m quantlib (\w+)", text_of(page)):
        assert command in COMMANDS, f"{page.name} names the command {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_scripts_that_are_named_exist(page):
    for script in re.findall(r"python ((?:tests|assets)/[\w/.-]+\.py)", text_of(page)):
        assert (ROOT / script).exists(), f"{page.name} names {script}"


def test_the_readme_counts_the_chapters():
    count = {12: "twelve", 13: "thirteen", 14: "fourteen", 15: "fifteen"}[len(menu.SECTIONS["Learn"])]
    assert f"**Learn**: {count} chapters" in text_of(ROOT / "README.md")
