"""A room of forty people: slides that fit the screen, type that the last row reads, guesses that are counted."""

import re

import pytest
from conftest import settle_chapter

from pages.server import room as rooms
from pages.ui import menu
from pages.ui import room as shown

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

SCREENS = [(1920, 1080), (1280, 720), (1440, 900)]
SLIDES = 40  # more than a chapter has
CHOICES = ("fewer", "more")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_guesses_are_counted_once_a_person():
    here = rooms.Rooms(Clock())
    here.guess("one", "q", "a", "fewer")
    here.guess("one", "q", "b", "more")
    here.guess("one", "q", "a", "more")  # thought better of it
    assert here.counts("one", "q", CHOICES) == [0, 2]
    assert here.counts("one", "another", CHOICES) == here.counts("two", "q", CHOICES) == [0, 0]


def test_a_room_is_forgotten_hours_after_its_last_guess():
    clock = Clock()
    here = rooms.Rooms(clock)
    here.guess("one", "q", "a", "fewer")
    clock.now = rooms.SECONDS + 1
    here.guess("two", "q", "a", "fewer")
    assert here.counts("one", "q", CHOICES) == [0, 0]


def test_what_rooms_hold_is_bounded():
    here = rooms.Rooms(Clock())
    for i in range(3 * rooms.ROOMS):
        here.guess(f"room {i}", "q", "a", "fewer")
    assert len(here._rooms) == rooms.ROOMS
    for i in range(3 * rooms.PEOPLE):
        here.guess("one", "q", str(i), "fewer")
    for i in range(3 * rooms.QUESTIONS):
        here.guess("one", f"q{i}", "a", "fewer")
    assert here.counts("one", "q", CHOICES) == [rooms.PEOPLE, 0]
    assert len(here._rooms["one"].guesses) <= rooms.QUESTIONS


def test_bars_show_names_as_text():
    drawn = shown.bars(("<b>", "two"), (3, 1))
    assert "&lt;b&gt;" in drawn and "<b>3</b>" in drawn and "width:60.0%" in drawn and "width:20.0%" in drawn


# Resolves once nothing that is shown has changed its place for a while: slides are measured and scaled after a turn.
AT_REST = """() => new Promise((done) => {
  const places = () => [...document.querySelectorAll('[class*=st-key-step-] *')].map((node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    return `${x} ${y} ${width} ${height}`;
  }).join();
  const hosts = [document, ...[...document.querySelectorAll('*')].map((node) => node.shadowRoot).filter(Boolean)];
  const presenter = hosts.map((one) => one.querySelector('.presenter')).find(Boolean);
  let before = places(), same = 0, left = 40;
  const look = () => {
    const now = places();
    same = now === before && !presenter.matches('[data-settling]') ? same + 1 : 0;
    before = now;
    left -= 1;
    if (same === 3 || left === 0) done(); else setTimeout(look, 50);
  };
  setTimeout(look, 50);
})"""
OVERFLOW = """() => {
  const hosts = [document, ...[...document.querySelectorAll('*')].map((node) => node.shadowRoot).filter(Boolean)];
  const host = hosts.map((one) => one.querySelector('.presenter .bar')).find(Boolean);
  const foot = host.getBoundingClientRect().top, faults = [];
  const step = [...document.querySelectorAll('[class*=st-key-step-]')].find((node) => node.offsetHeight > 0);
  const look = (node) => {
    for (const child of node.querySelectorAll('*')) {
      if (child.shadowRoot) look(child.shadowRoot);
      const box = child.getBoundingClientRect(), style = getComputedStyle(child);
      if (!box.width || !box.height || style.position === 'absolute') continue;
      if (style.visibility === 'hidden' || style.opacity === '0' || child.parentElement?.clientWidth === 1) continue;
      const words = [...child.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
      if (!words && !['svg', 'CANVAS', 'INPUT'].includes(child.tagName)) continue;
      if (box.bottom > foot + 1 || box.right > innerWidth + 1 || box.left < -1)
        faults.push(`${child.tagName} ${(child.textContent || '').slice(0, 30)} ${Math.round(box.bottom)}`);
    }
  };
  look(step);
  return faults.slice(0, 5);
}"""


@pytest.mark.browser
@pytest.mark.parametrize("entry", menu.SECTIONS["Learn"], ids=lambda entry: entry.file)
def test_every_slide_fits_its_screen(server, page, entry):
    page.set_viewport_size(dict(zip(("width", "height"), SCREENS[0], strict=True)))
    page.goto(f"{server}/{entry.address}?present=1&slide={SCREENS[0][1]}")
    settle_chapter(page)
    place = page.locator(".presenter .place")
    faults = []
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(AT_REST)
        while re.search(r"· 1 of \d+(, slide 1 |$)", place.inner_text()) is None:
            page.keyboard.press("PageUp")
            page.wait_for_timeout(150)
        for _ in range(SLIDES):
            page.evaluate(AT_REST)
            said = place.inner_text()
            faults += [f"{width}x{height} {said}: {fault}" for fault in page.evaluate(OVERFLOW)]
            page.keyboard.press("PageDown")
            page.wait_for_timeout(150)
            if place.inner_text() == said:
                break
    assert not faults, "\n".join(faults)


@pytest.mark.browser
def test_the_wall_counts_what_phones_guess(server, browser):
    wall, phone = (browser.new_context() for _ in range(2))
    try:
        code = "abcdefghjk"
        at = f"{server}/{menu.LEVELS.address}"
        shown_there = wall.new_page()
        shown_there.goto(f"{at}?present=1&room={code}")
        guess = phone.new_page()
        guess.goto(f"{at}?room={code}")
        settle_chapter(guess)
        settle_chapter(shown_there)
        first = guess.locator("[class*=st-key-guess-]").first
        choice = first.get_by_role("radio").first
        words = choice.inner_text()
        choice.click()
        playwright.expect(first).to_contain_text("Counted, without your name")
        bars = shown_there.locator("ul.room").first
        playwright.expect(bars).to_have_attribute("aria-label", "Guesses of the room: 1")
        playwright.expect(bars.locator("li").first).to_contain_text(words)
    finally:
        wall.close()
        phone.close()
