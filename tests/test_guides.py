"""Every example of the guides runs as it is written, the notebook runs, and pages made from code are as the code is."""

import importlib
import importlib.util
import json
import re
import shlex
from pathlib import Path

import plotly.graph_objects as go
import pytest
import yaml

from quantlib.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHARACTERS = 2200  # of a text that the examples read


@pytest.fixture
def desk(demo_model, tmp_path, monkeypatch):
    """A folder with what the guides speak of: a model, and two texts."""
    (tmp_path / "model").symlink_to(demo_model)
    for name, source in (("text.txt", "story.txt"), ("other.txt", "explanation.txt")):
        text = (ROOT / "assets" / "evaluation" / source).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text[:CHARACTERS], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_runs_as_it_is_written(guide, desk, capsys):
    if guide.stem == "before-you-publish":  # it speaks of a file that the first guide made
        assert main(["quantize", "model/", "model-Q4_K_M.gguf", "--recipe", "Q4_K_M"]) == 0
    blocks = BLOCK.findall(guide.read_text(encoding="utf-8"))
    assert blocks
    scope: dict = {}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, str(guide), "exec"), scope)
            continue
        for line in code.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "quantlib"
            assert main(arguments) == 0, line
    assert "Traceback" not in capsys.readouterr().err


def test_the_notebook_runs(monkeypatch, demo_model):
    monkeypatch.setenv("MODEL", str(demo_model))
    notebook = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))
    scope: dict = {}
    figures = 0
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code") and not cell.get("outputs")
        if cell["cell_type"] != "code":
            continue
        *lines, last = cell["source"]
        exec("".join(lines), scope)
        try:
            shown = eval(last, scope)
        except SyntaxError:
            exec("".join(cell["source"]), scope)
            shown = None
        figures += isinstance(shown, go.Figure)
        if hasattr(shown, "_repr_html_") and not isinstance(shown, go.Figure):
            assert shown._repr_html_().startswith("<div>")
    assert figures == 3 and scope["comparison"].verdict == "stored"


def test_what_is_supported_is_what_the_code_declares():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.PAGE.read_text(encoding="utf-8") == generate.supported(), "run python docs/generate.py"


def nav(entries) -> list[str]:
    return [path for entry in entries for v in entry.values() for path in ([v] if isinstance(v, str) else nav(v))]


def test_the_site_names_every_page_once():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    pages = nav(site["nav"])
    assert sorted(pages) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


IDENTIFIERS = [
    (page.stem, name)
    for page in sorted((DOCS / "reference").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "name"), IDENTIFIERS)
def test_what_the_reference_documents_exists_and_says_what_it_is(page, name):
    try:
        found = importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute)
    assert (found.__doc__ or "").strip()


def members() -> list[tuple[str, str]]:
    pattern = re.compile(r"^::: ([\w.]+)\n    options:\n      members: \[(.*)\]$", re.MULTILINE)
    texts = (page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    return [(module, name) for text in texts for module, names in pattern.findall(text) for name in names.split(", ")]


@pytest.mark.parametrize(("module", "name"), members())
def test_members_that_the_reference_names_exist(module, name):
    assert (getattr(importlib.import_module(module), name).__doc__ or "").strip()


def test_messages_of_the_troubleshooting_page_are_messages_of_ours():
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    said = [
        m for row in page.splitlines() if row.startswith("| `") for m in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "quantlib").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that are written over several lines
    missing = [message for message in said if message not in source]
    assert len(said) > 10 and not missing, missing
