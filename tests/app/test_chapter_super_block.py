"""Inside a super-block: the race for the best scale."""

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def share(page, name: str) -> float:
    row = page.locator(".race .racer").filter(has_text=name)
    return float(row.locator(".share").inner_text().rstrip(" %"))


def test_the_reader_races_the_search(server, page, shoot):
    page.goto(f"{server}/inside-a-super-block")
    page.get_by_role("radio", name="10 to 30 %").click(timeout=60_000)
    board = page.locator(".race .racer")
    board.first.wait_for(timeout=60_000)
    playwright.expect(board).to_have_count(4)
    assert share(page, "min/max") == 100
    assert share(page, "◆ search") < 100
    page.get_by_role("button", name="◆ search").click()
    page.wait_for_url(re.compile("d=.*m=|m=.*d="))
    assert share(page, "◯ you") == pytest.approx(share(page, "◆ search"), rel=1e-3)
    ring = page.get_by_role("application", name=re.compile("Map of scales"))
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"):
        ring.press(key)
    assert share(page, "◯ you") != pytest.approx(share(page, "◆ search"), rel=1e-3)
    page.get_by_role("button", name="important inputs more").click()
    page.wait_for_url(re.compile("counts=2"))
    assert share(page, "★ importance") < 100
    page.locator(".race .stage").scroll_into_view_if_needed()
    shoot(page, "scale-race")
