"""Exporting in a browser: a scheme, the job, and the folder that comes down as one file."""

import re
import tarfile

import pytest
from conftest import settle
from playwright.sync_api import expect

import quantlib as ql

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser


def choose_details(page) -> None:
    """Groups of 64, and the output projections left alone."""
    page.get_by_text("Bits, groups and what stays").click()
    page.get_by_role("combobox", name="Weights that share a scale").click()
    page.get_by_role("option", name="64", exact=True).click()
    settle(page)
    box = page.get_by_role("textbox", name="Matrices that stay as they are")
    box.fill("o_proj")
    box.press("Control+Enter")
    expect(page.get_by_text("It quantizes 48 matrices of the layers. 8 stay as they are.")).to_be_visible()
    settle(page)


@pytest.mark.parametrize(("scheme", "choose"), [("w4a16", choose_details), ("w8a8", None)])
def test_a_folder_comes_down_and_opens(server, page, shoot, tmp_path, scheme, choose):
    page.goto(f"{server}/export?scheme={scheme}")
    page.get_by_role("button", name="Export", exact=True).wait_for()
    settle(page)
    if choose:
        choose(page)
    page.get_by_role("button", name="Export", exact=True).click()
    link = page.get_by_role("link", name="Download the folder (tar)")
    link.wait_for(timeout=120_000)
    settle(page)
    shoot(page, f"export-{scheme}")
    response = page.request.get(link.evaluate("a => a.href"))
    label = f"{scheme}-group-64" if choose else scheme
    assert f"-{label}.tar" in response.headers["content-disposition"]
    (tmp_path / "model.tar").write_bytes(response.body())
    with tarfile.open(tmp_path / "model.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    with ql.open_checkpoint(folder) as written:
        tensor = written.tensors["model.layers.0.mlp.down_proj.weight"]
        assert tensor.shape == (256, 768) and tensor.rows(0, 1).any()
        if choose:
            config = written.metadata["config"]["quantization_config"]
            assert config["config_groups"]["group_0"]["weights"]["group_size"] == 64
            assert len(config["ignore"]) == 9
    page.reload()
    page.get_by_role("link", name="Download the folder (tar)").wait_for()


def test_a_gguf_file_is_refused_in_a_sentence(server, page, tmp_path, demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        ql.run(ql.plan(checkpoint, "Q8_0"), tmp_path / "model.gguf")
    page.goto(f"{server}/open")
    settle(page)
    page.locator(".uploader input[type=file]").first.set_input_files(str(tmp_path / "model.gguf"))
    page.wait_for_url(re.compile("opened="))
    settle(page)
    page.get_by_role("link", name="Export").first.click()
    page.get_by_text("exports need one").wait_for()
