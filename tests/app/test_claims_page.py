"""Claims, checked, in a browser: a verdict appears after a guess, and the guesses are counted."""

import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
pytestmark = pytest.mark.browser


def test_a_guess_brings_the_verdict_and_counts(server, page, shoot, run_snippet):
    page.goto(f"{server}/claims-checked?said-letters=true")
    settle_chapter(page)
    playwright.expect(page.locator(".st-key-claim-letters")).to_contain_text("False. You said: true.")
    first = page.locator(".st-key-claim-bits")
    playwright.expect(first.locator(".bars")).to_contain_text("2.625")  # the picture is seen before any guess
    # the verdict is there for paper and for the presenter, and not seen
    playwright.expect(first).not_to_contain_text("super-block", use_inner_text=True)
    first.get_by_role("radio", name="false").click()
    playwright.expect(first).to_contain_text("super-block", use_inner_text=True)
    playwright.expect(first.locator("[data-testid$=Success]")).to_have_count(1)
    page.get_by_text("1 right of 2 guessed").wait_for()
    assert "bits=false" in page.url
    shoot(page, "claims-checked")
    assert "2.625" in run_snippet(page)


def test_every_verdict_can_be_reached(server, page):
    from quantlib.figures.claims import CLAIMS

    page.goto(f"{server}/claims-checked?" + "&".join(f"said-{c.key}={c.verdict.replace(' ', '+')}" for c in CLAIMS))
    settle_chapter(page)
    page.get_by_text(f"{len(CLAIMS)} right of {len(CLAIMS)} guessed").wait_for()
    playwright.expect(page.get_by_text("You are right.")).to_have_count(len(CLAIMS))
