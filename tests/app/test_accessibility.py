"""Every page, in both themes: axe-core finds nothing serious, the console stays quiet, nothing scrolls sideways."""

import pytest
from conftest import settle

from pages.ui import menu

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core comes with axe-playwright-python")
pytestmark = pytest.mark.browser

ANSWERED = {  # so that what a guess hides is looked at too
    "": "?guess=about+50",
    "what-a-float-stores": "?guess=FP16",
    "256-levels-then-16": "?guess=symmetric",
}
SERIOUS = {"serious", "critical"}


def faults(page) -> list[str]:
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{v['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
        for v in found
        if v["impact"] in SERIOUS
        for node in v["nodes"]
    ]


def test_every_page_can_be_read_by_everyone(server, page):
    said: list[str] = []
    page.on("console", lambda m: m.type == "error" and said.append(f"{page.url}: {m.text}"))
    wrong = {}
    for entry in menu.ENTRIES:
        page.goto(f"{server}/{entry.address}{ANSWERED.get(entry.address, '')}")
        settle(page)
        page.locator("[data-testid=stSidebarNavItems][role=none]").wait_for()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(300)
            settle(page)  # charts are drawn again
            if found := faults(page):
                wrong[f"{entry.title}, {theme}"] = found
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(300)
        main = page.locator("[data-testid=stMain]")
        if not main.evaluate("m => m.scrollWidth <= m.clientWidth + 1"):
            wrong[f"{entry.title}, 390 pixels"] = ["scrolls sideways"]
        page.set_viewport_size({"width": 1440, "height": 900})
    assert not wrong
    assert not said
