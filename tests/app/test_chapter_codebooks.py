"""Codebooks: marks placed against NF4, a weight dragged along the rulers, and patterns compared."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_marks_are_crowded_and_beat_nf4(server, page, shoot):
    page.goto(f"{server}/codebooks")
    settle_chapter(page)
    board = page.locator(".ql.marks").first
    playwright.expect(board.locator(".tally")).to_contain_text("Your score: 0")
    assert board.locator("svg").bounding_box()["y"] < 900 - 300, "on the first screen"
    shoot(page, "codebooks")
    board.get_by_role("button", name="as NF4").click()
    playwright.expect(board.locator(".tally")).to_contain_text("Your score: 100")
    assert beaten(board), "no single mark of NF4's sixteen can be put in a better place"
    slider = board.get_by_role("slider", name="Crowd the marks")
    slider.fill("25")
    playwright.expect(board.locator(".tally")).to_contain_text(re.compile("Your score: 9[0-9]"))
    mark = board.get_by_role("slider", name="mark 9 of 16")
    before = mark.get_attribute("aria-valuenow")
    mark.press("ArrowRight")
    playwright.expect(mark).not_to_have_attribute("aria-valuenow", before)  # drawn in the next frame
    page.wait_for_url(re.compile("marks16="))


def beaten(board) -> bool:
    """Whether moving one mark a step from where NF4 has it scores more than NF4."""
    for number in range(2, 16):
        mark = board.get_by_role("slider", name=f"mark {number} of 16")
        for keys in (("ArrowRight",), ("ArrowLeft", "ArrowLeft")):
            for key in keys:
                before = mark.get_attribute("aria-valuenow")
                mark.press(key)
                playwright.expect(mark).not_to_have_attribute("aria-valuenow", before)
            if "You beat NF4" in board.locator(".tally").inner_text():
                return True
        mark.press("ArrowRight")
    return False


def test_every_ruler_snaps_and_the_stored_pattern_is_told(server, page, shoot):
    page.goto(f"{server}/codebooks?share=310")
    said = page.locator(".rulers .say")
    said.first.wait_for(timeout=90_000)
    playwright.expect(said).to_have_count(5)
    assert "0.31 → 0.25" in said.nth(0).text_content()  # the even ruler: eighths
    assert "0.31 → 0.3333" in said.nth(3).text_content()  # FP4: 2 of 6
    page.get_by_role("slider", name=re.compile("A weight")).fill("-640")
    page.wait_for_url(re.compile("share=-640"))
    assert "−0.64 → −0.625" in said.nth(0).text_content()

    points = page.get_by_role("option")
    points.first.wait_for(timeout=90_000)
    playwright.expect(points).to_have_count(10)
    stored = points.filter(has_text="stored")
    playwright.expect(stored).to_have_count(1)
    points.nth(4).click()
    page.wait_for_url(re.compile("candidate=4"))
    playwright.expect(page.locator(".pick .say")).to_contain_text("times the least")
    page.get_by_role("listbox").press("ArrowUp")
    page.wait_for_url(re.compile("candidate=3"))
    stored.scroll_into_view_if_needed()
    shoot(page, "codebooks-grid")
