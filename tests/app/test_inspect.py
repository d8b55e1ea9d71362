"""Looking into a checkpoint in a browser: strip, table, tensor, metadata, tokenizer, statistics, comparison."""

import re
from urllib.parse import quote

import numpy as np
import pytest
from conftest import settle
from playwright.sync_api import expect
from safetensors.numpy import save_file
from test_open import bring, opened

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser
DOWN = "model.layers.1.mlp.down_proj.weight"


def view(page, name: str) -> None:
    page.get_by_role("radio", name=name).click()
    settle(page)


def test_a_tensor_is_looked_into(server, page, shoot):
    page.goto(f"{server}/inspect?tensor={DOWN}")
    page.locator("svg.strip rect").first.wait_for()
    page.locator(".zooms canvas").first.wait_for()
    settle(page)
    page.locator("svg.strip rect").nth(75 - 17 - 1).wait_for()  # norms are too thin to be drawn apart
    expect(page.get_by_text("256 × 768").filter(visible=True).first).to_be_visible()
    shoot(page, "inspect")
    page.get_by_role("radio", name="bits per weight").click()
    page.locator("svg.strip.by-bits").wait_for()
    page.get_by_role("link", name=re.compile("A block of it in Q4_K")).click()
    page.locator(".ql .byte").first.wait_for()
    assert f"tensor={DOWN}" in page.url


def test_every_view(server, page):
    page.goto(f"{server}/inspect")
    expect(page.get_by_text("8.39 million weights")).to_be_visible()
    expect(page.get_by_text("Nothing stands out")).to_be_visible()
    view(page, "Layers")
    expect(page.locator("svg.ridges .ridge")).to_have_count(8)
    page.locator(f"svg.map [data-pick='{DOWN}']").click()
    expect(page.get_by_text("From byte").first).to_be_visible()
    assert f"tensor={DOWN}" in page.url
    view(page, "Metadata")
    page.get_by_text("Key or value contains").wait_for()
    view(page, "Tokenizer")
    page.get_by_text("4,096 tokens").wait_for()
    view(page, "Statistics")
    page.get_by_role("button", name="Read all tensors").click()
    page.get_by_role("button", name="Report (HTML)").wait_for(timeout=60_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Report (HTML)").click()
    report = download.value.path().read_text()
    assert DOWN in report
    assert "http" not in re.sub(r"https?://www.w3.org\S*", "", report), "the report needs nothing else"
    page.reload()
    page.get_by_role("button", name="Report (HTML)").wait_for()


def test_what_is_unusual_is_ranked_and_opened(server, page, shoot, tmp_path):
    x = np.random.default_rng(3).standard_normal((96, 256), np.float32)
    spiked = x.copy()
    spiked[5, 7] = 400
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)]
    save_file(dict(zip(names, (x, spiked, x), strict=True)), tmp_path / "spiked.safetensors")
    bring(page, server, tmp_path / "spiked.safetensors")
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Inspect").click()
    settle(page)
    table = page.get_by_test_id("stDataFrame").first
    table.wait_for()
    shoot(page, "inspect-unusual")
    box = table.bounding_box()
    page.mouse.click(box["x"] + 12, box["y"] + 52)  # the box before the first row
    expect(page.get_by_text(names[1], exact=True).filter(visible=True).last).to_be_visible()
    expect(page.get_by_text("From byte").first).to_be_visible()
    assert f"tensor={names[1]}" in page.url


def test_two_checkpoints_are_compared(server, page, tmp_path):
    import quantlib as ql

    x = np.random.default_rng(3).standard_normal((64, 256), np.float32)
    save_file({"model.layers.0.mlp.up_proj.weight": x}, tmp_path / "one.safetensors")
    with ql.open_checkpoint(tmp_path / "one.safetensors") as checkpoint:
        result = ql.run(ql.plan(checkpoint, "Q8_0"), tmp_path / "other.gguf")
    bring(page, server, tmp_path / "one.safetensors")
    opened(page)
    page.get_by_text("Bring a checkpoint").wait_for()
    page.locator(".uploader input[type=file]").first.set_input_files([tmp_path / "other.gguf"])
    page.get_by_test_id("stSidebar").get_by_text("other.gguf").wait_for()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Inspect").click()
    page.get_by_text("The file in byte order").wait_for()
    view(page, "Compare")
    page.get_by_role("combobox", name="Compare with").click()
    page.get_by_role("option", name="one.safetensors").click()
    settle(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text(f"{result.tensors[0].loss.relative:.2%}").first.wait_for(timeout=60_000)


def test_ten_thousand_tensors_stay_quick_to_search(server, page, tmp_path):
    x = np.zeros((2, 32), np.float16)
    save_file({f"model.layers.{i}.mlp.up_proj.weight": x for i in range(10_000)}, tmp_path / "many.safetensors")
    bring(page, server, tmp_path / "many.safetensors")
    opened(page)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Inspect").click()
    view(page, "Tensors")
    page.get_by_text("10,000 of 10,000 tensors").wait_for()
    box = page.get_by_role("textbox", name="Name contains")
    box.fill("layers.77.")
    box.press("Enter")
    page.get_by_text("1 of 10,000 tensors").wait_for()


def test_a_name_that_is_a_script_stays_a_name(server, page, tmp_path):
    attack = "document.title='hacked'"
    script = f'<script>{attack}</script><img src=x onerror="{attack}">![x](//a.example/x)'
    save_file({script: np.ones((4, 64), np.float32)}, tmp_path / "script.safetensors", {script: script})
    outside = []
    page.on("request", lambda r: r.url.startswith((server, "data:", "blob:", "ws:")) or outside.append(r.url))
    bring(page, server, tmp_path / "script.safetensors")
    opened(page)
    page.goto(page.url.replace("/open?", f"/inspect?tensor={quote(script)}&"))
    page.locator("svg.strip rect").first.wait_for()
    page.get_by_text("As it would be stored in").wait_for()
    expect(page.get_by_text(script)).not_to_have_count(0)
    for name in ("Tensors", "Layers", "Metadata", "Tokenizer", "Statistics", "Compare"):
        view(page, name)
    assert page.title() != "hacked"
    assert page.locator("img[src=x]").count() == 0
    assert not outside
