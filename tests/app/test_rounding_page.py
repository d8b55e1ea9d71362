"""Smarter rounding, in a browser: three weights by hand, the replay ends at the table, the puzzle is scored."""

import re

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_columns_are_rounded_by_hand(server, page, shoot, run_snippet):
    page.goto(f"{server}/smarter-rounding")
    settle_chapter(page)
    toy = page.locator(".ql.columns").first
    assert toy.locator("svg").first.bounding_box()["y"] < 900 - 250, "on the first screen"
    shoot(page, "smarter-rounding")
    toy.get_by_role("button", name="Round the next weight").click()
    playwright.expect(toy.locator(".says")).to_contain_text("The first weight is rounded")
    toy.get_by_role("button", name="Let the others move").click()
    playwright.expect(toy.locator(".says")).to_contain_text("to bring the output back")
    page.wait_for_url(re.compile("step-of-three=2"))

    film = page.locator(".ql.scrubber").first
    film.get_by_role("slider").press("End")
    playwright.expect(film.locator(".say")).to_contain_text("256 of 256 columns are on their levels")
    left = re.search(r": ([0-9.]+)%; after rounding to nearest: ([0-9.]+)%", film.locator(".say").inner_text())
    cells = page.locator("table.measured").first
    for figure in left.groups():
        playwright.expect(cells).to_contain_text(f"{figure}%")
    page.wait_for_url(re.compile("column=48"))
    film.get_by_role("slider").press("Home")
    playwright.expect(film.locator(".say")).to_contain_text("Nothing is rounded yet")

    puzzle = page.locator(".ql.columns").last
    playwright.expect(puzzle.locator(".says")).to_contain_text("Your score: 0")
    puzzle.get_by_role("button", name=re.compile("weight 1 of 8")).press("Enter")
    page.wait_for_url(re.compile("ways=[01]{8}"))
    for number, says in enumerate(("relative error of the output", "to nearest", "best alpha", "Steered")):
        assert says in run_snippet(page, number)
