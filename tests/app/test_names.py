"""What the name says, in a browser: a pressed letter picks out the tensors that it decides."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_a_letter_picks_out_the_tensors_that_it_decides(server, page, shoot):
    page.goto(f"{server}/what-the-name-says?shape=Llama-3-8B&bits-in-all=4.5&letters=how+precise+the+scales+are")
    settle_chapter(page)
    page.get_by_text("4.9, not 4.5", exact=False).wait_for()
    page.get_by_text("which tensors get more bits, not how precise").wait_for()
    shoot(page, "what-the-name-says")
    name = page.locator(".st-key-name, .ql.pointing").first
    cells = name.locator(".treemap .cell")
    playwright.expect(cells).to_have_count(291)
    name.get_by_role("button", name=re.compile("^M")).click()
    playwright.expect(name.locator(".treemap .cell:not(.dim)")).to_have_count(33)  # 16 values, 16 ffn_down, the output
    page.wait_for_url(re.compile("piece=3"))
    name.locator('.treemap [data-words^="blk.31.ffn_down.weight"]').hover()
    said = name.locator(".say")
    playwright.expect(said).to_contain_text("blk.31.ffn_down.weight")
    playwright.expect(said).to_contain_text("48,168,960 bytes")
    playwright.expect(said).to_contain_text("the last eighth")
    name.locator("svg").press("ArrowRight")
    playwright.expect(said).not_to_contain_text("blk.31.ffn_down.weight")


def test_the_bytes_add_up(server, page, run_snippet):
    page.goto(f"{server}/what-the-name-says?called=Q8_0&piece=1")
    settle_chapter(page)
    page.get_by_text(re.compile(r"these add up to the file: [\d,]+ bytes")).wait_for()
    playwright.expect(page.locator(".ql.pointing button[aria-pressed=true]")).to_contain_text("8")
    assert "bits per weight" in run_snippet(page)


def test_bits_are_spent_under_a_cap_and_measured(server, page, shoot):
    page.goto(f"{server}/what-the-name-says?cap=Q4_K_M")
    page.locator("table.measured").wait_for(timeout=240_000)
    settle_chapter(page)
    ranking = page.locator("table.measured tbody")
    playwright.expect(ranking).to_contain_text("the standard recipe")
    playwright.expect(ranking.locator("tr", has_text="You")).to_contain_text("±")
    output = page.get_by_role("slider", name=re.compile("output")).last
    output.scroll_into_view_if_needed()
    output.press("ArrowRight")
    page.get_by_text("too much").wait_for(timeout=60_000)
    playwright.expect(ranking.locator("tr", has_text="You")).not_to_contain_text("±")
    page.locator(".budget").scroll_into_view_if_needed()
    shoot(page, "spend-the-budget")


def test_a_pasted_name_is_taken_apart(server, page, run_snippet):
    page.goto(f"{server}/what-the-name-says?pasted=owner/Foo-7B-GPTQ-Int4")
    settle_chapter(page)
    label = page.locator(".label")
    playwright.expect(label).to_contain_text("Rounded by GPTQ")
    playwright.expect(label).to_contain_text("At least 3.5 GB")
    page.get_by_role("radio", name="i1-").click()
    playwright.expect(label).to_contain_text("With an importance matrix")
    box = page.get_by_role("textbox", name="A name")
    box.fill("Foo-<img src=x>-12B-UD-Q4_K_XL.gguf")
    box.press("Enter")
    playwright.expect(label).to_contain_text("Unsloth Dynamic")
    playwright.expect(label.locator("img")).to_have_count(0)
