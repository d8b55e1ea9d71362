"""From a plan to a file in a real browser: progress, reload, cancel, download, and each refusal."""

import hashlib
import re
import tarfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from conftest import settle
from playwright.sync_api import expect
from safetensors.numpy import save_file
from test_open import FOLDER, bring, opened

import quantlib as ql

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser


BUTTON = {"name": "Quantize", "exact": True}
DOWNLOAD = "Download the GGUF file"


def quantize(page) -> None:
    page.get_by_role("button", **BUTTON).wait_for()
    settle(page)
    page.get_by_role("button", **BUTTON).click()


def quantize_upload(page, server: str, folder: Path):
    """Bring a model's folder and quantize it; gives the link to the file."""
    bring(page, server, *[folder / name for name in FOLDER])
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Quantize").click()
    quantize(page)
    link = page.get_by_role("link", name=DOWNLOAD)
    link.wait_for(timeout=60_000)
    return link


def test_quantize_the_demo_model(server, page, shoot, tmp_path):
    page.goto(f"{server}/quantize?recipe=Q8_0")
    page.get_by_role("button", **BUTTON).wait_for()
    settle(page)
    expect(page.get_by_role("combobox", name="Recipe")).to_have_value("Q8_0")
    shoot(page, "quantize-plan")
    quantize(page)
    link = page.get_by_role("link", name=DOWNLOAD)
    link.wait_for(timeout=60_000)
    settle(page)
    shoot(page, "quantize-done")
    response = page.request.get(link.evaluate("a => a.href"))
    out = tmp_path / "out.gguf"
    out.write_bytes(response.body())
    assert 'filename="demo_model-Q8_0.gguf"' in response.headers["content-disposition"]
    with ql.open_checkpoint(out) as written:
        assert written.tensors["blk.0.ffn_down.weight"].format == "Q8_0"
    page.reload()
    page.get_by_role("link", name=DOWNLOAD).wait_for()
    page.get_by_role("button", name="Look at it on every page").click()
    opened(page)
    expect(page.get_by_test_id("stSidebar").get_by_text("demo_model-Q8_0.gguf")).to_have_count(1)
    assert page.request.get(f"{server}/files/not-a-token").status == 404


def test_quantize_an_upload(server, page, demo_model, tmp_path):
    link = quantize_upload(page, server, demo_model)
    out = tmp_path / "out.gguf"
    out.write_bytes(page.request.get(link.evaluate("a => a.href")).body())
    with ql.open_checkpoint(out) as written:
        assert written.tensors["blk.0.ffn_up.weight"].format == "Q4_K"


@pytest.fixture
def large(tmp_path) -> Path:
    """A file that takes long enough to quantize for a click and a reload in between: 200 million weights."""
    path = tmp_path / "large.safetensors"
    x = np.random.default_rng(1).integers(0x3C00, 0x3F80, (8192, 4096), np.uint16).view(ml_dtypes.bfloat16)
    save_file({f"model.layers.{i}.mlp.up_proj.weight": x for i in range(6)}, path)
    return path


def test_a_job_survives_a_page_change_and_a_reload_and_is_cancelled(server, page, large):
    bring(page, server, large)
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Quantize").click()
    page.get_by_role("combobox", name="Recipe").wait_for()
    page.goto(f"{page.url}&recipe=IQ3_S")  # the slowest search that needs no importance matrix
    quantize(page)
    cancel = page.get_by_role("button", name="Cancel")
    cancel.wait_for()
    address = page.url
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Start").click()
    page.get_by_role("heading", name="The chapters").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Quantize").click()
    cancel.wait_for()
    page.goto(address)
    cancel.wait_for()
    page.get_by_text(re.compile(r"Tensor \d of 6")).wait_for(timeout=90_000)
    cancel.click()
    page.get_by_text("The run was cancelled; nothing was written.").wait_for()
    expect(page.get_by_role("link", name=DOWNLOAD)).to_have_count(0)


