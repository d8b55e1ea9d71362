"""Every page, in both themes: axe-core finds nothing serious, the console stays quiet, nothing scrolls sideways.

Headings go down by one; tables and charts have a name; Plotly comes only where there is a chart.
"""

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
# What is shown, inside components too: the levels of headings with their words, and tables and charts without a name.
OUTLINE = """() => {
  const headings = [], nameless = [];
  const look = (node) => {
    for (const child of node.children) {
      if (!child.getClientRects().length && !child.shadowRoot) { look(child); continue; }
      if (/^H[1-6]$/.test(child.tagName)) headings.push([Number(child.tagName[1]), child.textContent.trim()]);
      const held = child.closest("[data-testid=stDataFrame]");
      const told = child.matches("table, .js-plotly-plot") && !(held && child.tagName === "TABLE");
      const named = child.getAttribute("aria-label") || child.querySelector(":scope > caption");
      if (told && !named) nameless.push(`${child.tagName} ${child.textContent.slice(0, 60)}`);
      if (held && child.matches("canvas:not([aria-label])")) nameless.push("a grid");
      if (child.shadowRoot) look(child.shadowRoot);
      look(child);
    }
  };
  look(document.querySelector("[data-testid=stMain]"));
  return { headings, nameless };
}"""


def jumps(headings: list) -> list[str]:
    """Headings that are more than one level below the one before them; the first is the page's title."""
    before = [0, *(level for level, _ in headings)]
    return [f"h{level} {words}" for (level, words), above in zip(headings, before, strict=False) if level > above + 1]


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
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    wrong = {}
    for entry in menu.ENTRIES:
        asked.clear()
        page.goto(f"{server}/{entry.address}{ANSWERED.get(entry.address, '')}")
        settle(page)
        page.locator("[data-testid=stSidebarNavItems][role=none]").wait_for()
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(300)
            settle(page)  # charts are drawn again
            if found := faults(page):
                wrong[f"{entry.title}, {theme}"] = found
        outline = page.evaluate(OUTLINE)
        if found := jumps(outline["headings"]) + outline["nameless"]:
            wrong[f"{entry.title}, outline"] = found
        if any("PlotlyChart" in url for url in asked) and not page.locator("[data-testid=stPlotlyChart]").count():
            wrong[f"{entry.title}, weight"] = ["loads Plotly without a chart"]
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(300)
        main = page.locator("[data-testid=stMain]")
        if not main.evaluate("m => m.scrollWidth <= m.clientWidth + 1"):
            wrong[f"{entry.title}, 390 pixels"] = ["scrolls sideways"]
        page.set_viewport_size({"width": 1440, "height": 900})
    assert not wrong
    assert not said
