"""Which one should I run, in a browser: memory and context decide, and the advice follows them."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_the_advice_follows_the_memory(server, page, shoot, run_snippet):
    page.goto(f"{server}/which-one-should-i-run?machine=GeForce+RTX+4060%2C+8+GB&larger=the+weights")
    settle_chapter(page)
    advice = page.get_by_test_id("stAlert").filter(has_text="Run")
    playwright.expect(advice).to_contain_text("Q5_K_M")
    page.get_by_text("the cache, not the weights").wait_for()
    shoot(page, "which-one-should-i-run")
    playwright.expect(page.locator(".cache-bars .bar")).to_have_count(32)
    page.get_by_role("button", name="Another model, context or cache").click()
    page.get_by_role("radiogroup", name="Cache in").get_by_role("radio", name="Q8_0").click()
    settle_chapter(page)
    page.wait_for_url(re.compile("cache=Q8_0"))
    page.get_by_role("combobox", name="Machine").click()
    page.get_by_role("option", name="GeForce RTX 3090, 24 GB").click()
    playwright.expect(advice).to_contain_text("Q8_0")
    page.locator(".cache-bars .bar").nth(3).hover()
    playwright.expect(page.locator(".ql.pointing .say")).to_contain_text("Layer 3: 17,825,792 bytes")
    assert "Run Q8_0" in run_snippet(page)


def test_a_size_says_what_it_assumes_and_nonsense_gets_a_sentence(server, page):
    page.goto(f"{server}/which-one-should-i-run?model=A+size%2C+or+a+config.json&size=8B")
    settle_chapter(page)
    page.get_by_text("Assumed: the shape of Llama-3.1-8B").wait_for()
    page.get_by_role("button", name="Another model, context or cache").click()
    page.get_by_role("textbox", name="A size such as").fill("8 bananas")
    page.get_by_role("textbox", name="A size such as").press("Control+Enter")
    page.get_by_role("alert").filter(has_text="8 bananas").wait_for()
