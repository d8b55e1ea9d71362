"""One outlier ruins the row, in a browser: the largest weight is pulled, and its neighbours get their levels back."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_neighbours_collapse_and_recover(server, page, shoot, run_snippet):
    page.goto(f"{server}/one-outlier-ruins-the-row")
    page.locator(".ql.pull svg").first.wait_for(timeout=240_000)
    settle_chapter(page)
    said = page.locator(".ql.pull .say").first
    playwright.expect(said).to_contain_text("The other 63 weights use 3 of 15 levels")
    printed = run_snippet(page)
    assert re.search(r"one scale: \(3, 0\.93", printed)
    shoot(page, "one-outlier-ruins-the-row")
    page.get_by_role("button", name="a scale for every 16").click()
    playwright.expect(said).to_contain_text("12 of 15 levels")
    page.wait_for_url(re.compile("shared=16"))
    page.get_by_role("button", name=re.compile("one scale for all")).click()
    page.get_by_role("slider", name="The largest weight").press("Home")
    playwright.expect(said).to_contain_text(re.compile("1[0-5] of 15 levels"))
    page.wait_for_url(re.compile("size=20"))
    playwright.expect(page.locator(".ql.journey [title*='row 252, column 239']")).to_be_visible()
