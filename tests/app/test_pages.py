"""Every page in a real browser, each first visited by its deep link on a fresh server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import drawn, settle

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]


def test_home(server, page, shoot):
    page.goto(server)
    page.locator("svg.levels").wait_for()
    settle(page)
    playwright.expect(page.locator("svg.levels circle.now")).to_have_count(128)
    page.locator("svg.levels path.level").nth(3).wait_for()
    shoot(page, "home")
    page.get_by_role("radio", name=re.compile("256 levels")).click()
    page.locator("svg.levels path.band").first.wait_for()
    page.wait_for_url(re.compile("stored=256"))


def test_fewer_bits_turn_sums_wrong(server, page):
    """From 32 bits nearly all sums are right, at the end none; memory falls on the way, and a typed sum is answered."""
    page.goto(server)
    slider = page.locator(".few_bits input[type=range]")
    slider.wait_for()
    wrong = page.locator('.few_bits .sum[data-ok="false"]')
    needs = page.locator(".few_bits .memory-bar h2 b")
    playwright.expect(needs).to_have_text("282 GB")
    assert wrong.count() <= 3
    seen = [wrong.count()]
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
        drawn(page)
        seen.append(wrong.count())
    assert (seen[-1], needs.inner_text()) == (100, "16 GB")
    assert seen[5] <= 5 < seen[7] < seen[9]
    page.get_by_label("A sum", exact=True).fill("12 + 34")
    page.keyboard.press("Enter")
    playwright.expect(page.get_by_text("12 + 34 = 46")).to_be_visible()


def test_home_by_deep_link(fresh_server, page):
    page.goto(f"{fresh_server}/?stored=256+levels")
    page.locator("svg.levels path.band").first.wait_for()
    settle(page)
    playwright.expect(page.locator("svg.levels path.level")).to_have_count(0)


def test_what_a_float_stores(server, page, shoot):
    page.goto(f"{server}/what-a-float-stores?row=3&column=5")
    strip = page.locator(".ql section")
    strip.first.wait_for()
    settle(page)
    playwright.expect(strip, "the others behind a switch").to_have_count(4)
    shoot(page, "what-a-float-stores")
    fp16 = page.locator(".ql section[aria-label=FP16]")
    before = fp16.inner_text()
    sign = page.locator(".ql section[aria-label=FP32] .bit").first
    sign.click()
    page.wait_for_url(re.compile("bits="))
    playwright.expect(fp16, "the other formats follow in the browser").not_to_have_text(before, use_inner_text=True)
    sign.press("Space")
    playwright.expect(fp16).to_have_text(before, use_inner_text=True)
    sign.press("ArrowRight")
    playwright.expect(page.locator(".ql section[aria-label=FP32] .bit:focus")).to_have_count(1)


def test_a_flipped_value_is_in_the_address(server, page):
    page.goto(f"{server}/what-a-float-stores?bits=7F800000")
    page.locator(".ql section[aria-label=FP32]").filter(has_text="∞").wait_for()
    settle(page)


def test_inside_a_super_block(server, page, shoot):
    page.goto(f"{server}/inside-a-super-block")
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
        page.get_by_text(f"{8 * form.nbytes} bits ÷ {form.values} weights").wait_for(timeout=60_000)
        settle(page)
        assert not page.get_by_text("did not expect").count(), form.name
        playwright.expect(page.locator(".ql .byte")).to_have_count(form.nbytes)


def test_inside_a_super_block_by_deep_link(fresh_server, page):
    page.goto(f"{fresh_server}/inside-a-super-block?format=Q6_K&weight=5")
    page.locator(".ql .byte").nth(209).wait_for()
    settle(page)
    playwright.expect(page.locator(".ql .byte")).to_have_count(210)


@pytest.mark.parametrize("address", ["", "what-a-float-stores", "inside-a-super-block", "what-it-costs", "quantize"])
def test_the_python_that_is_shown_runs_as_it_stands(server, page, tmp_path, address):
    page.goto(f"{server}/{address}")
    shown = page.get_by_text("Show the Python")
    (shown.last if not address else shown.first).click(timeout=90_000)  # the first page's others run the model
    snippet = page.locator("[data-testid=stCode] code:visible").first
    playwright.expect(snippet).to_contain_text("import", timeout=30_000)
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
    for address in ("", "what-a-float-stores", "inside-a-super-block", "what-it-costs", "open", "quantize"):
        page.goto(f"{server}/{address}")
        settle(page)
    assert not outside
