"""What it does to the model, in a browser: a recipe is measured, and a word says what was expected of it."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_sums_are_pointed_at_and_the_puzzle_is_scored(server, page):
    page.goto(f"{server}/what-it-costs")
    settle_chapter(page)
    figure = page.locator(".ql.pointing", has=page.locator(".edge"))
    figure.locator('[data-words^="2 × 2 digits from Q3_K_M"] .dot').hover()
    playwright.expect(figure.locator(".say")).to_contain_text("1,864 of 2,000 right")
    asked = page.locator(".ql.asked")
    asked.get_by_role("button", name="IQ1_M").click()
    playwright.expect(asked).to_contain_text("0 right, 20 wrong")
    asked.get_by_role("button", name="original").click()
    playwright.expect(asked).to_contain_text("all answered right")
    page.get_by_role("button", name="0 + 8").click()
    page.get_by_role("button", name="Check").click()
    page.get_by_text("You are right about 4 of 10.").wait_for()


def test_words_say_what_was_expected(server, page, shoot, run_snippet):
    page.goto(f"{server}/what-it-costs?quantized=Q2_K&guess=about+1")
    page.locator(".passage .token").first.wait_for(timeout=240_000)
    settle_chapter(page)
    before, kl, changed = page.locator("[data-testid=stMetricValue]").all_inner_texts()[:3]
    assert float(kl) > 0.005
    assert float(changed.rstrip("%")) > 5
    assert float(before) > 1
    page.locator(".passage .token.changed").first.hover()
    said = page.locator(".ql.pointing", has=page.locator(".passage")).locator(".say")
    playwright.expect(said).to_contain_text(re.compile("Likeliest .* before:"))
    playwright.expect(said).to_contain_text(re.compile(r"\d% before, .*\d% now"))
    shoot(page, "what-it-costs")
    assert float(re.search(r"KL ([\d.]+)", run_snippet(page, 2))[1]) == pytest.approx(float(kl), abs=6e-5)
