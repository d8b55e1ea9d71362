"""An image model is opened: no page breaks, and what does not apply to it is said in a sentence."""

from pathlib import Path

import pytest
import streamlit as st
import synthetic
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.server.opened import Opened, identity
from pages.ui import guess, model
from quantlib import inspection
from quantlib.inspection.describing import headline

ROOT = Path(__file__).parents[2]
WIDTH = 256
BLOCK = {
    "img_attn.qkv.weight": [3 * WIDTH, WIDTH], "img_attn.proj.weight": [WIDTH, WIDTH],
    "img_mod.lin.weight": [6 * WIDTH, WIDTH], "img_mlp.0.weight": [4 * WIDTH, WIDTH],
    "img_mlp.2.weight": [WIDTH, 4 * WIDTH], "img_attn.norm.query_norm.scale": [64],
}  # fmt: skip
TENSORS = {
    "img_in.weight": [WIDTH, 64],
    "time_in.in_layer.weight": [WIDTH, 256],
    **{f"double_blocks.{i}.{name}": shape for i in range(2) for name, shape in BLOCK.items()},
    "single_blocks.0.linear1.weight": [7 * WIDTH, WIDTH],
    "final_layer.linear.weight": [64, WIDTH],
}


@pytest.fixture(scope="module")
def flux(tmp_path_factory) -> Opened:
    path = tmp_path_factory.mktemp("flux") / "small-flux.safetensors"
    synthetic.save(path, [(name, "BF16", shape) for name, shape in TENSORS.items()])
    checkpoint = ql.open_checkpoint(path)
    return Opened("token", checkpoint, path.name, str(path), identity(checkpoint), "directory")


@pytest.fixture
def run(monkeypatch, flux):
    """run(page): the page while the image model is open, every guess made."""

    def of(page: str, **address: str) -> AppTest:
        for name in ("current", "lesson"):
            monkeypatch.setattr(model, name, lambda: flux)
        monkeypatch.setattr(guess, "guess", lambda _, options, **__: options[0])
        monkeypatch.setattr(st, "page_link", lambda *_, **__: None)
        running = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=300)
        running.query_params.update({"told": "true"} | address)
        running.run()
        assert not running.exception, running.exception
        return running

    return of


def said(page: AppTest) -> str:
    return "\n".join(
        each.value for kind in ("markdown", "caption", "info", "warning", "text") for each in page.get(kind)
    )


def test_quantize_offers_what_applies(run):
    page = run("quantize")
    assert "ComfyUI-GGUF" in said(page) and "llama.cpp" not in page.markdown[0].value
    offered = page.selectbox(key="recipe").options
    assert {"Q4_K_S", "Q8_0", "IQ4_XS"} <= set(offered) and not {"IQ2_XXS", "IQ3_S", "TQ1_0"} & set(offered)
    assert "importance" not in [each.key for each in page.get("button_group")]


@pytest.mark.parametrize("page, sentence", [("evaluate", "reads no text"), ("export", "reads no text")])
def test_pages_that_read_text_say_why_they_do_not(run, page, sentence):
    found = run(page)
    assert sentence in said(found) and not found.button


def test_inspect_names_the_family_and_the_parts(run, flux):
    found = inspection.describe(flux.checkpoint)
    assert found.architecture == "flux" and headline(found).startswith(found.family)
    page = run("inspect", view="Tensors")
    does = set(page.dataframe[0].value["does"])
    assert {"into the model", "time and guidance", "modulation", "double blocks", "single blocks"} <= does


@pytest.mark.parametrize("page", ["super_block", "codebooks", "float"])
def test_chapters_show_a_matrix_of_whole_blocks(run, page):
    picker = next(box for box in run(page).selectbox if box.label == "Tensor")
    assert TENSORS[picker.value][-1] % 256 == 0
