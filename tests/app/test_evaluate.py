"""Measuring in a browser: a recipe against the original, and what needs a text: an importance matrix."""

import pytest
from conftest import settle
from playwright.sync_api import expect

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")

pytestmark = pytest.mark.browser
TEXT = "They walked along the road until the sun went down, and nobody said a word about the house. " * 80


def bring_text(page) -> None:
    page.get_by_role("radio", name="my own").click()
    page.get_by_text("Bring a text").wait_for()
    settle(page)
    text = {"name": "mine.txt", "mimeType": "text/plain", "buffer": TEXT.encode()}
    page.locator(".uploader input[type=file]").first.set_input_files([text])
    page.get_by_text("characters of your own").wait_for()


def test_a_recipe_is_measured_on_a_text_of_one_s_own(server, page, shoot):
    page.goto(f"{server}/evaluate?rival=Q8_0&window=128")
    page.get_by_role("button", name="Measure", exact=True).wait_for()
    settle(page)
    bring_text(page)
    page.get_by_role("button", name="Measure", exact=True).click()
    page.get_by_text("The same sentence, twice").wait_for(timeout=90_000)
    settle(page)
    metrics = page.locator("[data-testid=stMetricValue]")
    expect(metrics).to_have_count(4)  # all of them may be drawn anew
    original, other, divergence, changed = metrics.all_inner_texts()
    assert float(other) == pytest.approx(float(original), rel=0.05), "256 levels cost this model next to nothing"
    assert 0 < float(divergence) < 0.1
    assert float(changed.rstrip("%")) < 20
    shoot(page, "evaluate")


def test_an_importance_matrix_is_computed_here(server, page):
    page.goto(f"{server}/quantize?recipe=IQ2_XXS&importance=computed+here")
    page.get_by_text("needs an importance matrix").first.wait_for()
    settle(page)
    assert page.get_by_role("button", name="Quantize", exact=True).is_disabled()
    bring_text(page)
    page.get_by_role("button", name="Compute it").click()
    page.get_by_role("link", name="Download it").wait_for(timeout=90_000)
    settle(page)
    assert page.get_by_role("button", name="Quantize", exact=True).is_enabled()
