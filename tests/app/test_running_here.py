"""Whether a model can be run here has one answer, whichever page asks."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models

import quantlib as ql
from pages.server.limits import Limits
from pages.server.opened import Opened
from pages.ui import importance, measuring, model, running

ROOT = Path(__file__).parents[2]
# Which load models, and ask before.
ASKING = {"importance.py", "running.py", "measuring.py", "exporting.py", "batch.py"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return ql.open_checkpoint(tiny_models.write("llama_bpe", tmp_path_factory.mktemp("models") / "tiny"))


@pytest.mark.parametrize("room, origin, runs", [(4, None, True), (3.9, None, False), (4, "hf://a/b", False)])
def test_all_pages_give_one_answer(monkeypatch, checkpoint, room, origin, runs):
    """`room`: bytes that the server allows for a weight."""
    monkeypatch.setattr(measuring, "LIMITS", Limits(run_bytes=int(room * checkpoint.size)))
    held = replace(checkpoint, origin=origin) if origin else checkpoint
    opened = Opened("token", held, "tiny", "tiny", f"tiny-{room}-{origin}", "directory")
    monkeypatch.setattr(model, "current", lambda: opened)
    tensor = next(t for t in held if t.name.endswith("down_proj.weight"))
    assert (running.running().note == "") == runs
    assert (importance.of_block(opened, tensor, 32, 0) is not None) == runs
    assert (importance.input_of_row(opened, tensor) is not None) == runs


def test_no_page_loads_a_model_without_asking():
    for path in (ROOT / "pages").rglob("*.py"):
        calls = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
        loads = calls & {"load", "lm.load", "inputs.column_importance", "inputs.last_inputs"}
        assert not loads or path.name in ASKING, (path, loads)
