"""Inside a super-block: the ladder of scales, and the race for the best one."""

import re

import pytest
from conftest import drawn, settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_every_rung_shows_its_bits_and_its_error(server, page, shoot):
    page.goto(f"{server}/inside-a-super-block")
    settle_chapter(page)
    rungs = page.get_by_role("radiogroup", name="How the scales are stored").get_by_role("radio")
    playwright.expect(rungs).to_have_count(4)
    assert page.locator(".ladder svg").bounding_box()["y"] < 900 - 300, "on the first screen"
    shoot(page, "inside-a-super-block-ladder")
    says = page.locator(".ladder .says")
    playwright.expect(says).to_contain_text("4.125 bits")
    rungs.nth(1).click()
    playwright.expect(says).to_contain_text("falls from")
    page.wait_for_url(re.compile("rung=1"))
    rungs.nth(1).press("ArrowRight")
    playwright.expect(rungs.nth(2)).to_be_focused()
    playwright.expect(rungs.nth(2)).to_contain_text("4.5 bits")


def share(page, name: str) -> float:
    drawn(page)
    row = page.locator(".race .racer").filter(has_text=name)
    return float(row.locator(".share").inner_text().rstrip("%"))


def test_the_reader_races_the_search(server, page, shoot):
    page.goto(f"{server}/inside-a-super-block")
    board = page.locator(".race .racer")
    board.first.wait_for(timeout=60_000)
    playwright.expect(board).to_have_count(4)
    assert 0 < share(page, "◆ search") < share(page, "min/max")
    tally = page.locator(".race .tally")
    page.get_by_role("button", name="◆ search").click()
    page.wait_for_url(re.compile("d=.*m=|m=.*d="))
    playwright.expect(tally).to_contain_text("Your score: 100")
    assert share(page, "◯ you") == share(page, "◆ search")
    ring = page.get_by_role("application", name=re.compile("Map of scales"))
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowUp"):
        ring.press(key)
    playwright.expect(tally).not_to_contain_text("Your score: 100")
    page.get_by_role("button", name="important inputs more").click()
    page.wait_for_url(re.compile("counts=2"))
    assert share(page, "★ importance") < share(page, "min/max")
    page.locator(".race .stage").scroll_into_view_if_needed()
    shoot(page, "scale-race")
