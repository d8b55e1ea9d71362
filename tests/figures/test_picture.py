"""A picture as weights: stored by the real quantizers, finer scales lose less, and what people bring is checked."""

import io

import numpy as np
import pytest
from PIL import Image

from pages.ui.brought import grey
from quantlib.errors import FormatError
from quantlib.figures import picture
from quantlib.formats import FORMATS


@pytest.fixture(scope="module")
def pixels():
    return picture.still_life()


@pytest.fixture(scope="module")
def found(pixels):
    return {(one.name, one.how): one for one in picture.stored(pixels)}


def test_the_still_life_has_the_gallerys_shape_and_greys(pixels):
    assert pixels.shape == (picture.HIGH, picture.WIDE)
    assert len(np.unique(pixels)) > 150


def test_finer_scales_lose_less_and_cost_more(found):
    one, row, block = (found["INT4", how] for how, _, _ in picture.WAYS)
    assert one.relative > row.relative > block.relative
    assert one.bpw < row.bpw < block.bpw
    assert found["IQ1_S", "eight share a code"].relative > found["Q2_K", "super-blocks"].relative


def test_what_is_shown_is_what_the_format_stores(pixels, found):
    fmt, x = FORMATS["Q4_K"], picture.as_weights(pixels)
    back = fmt.dequantize(fmt.quantize(x), x.shape[1])
    shown = found["Q4_K", "super-blocks"].pixels
    assert np.abs(shown - np.clip(255 * back + pixels.mean(), 0, 255)).max() <= 0.51


def test_a_png_keeps_every_grey(pixels):
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.png(pixels)))), pixels)
    assert np.array_equal(picture.of_bytes(grey(picture.png(pixels))), pixels)


@pytest.mark.parametrize(("mode", "size"), [("RGB", (40, 900)), ("RGBA", (900, 40)), ("L", (1, 1)), ("P", (256, 192))])
def test_any_picture_is_cut_to_the_gallery(mode, size):
    file = io.BytesIO()
    Image.new(mode, size, 7).save(file, "PNG")
    assert picture.of_bytes(grey(file.getvalue())).shape == (picture.HIGH, picture.WIDE)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"<svg/>"])
def test_what_is_no_picture_is_refused_in_a_sentence(data):
    with pytest.raises(FormatError, match="no PNG or JPEG"):
        grey(data)


def test_a_picture_that_claims_a_huge_size_is_refused_unread():
    small, huge = (np.array([side, side], ">u4").tobytes() + bytes([8, 0, 0, 0, 0]) for side in (1, 60_000))
    honest = picture.png(np.zeros((1, 1), np.uint8))
    claims = honest.replace(picture._chunk(b"IHDR", small), picture._chunk(b"IHDR", huge))
    assert claims != honest
    with pytest.raises(FormatError):
        grey(claims)


def test_pixels_resemble_their_neighbours_and_weights_do_not(pixels):
    class Noise:
        nrows, n, shape = 32, 256, (32, 256)

        def rows(self, start=0, stop=None):
            return np.random.default_rng(1).normal(size=(32, 256)).astype(np.float32)[start:stop]

    assert picture.alike(picture.as_weights(pixels)) > 0.95
    assert "fill in" in picture.conclusion(pixels, Noise())
    assert picture.alike(np.ones((3, 4))) == 0

    class Smooth(Noise):
        def rows(self, start=0, stop=None):
            return np.sin(np.arange(32 * 256, dtype=np.float32) / 90).reshape(32, 256)[start:stop]

    assert "so does a weight" in picture.conclusion(pixels, Smooth())
