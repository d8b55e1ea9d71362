"""Every page in a real browser, each first visited by its deep link on a fresh server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


def settle(page) -> None:
    """Wait until the script of the page has run."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
    assert not page.get_by_text("Page not found").count()


def test_home(server, page, shoot):
    page.goto(server)
    page.locator("svg.levels").wait_for()
    settle(page)
    assert page.locator("svg.levels circle.now").count() == 128
    assert page.locator("svg.levels path.level").count() >= 4
    shoot(page, "home")
    page.get_by_role("radio", name=re.compile("256 levels")).click()
    page.locator("svg.levels path.band").first.wait_for()
    assert "stored=256" in page.url


def test_home_by_deep_link(server, page):
    page.goto(f"{server}/?stored=256+levels")
    page.locator("svg.levels path.band").first.wait_for()
    settle(page)
    assert page.locator("svg.levels path.level").count() == 0


def test_quantize_the_demo_model(server, page, shoot, tmp_path):
    page.goto(f"{server}/quantize?recipe=Q8_0")
    page.get_by_role("button", name="Quantize", exact=True).wait_for()
    settle(page)
    assert page.get_by_role("combobox", name="Recipe").input_value() == "Q8_0"
    shoot(page, "quantize-plan")
    page.get_by_role("button", name="Quantize", exact=True).click()
    link = page.get_by_role("link", name="Download the GGUF file")
    link.wait_for(timeout=60_000)
    settle(page)
    shoot(page, "quantize-done")
    response = page.request.get(link.evaluate("a => a.href"))
    out = tmp_path / "out.gguf"
    out.write_bytes(response.body())
    assert 'filename="demo-model-Q8_0.gguf"' in response.headers["content-disposition"]

    import quantlib as ql

    with ql.open_checkpoint(out) as written:
        assert written.tensors["blk.0.ffn_down.weight"].format == "Q8_0"
    page.reload()
    page.get_by_role("link", name="Download the GGUF file").wait_for()
    assert page.request.get(f"{server}/files/not-a-token").status == 404


def upload(page, files: list[dict]) -> None:
    page.locator("input[type=file]").first.set_input_files(files)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.bin", b"\x80\x02}q\x00.", "pickle"),
        ("cut.safetensors", b"\xff\xff\xff\x00\x00\x00\x00\x00{}", "cut.safetensors|header"),
        ("lying.gguf", b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "lying.gguf|claims"),
    ],
)
def test_bad_uploads_get_one_sentence(server, page, name, content, says):
    page.goto(f"{server}/quantize?source=A+file+of+mine")
    page.locator("input[type=file]").first.wait_for(state="attached")
    settle(page)
    upload(page, [{"name": name, "mimeType": "application/octet-stream", "buffer": content}])
    alert = page.get_by_role("alert").filter(has_text=re.compile(says))
    alert.wait_for()
    assert "Traceback" not in page.locator("[data-testid=stMain]").inner_text()


def test_quantize_an_upload(server, page, demo_model):
    page.goto(f"{server}/quantize?source=A+file+of+mine&recipe=Q4_K_M")
    page.locator("input[type=file]").first.wait_for(state="attached")
    settle(page)
    names = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
    page.locator("input[type=file]").first.set_input_files([demo_model / name for name in names])
    page.get_by_role("button", name="Quantize", exact=True).wait_for()
    settle(page)
    page.get_by_role("button", name="Quantize", exact=True).click()
    page.get_by_role("link", name="Download the GGUF file").wait_for(timeout=60_000)


def test_what_a_float_stores(server, page, shoot):
    page.goto(f"{server}/what-a-float-stores?row=3&column=5")
    strip = page.locator(".ql section")
    strip.first.wait_for()
    settle(page)
    assert strip.count() == 3
    shoot(page, "what-a-float-stores")
    fp16 = page.locator(".ql section[aria-label=FP16]")
    before = fp16.inner_text()
    sign = page.locator(".ql section[aria-label=FP32] .bit").first
    sign.click()
    page.wait_for_url(re.compile("bits="))
    assert fp16.inner_text() != before, "the other formats follow in the browser"
    sign.press("Space")
    assert fp16.inner_text() == before
    sign.press("ArrowRight")
    assert page.locator(".ql section[aria-label=FP32] .bit:focus").count() == 1


