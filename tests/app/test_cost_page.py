"""What it does to the model, in a browser: a recipe is measured, and a token says what was expected of it."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_tokens_say_what_was_expected(server, page, shoot, run_snippet):
    page.goto(f"{server}/what-it-costs?quantized=Q2_K&guess=about+1")
    page.locator(".passage .token").first.wait_for(timeout=240_000)
    settle_chapter(page)
    before, kl, changed = page.locator("[data-testid=stMetricValue]").all_inner_texts()[:3]
    assert float(kl) > 0.005
    assert float(changed.rstrip("%")) > 5
    assert float(before) > 1
    page.locator(".passage .token.changed").first.hover()
    said = page.locator(".ql.pointing .say").first
    playwright.expect(said).to_contain_text("Likeliest before:")
    playwright.expect(said).to_contain_text(re.compile(r"\d% before, .*\d% now"))
    shoot(page, "what-it-costs")
    assert float(re.search(r"KL ([\d.]+)", run_snippet(page))[1]) == pytest.approx(float(kl), abs=6e-5)