def test_a_damaged_tensor_is_told_and_nothing_is_offered(server, page, tmp_path):
    x = np.ones((64, 256), np.float32)
    x[3, 7] = np.nan
    save_file({"model.layers.0.mlp.up_proj.weight": x}, tmp_path / "damaged.safetensors")
    bring(page, server, tmp_path / "damaged.safetensors")
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Quantize").click()
    page.get_by_role("alert").filter(has_text="no config.json").wait_for()
    quantize(page)
    page.get_by_role("alert").filter(has_text=re.compile("NaN.* at row 3, column 7")).wait_for()
    expect(page.get_by_role("link", name=DOWNLOAD)).to_have_count(0)


def test_a_job_that_the_server_does_not_know(server, page):
    page.goto(f"{server}/quantize?job=gone")
    page.get_by_text("no longer knows").wait_for()


def test_a_budget_is_measured_and_kept(server, page, tmp_path):
    rng = np.random.default_rng(5)
    names = [f"model.layers.{i}.mlp.{part}_proj.weight" for i in range(2) for part in ("up", "down")]
    tensors = {name: rng.standard_normal((256, 256), np.float32) * (1 + i) for i, name in enumerate(names)}
    save_file(tensors, tmp_path / "small.safetensors")
    bring(page, server, tmp_path / "small.safetensors")
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Quantize").click()
    page.get_by_role("radio", name="a budget").click()
    page.get_by_role("button", name="Measure what formats cost").click()
    page.get_by_role("heading", name="The plan").wait_for(timeout=90_000)
    quantize(page)
    link = page.get_by_role("link", name=DOWNLOAD)
    link.wait_for(timeout=60_000)
    out = tmp_path / "out.gguf"
    out.write_bytes(page.request.get(link.evaluate("a => a.href")).body())
    with ql.open_checkpoint(out) as written:
        matrices = [t for t in written.tensors.values() if len(t.shape) == 2]
        assert len(matrices) == len(names)
        assert 8 * sum(t.nbytes for t in matrices) <= 4.5 * sum(t.size for t in matrices)


def test_wishes_and_a_result_with_its_hash(server, page, tmp_path):
    page.goto(f"{server}/quantize")
    settle(page)
    page.get_by_text("What the recipe should decide differently").click()
    rules = page.get_by_role("textbox", name="Formats by pattern")
    rules.fill("(a+)+=Q6_K")
    rules.press("Control+Enter")
    expect(page.get_by_text("is no pattern that this page takes")).to_be_visible()
    rules.fill("attn_q=Q8_0")
    rules.press("Control+Enter")
    expect(page.get_by_text("is no pattern that this page takes")).to_have_count(0)
    expect(page.locator("svg.map .format text", has_text="Q8_0")).to_have_count(8)
    quantize(page)
    link = page.get_by_role("link", name=DOWNLOAD)
    link.wait_for(timeout=60_000)
    data = page.request.get(link.evaluate("a => a.href")).body()
    result = page.locator("dl.result")
    expect(result).to_contain_text(hashlib.sha256(data).hexdigest())
    expect(result).to_contain_text(f"{len(data):,} bytes")
    expect(result).to_contain_text("Formats, attention")
    expect(result).to_contain_text("--tensor-format attn_q=Q8_0")


def test_several_recipes_come_down_in_one_file(server, page, shoot, tmp_path):
    page.goto(f"{server}/quantize?by=several+recipes")
    settle(page)
    page.get_by_text("Let each read the shipped texts, too").click()
    settle(page)
    page.get_by_role("button", name="Quantize all").click()
    link = page.get_by_role("link", name="Download all in one file")
    link.wait_for(timeout=90_000)
    shoot(page, "quantize-several")
    (tmp_path / "all.tar").write_bytes(page.request.get(link.evaluate("a => a.href")).body())
    with tarfile.open(tmp_path / "all.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "demo_model-GGUF"
    names = {f"demo_model-{name}.gguf" for name in ("Q8_0", "Q5_K_M", "Q4_K_M")}
    assert {path.name for path in folder.iterdir()} == {"README.md", *names}
    card = (folder / "README.md").read_text()
    for path in folder.glob("*.gguf"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    page.reload()
    link.wait_for()