def test_a_flipped_value_is_in_the_address(server, page):
    page.goto(f"{server}/what-a-float-stores?bits=7F800000")
    page.locator(".ql section[aria-label=FP32]").filter(has_text="∞").wait_for()
    settle(page)


def test_inside_a_super_block(server, page, shoot):
    page.goto(f"{server}/inside-a-super-block?block=1")
    page.locator(".ql .w").first.wait_for()
    settle(page)
    playwright.expect(page.locator(".ql .w")).to_have_count(256)
    playwright.expect(page.locator(".ql .byte")).to_have_count(144)
    shoot(page, "inside-a-super-block")
    readout = page.locator(".ql .readout")
    before = readout.inner_text()
    page.locator(".ql .w").nth(77).hover()
    playwright.expect(readout).not_to_have_text(before)
    page.locator(".ql .w").nth(77).click()
    page.wait_for_url(re.compile("weight=77"))


def test_every_format_has_its_page(server, page):
    from quantlib.figures.block import drawable
    from quantlib.formats import FORMATS

    for form in filter(drawable, FORMATS.values()):
        page.goto(f"{server}/inside-a-super-block?format={form.name}")
        page.get_by_text(f"Where {form.bpw:g} bits per weight come from").wait_for(timeout=60_000)
        settle(page)
        assert not page.get_by_text("did not expect").count(), form.name
        playwright.expect(page.locator(".ql .byte")).to_have_count(form.nbytes)


def test_inside_a_super_block_by_deep_link(server, page):
    page.goto(f"{server}/inside-a-super-block?format=Q6_K&weight=5")
    page.locator(".ql .byte").nth(209).wait_for()
    settle(page)
    playwright.expect(page.locator(".ql .byte")).to_have_count(210)


def test_a_damaged_tensor_is_told_and_nothing_is_offered(server, page, tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    x = np.ones((64, 256), np.float32)
    x[3, 7] = np.nan
    save_file({"model.layers.0.mlp.up_proj.weight": x}, tmp_path / "damaged.safetensors")
    page.goto(f"{server}/quantize?source=A+file+of+mine&recipe=Q8_0")
    page.locator("input[type=file]").first.wait_for(state="attached")
    settle(page)
    page.locator("input[type=file]").first.set_input_files([tmp_path / "damaged.safetensors"])
    page.get_by_role("alert").filter(has_text="no config.json").wait_for()
    page.get_by_role("button", name="Quantize", exact=True).click()
    alert = page.get_by_role("alert").filter(has_text=re.compile("NaN.* at row 3, column 7"))
    alert.wait_for()
    assert page.get_by_role("link", name="Download the GGUF file").count() == 0


def test_what_it_costs(server, page, shoot):
    page.goto(f"{server}/what-it-costs?recipe=Q8_0")
    page.get_by_text("The same sentence, twice").wait_for(timeout=90_000)
    settle(page)
    assert page.get_by_role("combobox", name="Recipe").input_value() == "Q8_0"
    before, after = page.locator("[data-testid=stMetricValue]").all_inner_texts()[:2]
    assert float(after) == pytest.approx(float(before), rel=0.05), "256 levels cost this model next to nothing"
    shoot(page, "what-it-costs")


@pytest.mark.parametrize("address", ["", "what-a-float-stores", "inside-a-super-block", "what-it-costs", "quantize"])
def test_the_python_that_is_shown_runs_as_it_stands(server, page, tmp_path, address):
    page.goto(f"{server}/{address}")
    page.get_by_text("Show the Python").first.click(timeout=90_000)
    snippet = page.locator("[data-testid=stCode] code").first
    playwright.expect(snippet).to_contain_text("import")
    (tmp_path / "assets").symlink_to(ROOT / "assets")  # as in the project's folder, but nothing is written there
    done = subprocess.run(
        [sys.executable, "-c", snippet.inner_text()],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_no_page_calls_out(server, page):
    """Everything a page loads comes from the server itself."""
    outside: list[str] = []
    page.on(
        "request", lambda r: r.url.startswith((server, "data:", "blob:", "ws://127.0.0.1")) or outside.append(r.url)
    )
    for address in ("", "what-a-float-stores", "inside-a-super-block", "what-it-costs", "quantize"):
        page.goto(f"{server}/{address}")
        settle(page)
    assert not outside
