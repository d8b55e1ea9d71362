"""One outlier ruins the row, in a browser: the weight grows in the hand, and its neighbours lose their levels."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_neighbours_collapse_and_recover(server, page, shoot, run_snippet):
    page.goto(f"{server}/one-outlier-ruins-the-row?levels-left=all+15")
    page.locator(".ql.grow svg").first.wait_for(timeout=240_000)
    settle_chapter(page)
    page.get_by_text("3 or fewer, not all 15").wait_for()
    used = [[int(n) for n in pair] for pair in re.findall(r"levels used +(\d+) and +(\d+)", run_snippet(page))]
    (smallest, _), (largest, contained) = used[0], used[-1]
    assert largest == 1, "at the end one scale leaves the neighbours one level"
    assert min(smallest, contained) > 10, "without the outlier, or with scales of their own, they have most of them"
    whole, blocks = page.locator(".ql.grow .say").all()
    slider = page.locator(".ql.grow input")
    slider.press("End")
    playwright.expect(whole).to_contain_text("63 weights use 1 of 15 levels")
    playwright.expect(whole).to_contain_text("100%")
    playwright.expect(blocks).to_contain_text(f"{contained} of 15 levels")
    page.wait_for_url(re.compile("size=40"))
    slider.press("Home")
    playwright.expect(whole).to_contain_text(f"{smallest} of 15 levels")
    shoot(page, "one-outlier-ruins-the-row")
    playwright.expect(page.get_by_text(re.compile("channels stay in 16 bits"))).to_be_attached()
