"""The Python that pages show while another model is open: it opens that model, and runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import streamlit as st
import tiny_models
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.server.opened import Opened, identity
from pages.ui import captions, guess, model

ROOT = Path(__file__).parents[2]
PAGES = ("activations", "cost", "float", "levels", "names", "outliers")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    folder = tiny_models.write("llama_bpe", tmp_path_factory.mktemp("models") / "other")
    checkpoint = ql.open_checkpoint(folder)
    return Opened("token", checkpoint, "other", str(folder), identity(checkpoint), "directory")


@pytest.fixture
def shown(monkeypatch):
    """shown(page, opened): the snippets of a page while a checkpoint is open, every guess made."""

    def of(page: str, opened: Opened) -> list[str]:
        found: list[str] = []
        monkeypatch.setattr(model, "current", lambda: opened)
        monkeypatch.setattr(captions, "show_python", lambda snippet, *_, **__: found.append(snippet))
        monkeypatch.setattr(guess, "guess", lambda _, options, **__: next(iter(options)))
        monkeypatch.setattr(st, "page_link", lambda *_, **__: None)
        running = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=300)
        running.query_params["told"] = "true"
        running.run()
        assert not running.exception, running.exception
        return found

    return of


@pytest.mark.parametrize("page", PAGES)
def test_snippets_open_what_the_page_shows_and_run(shown, other, tmp_path, page):
    snippets = list(dict.fromkeys(shown(page, other)))
    for snippet in snippets:
        if "open_checkpoint" not in snippet:
            continue  # about a name, not about a model
        assert re.findall(r"open_checkpoint\('(.*?)'\)", snippet)[:1] == [other.source], snippet
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    done = subprocess.run(
        [sys.executable, "-c", f"for code in {snippets!r}: exec(code, {{}})"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
