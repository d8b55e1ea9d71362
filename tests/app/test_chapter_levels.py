"""256 levels, then 16: the scale in the reader's hand, and what follows from it."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def tile(page, name: str) -> str:
    return page.locator(".stairs .tiles div").filter(has_text=name).locator("b").inner_text()


def test_the_scale_is_dragged_and_the_best_one_wins(server, page, shoot):
    import quantlib as ql
    from quantlib.figures.weights import block_at
    from quantlib.formats.floats import FP32
    from quantlib.formats.integers import IntegerFormat
    from quantlib.metrics import compare

    page.goto(f"{server}/256-levels-then-16?row=3")
    page.locator(".stairs .handle").first.wait_for()
    settle_chapter(page)
    x = block_at(ql.open_checkpoint("assets/demo_model").tensors["model.layers.0.mlp.down_proj.weight"], 32, 3 * 24)
    form = IntegerFormat(4, scale_format=FP32)
    scale, zero = form.scale_and_zero(x.min(), x.max())
    loss = compare(x, form.value(form.encode(x, scale, zero), scale, zero))
    assert float(tile(page, "scale s")) == pytest.approx(float(scale), rel=1e-3)
    assert float(tile(page, "typical error").rstrip(" %")) == pytest.approx(100 * loss.relative, rel=1e-2)
    covering = float(tile(page, "typical error").rstrip(" %"))

    page.get_by_role("button", name="least error").click()
    page.wait_for_url(re.compile("share="))
    assert float(tile(page, "typical error").rstrip(" %")) <= covering
    best = float(tile(page, "typical error").rstrip(" %"))
    handle = page.get_by_role("slider", name="Highest level")
    for _ in range(3):
        handle.press("PageUp")
    playwright.expect(page.locator(".stairs .tiles")).not_to_contain_text(f"{best} %")
    assert float(tile(page, "typical error").rstrip(" %")) > best
    page.get_by_role("button", name="asymmetric", exact=True).click()
    playwright.expect(page.locator(".stairs .tiles")).to_contain_text("zero point z")
    page.wait_for_url(re.compile("grid=asymmetric"))
    shoot(page, "levels")


def test_the_guess_comes_before_the_answer(server, page):
    page.goto(f"{server}/256-levels-then-16")
    settle_chapter(page)
    answer = page.get_by_text(re.compile("the symmetric grid has the smaller error in"))
    assert answer.count() == 0
    page.get_by_role("radio", name="symmetric", exact=True).click()
    answer.wait_for()
    page.wait_for_url(re.compile("guess=symmetric"))


def test_four_zooms_show_the_numbers_of_the_tensor(server, page):
    page.goto(f"{server}/256-levels-then-16?as=Q8_0")
    frame = page.get_by_role("application", name=re.compile("Frame in a neighbourhood"))
    frame.wait_for()
    settle_chapter(page)
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
