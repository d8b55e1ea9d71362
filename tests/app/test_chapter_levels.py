"""256 levels, then 16: the scale in the reader's hand, and what follows from it."""

import re

import numpy as np
import pytest
from conftest import drawn, settle_chapter

from quantlib.figures.picture import png

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def tile(page, name: str) -> str:
    drawn(page)
    return page.locator(".stairs .tiles div").filter(has_text=name).locator("b").inner_text()


def test_the_scale_is_dragged_and_the_best_one_wins(server, page, shoot):
    import quantlib as ql
    from pages.ui.weight import OURS
    from quantlib.formats.floats import FP32
    from quantlib.formats.integers import IntegerFormat
    from quantlib.metrics import compare

    page.goto(f"{server}/256-levels-then-16")
    page.locator(".stairs .handle").first.wait_for()
    settle_chapter(page)
    tensor, row, column = OURS
    start = column // 32 * 32
    x = ql.open_checkpoint("assets/calculator").tensors[tensor].rows(row, row + 1).reshape(-1)[start : start + 32]

    def measured(bits: int) -> tuple[float, float]:
        form = IntegerFormat(bits, scale_format=FP32)
        scale, zero = form.scale_and_zero(x.min(), x.max())
        return float(scale), 100 * compare(x, form.value(form.encode(x, scale, zero), scale, zero)).relative

    def error() -> float:
        return float(tile(page, "relative error").rstrip(" %"))

    assert error() == pytest.approx(measured(8)[1], rel=1e-2)
    page.get_by_role("button", name="now 16 levels").click()
    playwright.expect(page.locator(".stairs .tiles")).to_contain_text("of 15")
    assert float(tile(page, "scale s")) == pytest.approx(measured(4)[0], rel=1e-3)
    assert error() == pytest.approx(measured(4)[1], rel=1e-2)
    covering = error()

    page.locator(".stairs summary").click()
    page.get_by_role("button", name="least error").click()
    page.wait_for_url(re.compile("share="))
    best = error()
    assert best <= covering
    handle = page.get_by_role("slider", name="Highest level")
    for _ in range(3):
        handle.press("PageUp")
    playwright.expect(page.locator(".stairs .tiles")).not_to_contain_text(f"{best} %")
    assert error() > best
    page.get_by_role("button", name="asymmetric", exact=True).click()
    playwright.expect(page.locator(".stairs .tiles")).to_contain_text("zero point z")
    page.wait_for_url(re.compile("grid=asymmetric"))
    shoot(page, "levels")


def test_a_guess_covers_the_answer_and_never_the_picture(server, page):
    page.goto(f"{server}/256-levels-then-16")
    settle_chapter(page)
    playwright.expect(page.locator(".grids i")).to_have_count(15 + 16 + 16)
    playwright.expect(page.locator(".gallery img")).to_have_count(1 + 2 * 8)
    answer = page.get_by_text(re.compile("of the difference was the missing level|buys nothing")).locator(
        "visible=true"
    )
    playwright.expect(answer).to_have_count(0)
    page.get_by_role("radio", name="Show me").click()
    answer.wait_for()
    page.wait_for_url(re.compile("guess=Show"))


def test_four_zooms_show_the_numbers_of_the_tensor(server, page):
    page.goto(f"{server}/256-levels-then-16?as=Q8_0")
    frame = page.get_by_role("application", name="Frame in a neighbourhood; arrow keys move it")
    frame.wait_for()
    settle_chapter(page)
    playwright.expect(
        page.get_by_role("application", name=re.compile("Frame in the error of the tile"))
    ).to_be_visible()
    cells = page.locator(".zooms .cells td")
    playwright.expect(cells).to_have_count(64)
    before = cells.first.get_attribute("title")
    frame.press("ArrowUp")
    frame.press("ArrowLeft")
    playwright.expect(cells.first).not_to_have_attribute("title", before)
    frame = page.get_by_role("application", name=re.compile("Frame in the whole tensor"))
    frame.press("Shift+ArrowRight")
    page.wait_for_url(re.compile("left=8"))
    playwright.expect(page.locator(".zooms .keyline")).to_contain_text("column 8")


def test_a_picture_of_ones_own_takes_the_place_of_the_drawn_one(server, page):
    page.goto(f"{server}/256-levels-then-16")
    settle_chapter(page)
    whole = page.get_by_role("img", name="The picture, 8 bits a pixel")
    drawn_one = whole.get_attribute("src")
    page.get_by_role("button", name="Your own picture").click()
    page.locator(".uploader input[type=file]").set_input_files(
        {"name": "no picture.png", "mimeType": "image/png", "buffer": b"text"}
    )
    page.get_by_role("alert").filter(has_text="This is no PNG or JPEG picture").wait_for()
    page.locator(".uploader input[type=file]").set_input_files(
        {"name": "p.png", "mimeType": "image/png", "buffer": png(np.eye(300, dtype=np.uint8) * 255)}
    )
    playwright.expect(whole).not_to_have_attribute("src", drawn_one)
    page.get_by_role("button", name="Back to the drawn picture").click()
    playwright.expect(whole).to_have_attribute("src", drawn_one)
