"""What people take away: a saved figure is what they saw, with title, source and address, on light paper."""

import io
import re

import numpy as np
import pytest
from conftest import settle_chapter

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests are driven by playwright")
Image = pytest.importorskip("PIL.Image")

pytestmark = pytest.mark.browser
SHARPER = 2  # pixels of a saved PNG for one of the page


@pytest.fixture
def sharp(browser):
    """Pages in a theme, with as many pixels as a saved image has."""
    contexts = []

    def opened(address: str, theme: str):
        contexts.append(
            browser.new_context(
                viewport={"width": 1440, "height": 900}, color_scheme=theme, device_scale_factor=SHARPER
            )
        )
        page = contexts[-1].new_page()
        page.goto(address)
        settle_chapter(page)
        page.wait_for_timeout(1500)  # until charts are drawn
        return page

    yield opened
    for context in contexts:
        context.close()


def saved(page, button, kind: str) -> tuple[str, bytes]:
    """The name and the content of what the button gives."""
    with page.expect_download() as download:
        button.click()
    assert download.value.suggested_filename.endswith(f".{kind}")
    return download.value.suggested_filename, download.value.path().read_bytes()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16)  # (rows, columns, colours)


FIGURES = [("", ".ql.few_bits"), ("", ".ql.drawing"), ("what-it-costs", "[data-testid=stPlotlyChart]")]


@pytest.mark.parametrize(("address", "selector"), FIGURES)
def test_a_saved_image_is_what_was_seen(server, sharp, address, selector):
    page = sharp(f"{server}/{address}", "light")
    figure = page.locator(selector).first
    figure.scroll_into_view_if_needed()
    png, svg = (figure.get_by_role("button", name=f"Save this figure as {kind}") for kind in ("PNG", "SVG"))
    png.scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    seen = pixels(figure.screenshot(animations="disabled"))
    _, text = saved(page, svg, "svg")
    corner = figure.evaluate("node => [node.getBoundingClientRect().left, node.getBoundingClientRect().top]")
    name, image = saved(page, png, "png")
    assert re.fullmatch(r"[a-z0-9]+(-{1,2}[a-z0-9]+)*\.png", name)
    across, down = map(float, re.search(rb'class="picture" transform="translate\(([-\d.]+) ([-\d.]+)\)', text).groups())
    found = pixels(image)
    left, top = (round(SHARPER * (at + by)) for at, by in zip(corner, (across, down), strict=True))
    height = round(SHARPER * (png.bounding_box()["y"] - corner[1])) - 16  # the buttons themselves are not in the image
    # a figure that begins between two pixels is drawn on one of them: each pixel is as near as its nearest neighbour
    off = np.minimum.reduce(
        [difference(found[top + y :, left + x :], seen[:height]) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    )
    assert (off > 60).mean() < 0.03, f"{(off > 60).mean():.1%} of the image's pixels differ from the page's"
    assert (off < 8).mean() > 0.9


def difference(saved: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.abs(saved[: seen.shape[0], : seen.shape[1]] - seen).max(axis=2)


def test_title_source_and_address_are_in_the_image(server, sharp):
    page = sharp(f"{server}/?stored=256+levels", "light")
    figure = page.locator(".ql.drawing").first
    name, svg = saved(page, figure.get_by_role("button", name="Save this figure as SVG"), "svg")
    words = " ".join(re.findall(r">([^<>]+)</text>", svg.decode()))
    assert name.startswith("how-few-bits-can-a-model-stand--what-happens-to-the-numbers--")
    assert "How few bits can a model stand? What happens to the numbers" in words
    assert "Measured here, now: on the first 256 weights" in words and "stored=256+levels" in words
    assert "<script" not in svg.decode() and "@font-face" in svg.decode()


@pytest.mark.parametrize("selector", [".ql.few_bits", ".ql.drawing"])
def test_the_paper_is_light_in_the_dark_theme_too(server, sharp, selector):
    pictures = []
    for theme in ("light", "dark"):
        page = sharp(server, theme)
        figure = page.locator(selector).first
        pictures.append(pixels(saved(page, figure.get_by_role("button", name="Save this figure as PNG"), "png")[1]))
    light, dark = pictures
    assert light.shape == dark.shape
    assert (np.abs(light - dark).max(axis=2) > 8).mean() < 0.01
