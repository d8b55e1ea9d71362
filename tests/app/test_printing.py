"""Every chapter on paper: one or two sheets with its pictures, their answers, what was chosen and the way back."""

import pytest
from conftest import settle_chapter

from pages.ui import menu

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pdfium = pytest.importorskip("pypdfium2", reason="what is printed is read and drawn by pypdfium2")
pytestmark = pytest.mark.browser

COVERED = ("covered until you choose", "covered by your guess")
FIGURES = "[class*=-printed] :is(.ql svg, .ql canvas, .js-plotly-plot .main-svg, .gallery img, table)"
SHARE = 0.003  # of a sheet that is neither black nor white nor grey, at least, where there are pictures


def printed(page) -> list:
    """The sheets of the page as (text, picture as an array of RGB)."""
    document, sheets = pdfium.PdfDocument(page.pdf(prefer_css_page_size=True)), []
    for sheet in document:
        picture = sheet.render(scale=1, rev_byteorder=True).to_numpy()
        sheets.append((sheet.get_textpage().get_text_bounded(), picture))
    return sheets


def inked(picture) -> float:
    """The share of a sheet that is not paper."""
    return float((picture[..., :3].min(axis=2) < 240).mean())


def coloured(picture) -> float:
    colours = picture[..., :3].astype(int)
    return float((colours.max(axis=2) - colours.min(axis=2) > 40).mean())


def opened(page, address: str) -> None:
    page.goto(address)
    settle_chapter(page)
    for chart in page.locator("[class*=-printed] [data-testid=stPlotlyChart]").all():
        chart.locator(".main-svg").first.wait_for(state="attached")


@pytest.mark.parametrize("entry", menu.SECTIONS["Learn"], ids=lambda entry: entry.file)
def test_a_chapter_is_printed_on_a_sheet_or_two(server, page, entry):
    opened(page, f"{server}/{entry.address}")
    titles = page.locator(f"[class*=-printed]:has({FIGURES}) h2").all_text_contents()
    sheets = printed(page)
    assert 1 <= len(sheets) <= 2
    for text, picture in sheets:
        assert len(text.split()) > 40 and inked(picture) > 0.02, "an empty sheet"
    whole = " ".join(" ".join(text for text, _ in sheets).split())
    assert page.locator("h1").first.inner_text() in whole
    assert not [title for title in titles if title not in whole]
    assert f"{server}/{entry.address}" in whole.replace(" ", "")
    assert not [words for words in (*COVERED, "Previous:", "Show the Python", "Print this chapter") if words in whole]
    assert sum(coloured(picture) for _, picture in sheets) > SHARE, "no picture"


def test_what_was_chosen_and_the_code_are_printed(server, page):
    opened(page, f"{server}/?stored=256+levels")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    playwright.expect(page.locator(".paper-chosen", has_text="Levels").locator("b")).to_have_text("256 levels")
    playwright.expect(page.locator(".paper-foot svg path").first).to_be_attached()
    playwright.expect(page.locator(".paper-foot .address")).to_contain_text("stored=256+levels")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    playwright.expect(page.locator(".paper-chosen, .paper-foot")).to_have_count(0)


def test_paper_is_light_whatever_the_screen_shows(server, page):
    page.emulate_media(color_scheme="dark")
    opened(page, f"{server}/{menu.COST.address}")
    sheets = printed(page)
    assert 1 <= len(sheets) <= 2
    assert all((picture[..., :3].min(axis=2) > 200).mean() > 0.7 for _, picture in sheets)
