"""What holds for every chapter: the frame around it, presenting, the code that leads others to the same state."""

import itertools
import re

import pytest
from conftest import settle_chapter

from pages.server import sharing
from pages.ui import address, menu

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

WRITTEN = menu.SECTIONS["Learn"]


def test_chapters_have_a_promise_and_minutes():
    for chapter in menu.CHAPTERS:
        assert chapter.promise.endswith(".")
        assert 1 <= chapter.minutes <= 10


def test_previous_and_next_follow_the_order_of_the_menu():
    for before, after in itertools.pairwise(WRITTEN):
        assert menu.around(before)[1] is after
        assert menu.around(after)[0] is before
    assert menu.around(WRITTEN[0])[0] is None


@pytest.mark.parametrize(
    ("said", "becomes"), [("7", 7), ("0", 0), ("10", 10), ("11", 3), ("-1", 3), ("x", 3), ("", 3), (None, 3), ("٣", 3)]
)
def test_whole_numbers_from_the_address_stay_in_their_bounds(said, becomes):
    assert address.whole(said, 0, 10, 3) == becomes


def test_a_code_is_drawn_for_an_address_and_not_for_a_book():
    assert "<path" in sharing.qr_svg("http://example.org/what-a-float-stores?bits=7f800000")
    for text in ("", "x" * (sharing.LONGEST + 1)):
        with pytest.raises(ValueError, match="characters"):
            sharing.qr_svg(text)


@pytest.mark.browser
def test_presenting_turns_steps_by_key_and_a_code_leads_to_the_same_state(server, page):
    page.goto(f"{server}/what-a-float-stores?present=1&bits=3f800000")
    settle_chapter(page)
    head, second = page.locator(".st-key-chapter-head"), page.locator("[class*=st-key-step-2]")
    playwright.expect(head).to_be_visible()
    playwright.expect(second).to_be_hidden()
    playwright.expect(page.locator("[data-testid=stSidebar]")).to_be_hidden()
    for _ in range(8):  # slides of the first step
        page.keyboard.press("PageDown")
        page.wait_for_timeout(400)
        if second.is_visible():
            break
    playwright.expect(second).to_be_visible()
    playwright.expect(head).to_be_hidden()
    page.wait_for_url(re.compile("step=2"))
    page.keyboard.press("q")
    code = page.get_by_role("dialog", name="QR code")
    playwright.expect(code).to_contain_text("bits=3f800000")
    playwright.expect(code).not_to_contain_text("present=1")
    image = code.locator("img")
    playwright.expect(image).to_have_js_property("complete", True)
    assert image.evaluate("i => i.naturalWidth") > 100
    page.keyboard.press("Escape")
    playwright.expect(code).to_have_count(0)
    for _ in range(8):
        page.keyboard.press("PageUp")
        page.wait_for_timeout(400)
    playwright.expect(head).to_be_visible()
