"""Smarter rounding, in a browser: the replay moves by hand, and its end is the error that GPTQ reports."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_columns_are_rounded_by_hand(server, page, shoot, run_snippet):
    page.goto(f"{server}/smarter-rounding?distance=nearer&told=true&alpha=0.9")
    settle_chapter(page)
    page.get_by_text("farther, not nearer").wait_for()
    page.get_by_text(re.compile("best is α = 0")).wait_for()
    scrubber = page.locator(".ql.scrubber")
    scrubber.get_by_role("slider").press("End")
    playwright.expect(scrubber.locator(".say")).to_contain_text("256 columns are on the grid")
    playwright.expect(scrubber.locator(".say")).to_contain_text("No column is left")
    page.wait_for_url(re.compile("column=95"))
    scrubber.get_by_role("slider").press("Home")
    playwright.expect(scrubber.locator(".say")).to_contain_text("Nothing is rounded yet")
    shoot(page, "smarter-rounding")
    for number, says in enumerate(("output error", "best alpha", "weighted error")):
        assert says in run_snippet(page, number)
