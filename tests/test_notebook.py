"""What values show of themselves: one screen, escaped, with a figure and a frame; and what `dir(ql)` lists."""

import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.inspection import compare

SCREEN = 24  # lines
WIDE = 200  # characters


@pytest.fixture(scope="module")
def shown(demo_model, tmp_path_factory):
    """A checkpoint, its plan, the result, the comparison of the two, and a tensor."""
    out = tmp_path_factory.mktemp("shown") / "out.gguf"
    with ql.open_checkpoint(demo_model) as checkpoint:
        plan = ql.plan(checkpoint, "Q4_K_M")
        result = ql.run(plan, out)
        with ql.open_checkpoint(out) as written:
            yield {
                "checkpoint": checkpoint, "plan": plan, "result": result, "comparison": compare(checkpoint, written),
                "tensor": checkpoint.tensors["model.layers.1.mlp.down_proj.weight"],
            }  # fmt: skip


TABLES = ("checkpoint", "plan", "result", "comparison")


@pytest.mark.parametrize("kind", TABLES)
def test_a_representation_is_one_screen(shown, kind):
    lines = repr(shown[kind]).splitlines()
    assert 10 < len(lines) <= SCREEN and max(map(len, lines)) <= WIDE
    assert kind in lines[0].lower() and "more" in lines[-1]


@pytest.mark.parametrize("kind", TABLES)
def test_a_notebook_shows_a_table(shown, kind):
    html = shown[kind]._repr_html_()
    assert html.startswith("<div>") and html.count("<tr>") == 1 + 12 and len(html) < 10_000


@pytest.mark.parametrize("kind", [*TABLES, "tensor"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure(shown, kind, theme):
    figure = shown[kind].figure(theme)
    assert isinstance(figure, go.Figure) and len(figure.data) and figure.to_json()


@pytest.mark.parametrize("kind", TABLES)
def test_a_frame_has_a_row_for_each_tensor(shown, kind):
    pytest.importorskip("pandas")
    frame = shown[kind].to_frame()
    assert len(frame) == 75 and "name" in frame.columns


def test_a_representation_of_an_empty_checkpoint(tmp_path):
    save_file({}, tmp_path / "empty.safetensors")
    with ql.open_checkpoint(tmp_path / "empty.safetensors") as checkpoint:
        assert "0 tensors" in repr(checkpoint) and "0 tensors" in checkpoint._repr_html_()


def test_names_of_a_file_are_text(tmp_path):
    save_file({"<script>alert(1)</script>\n\x1b[31m": np.ones((2, 32), np.float32)}, tmp_path / "odd.safetensors")
    with ql.open_checkpoint(tmp_path / "odd.safetensors") as checkpoint:
        assert "<script>" not in checkpoint._repr_html_()
        assert "\x1b" not in repr(checkpoint) and len(repr(checkpoint).splitlines()) == 4


def test_the_package_lists_its_interface_and_loads_parts_when_they_are_touched():
    code = (
        "import sys, quantlib as ql; before = set(sys.modules)\n"
        "assert all(not name.startswith('_') or name == '__version__' for name in dir(ql)), dir(ql)\n"
        "assert 'np' not in dir(ql) and {'quantize', 'plan', 'lm', 'inspection', 'figures'} <= set(dir(ql))\n"
        "assert not {'quantlib.lm', 'quantlib.figures', 'plotly'} & before\n"
        "for name in dir(ql): getattr(ql, name)\n"
        "assert 'quantlib.lm' in sys.modules\n"
        "assert not hasattr(ql, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("module, asked, word", [("pandas", "to_frame", "pandas"), ("plotly", "figure", "Plotly")])
def test_what_is_not_installed_is_said_in_a_sentence(shown, monkeypatch, module, asked, word):
    for name in [name for name in sys.modules if name.split(".")[0] == module or name == "quantlib.figures.objects"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    if module == "plotly":
        monkeypatch.setitem(sys.modules, "quantlib.figures.objects", None)
    with pytest.raises(ql.QuantlibError, match=f"needs {word}, which is not installed"):
        getattr(shown["plan"], asked)()
