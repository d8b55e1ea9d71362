"""The picture of rounding: each weight rests on one of its levels, the nearest or one the search preferred."""

import re

import numpy as np
import pytest

from quantlib.figures import levels
from quantlib.figures.block import drawable
from quantlib.formats import FORMATS

# A code for each weight: where eight weights share a grid point, a weight alone has no levels to rest on.
BLOCKS = [f for f in FORMATS.values() if drawable(f) and any(p.count == f.values for p in f.layout.fields)]


@pytest.fixture
def row() -> np.ndarray:
    return np.random.default_rng(3).standard_normal(512).astype(np.float32)


@pytest.mark.parametrize("form", BLOCKS, ids=lambda f: f.name)
def test_every_weight_rests_on_a_level(form, row):
    picture = levels.rest(row, form.name)
    assert (picture.levels == picture.stored).any(axis=0).all()
    assert picture.nbytes == form.row_bytes(row.size)
    spacing = np.diff(np.sort(picture.levels, axis=0), axis=0).max(axis=0)
    reach = (picture.levels.min(axis=0) <= row) & (row <= picture.levels.max(axis=0))
    # Codes are chosen before the sub-scales are rounded, so a weight may rest one level beside the nearest.
    assert (np.abs(row - picture.stored) <= 1.5 * spacing + 1e-6)[reach].all()


def test_floats_have_no_levels_to_draw(row):
    picture = levels.rest(row, "BF16")
    assert picture.levels.shape == (0, row.size)
    assert picture.loss.relative < 2**-8


def test_one_column_a_weight(row):
    svg = levels.levels_svg(levels.rest(row, "Q4_K").first(64), 'a "title" & more')
    assert svg.count('class="now"') == svg.count('class="was"') == 64
    assert svg.count('class="level"') == 2, "two blocks of 32 weights"
    assert 'aria-label="a &quot;title&quot; &amp; more"' in svg
    heights = [float(y) for y in re.findall(r'cy="([-\d.]+)"', svg)]
    assert min(heights) >= 0 and max(heights) <= levels.HEIGHT - levels.FOOT


def test_a_row_of_zeros_can_be_drawn():
    assert levels.levels_svg(levels.rest(np.zeros(256, np.float32), "Q4_K"), "zeros").startswith("<svg")
