"""While a page loads nothing that can be read moves; pictures can be kept, and say so where they go on sideways."""

import pytest

from pages.ui import menu

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser

SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"
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
def test_nothing_moves_while_a_page_loads(server, page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script(WATCH)
    entries = [entry for section in menu.SECTIONS.values() for entry in section]
    moved = {entry.title: shifts(page, f"{server}/{entry.address}") for entry in entries}
    sums = {title: sum(value for value, _ in found) for title, found in moved.items()}
    print(sums)
    assert all(value < GOOD for value in sums.values()), {t: moved[t] for t, v in sums.items() if v >= GOOD}
