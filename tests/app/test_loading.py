"""While a page loads nothing that can be read moves; pictures can be kept, and say so where they go on sideways."""

import pytest
from conftest import SETTLED, settle_chapter

from pages.ui import menu

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser

GOOD = 0.1  # what counts as no shift worth noting: web.dev/articles/cls
WATCH = """
window.shifted = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const parts = entry.sources.map(({ node }) => (node?.innerText ?? node?.nodeName ?? "").slice(0, 60));
    window.shifted.push([entry.value, parts.join(" | ").slice(0, 300)]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""


def shifts(page, address: str) -> list:
    """What moved while the page came, each with how far: the share of the window times the share of the way."""
    page.goto(address)
    page.locator(SETTLED).wait_for(timeout=240_000)
    page.wait_for_timeout(1500)
    page.locator(SETTLED).wait_for(timeout=240_000)
    return page.evaluate("window.shifted")


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_moves_while_a_page_loads(fresh_server, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script(WATCH)
    moved = {entry.title: shifts(page, f"{fresh_server}/{entry.address}") for entry in menu.ENTRIES}
    sums = {title: sum(value for value, _ in found) for title, found in moved.items()}
    print(sums)
    assert all(value < GOOD for value in sums.values()), {t: moved[t] for t, v in sums.items() if v >= GOOD}


DARK = """async ([address]) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  let dark = 0;
  for (let i = 0; i < pixels.length; i += 4) dark += pixels[i] + pixels[i + 1] + pixels[i + 2] < 380;
  return dark / (pixels.length / 4);
}"""


def test_a_picture_that_goes_on_sideways_says_so(server, page):
    page.goto(f"{server}/what-the-name-says")
    page.locator(".treemap").wait_for()
    words = page.locator(".sideways").first
    playwright.expect(words).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 844})
    playwright.expect(words).to_be_visible()
    drawing = page.locator(".pointing .drawing[data-more]").first
    drawing.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    playwright.expect(page.locator(".pointing .drawing[data-before]:not([data-more])").first).to_be_attached()


def test_charts_follow_a_theme_that_changes(server, page):
    page.goto(f"{server}/256-levels-then-16")
    settle_chapter(page)
    curve = page.locator(".js-plotly-plot .scatterlayer path.js-line").first
    curve.wait_for()
    light = curve.get_attribute("style")
    page.emulate_media(color_scheme="dark")
    playwright.expect(curve).not_to_have_attribute("style", light)
    page.emulate_media(color_scheme="light")
    playwright.expect(curve).to_have_attribute("style", light)
