"""What a float stores: the number line, dragged to where formats end."""

import re

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_a_number_moves_beyond_the_ends_of_formats(server, page, shoot):
    page.goto(f"{server}/what-a-float-stores?more-on-line=true")
    state = page.locator(".line .state")
    state.first.wait_for(timeout=60_000)
    playwright.expect(state).to_have_count(8)
    playwright.expect(state.nth(0)).to_have_text("1.10000002, exact")
    assert "9.1 % off" in state.nth(7).text_content(), "FP4 stores 1.1 as 1"
    page.get_by_role("button", name="where FP16 ends").click()
    playwright.expect(state.nth(2)).to_have_text("too large: ∞")
    playwright.expect(state.nth(4)).to_have_text("too large: NaN")
    playwright.expect(state.nth(7)).to_have_text("too large: stays at 6")
    page.wait_for_url(re.compile("number=4780e800"))
    shoot(page, "number-line")
    slider = page.get_by_role("slider", name=re.compile("Size of the number"))
    slider.fill(str(-26 * 16))
    playwright.expect(state.nth(2)).to_have_text("too small: 0")
    playwright.expect(state.nth(1)).to_contain_text("exact")
    slider.press("ArrowRight")
    page.get_by_role("button", name="subnormals of FP16").click()
    playwright.expect(state.nth(2)).to_contain_text("subnormal")


def test_the_number_and_its_bits_follow_each_other(server, page):
    page.goto(f"{server}/what-a-float-stores")
    values = page.locator(".bits .value")
    values.first.wait_for(timeout=60_000)
    playwright.expect(values).to_have_count(4)
    playwright.expect(values.first).to_have_text("0.100000001")
    page.get_by_role("slider", name="The number", exact=True).fill("100")
    playwright.expect(values.first).to_have_text("10")
    page.get_by_role("button", name="FP32 sign bit 1 of 1, is 0").click()
    playwright.expect(values.first).to_have_text("−10")
    page.get_by_role("button", name="our weight").click()
    playwright.expect(page.locator(".bits .now")).to_contain_text("−0.0742")
    page.wait_for_url(re.compile("bits=bd97fd"))
    page.locator(".bits .bit").first.press("Tab")  # a term is explained to whoever comes by key, too
    term = page.locator(".term").first
    term.focus()
    assert term.evaluate("t => getComputedStyle(t, '::after').content").strip('"') == term.get_attribute("data-meaning")
