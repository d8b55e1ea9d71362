"""Codebooks as pictures: rulers that end at one, and the stored grid point among those that come near."""

import numpy as np
import pytest

from quantlib.figures import codebooks
from quantlib.formats import FORMATS

X = np.random.default_rng(2).normal(0, 0.05, (8, 512)).astype(np.float32)
IMPORTANCE = np.random.default_rng(3).gamma(0.3, 1, 512).astype(np.float32)


class Tensor:
    shape, nrows, n = X.shape, *X.shape

    def rows(self, start=0, stop=None):
        return X[start:stop]


def test_rulers_rise_from_minus_one():
    by_name = {ruler.name: ruler for ruler in codebooks.rulers()}
    for ruler in by_name.values():
        assert (np.diff(ruler.entries) > 0).all()
        assert ruler.entries[0] == -1
    assert len(by_name["MXFP4"].entries) == 15, "the two zeros of FP4 are one mark"


def test_rulers_lose_what_their_formats_lose():
    found = codebooks.lost(X)
    assert [m.relative for m in found] == sorted(m.relative for m in found)
    assert all(0.03 < m.relative < 0.2 for m in found)
    assert {m.name: m.bpw for m in found} == {"INT4": 4.5, "NF4": 4.5, "IQ4_NL": 4.5, "MXFP4": 4.25, "NVFP4": 4.5}
    assert codebooks.lost_html(found).count("<tr><th scope") == 5


def test_shares_leave_out_the_largest_of_each_block():
    counted = codebooks.shares(X)
    assert counted.total == counted.counts.sum() == X.size - X.size // codebooks.BLOCK
    assert codebooks.shares(np.zeros((1, 32), np.float32)).total == 32


@pytest.mark.parametrize("name", codebooks.GRIDS)
def test_the_stored_point_is_among_the_nearest_and_decodes_to_what_is_stored(name):
    fmt, dim = FORMATS[name], codebooks.GRIDS[name]
    block, importance = X.reshape(-1, 256)[0], IMPORTANCE[:256]
    back = fmt.trace(block, importance).decoded
    for at in (0, 7):
        found = codebooks.pick(fmt, block, importance, at)
        place = found.numbers.tolist().index(found.chosen)
        stored = found.scale * found.points[place] * found.signs
        assert stored == pytest.approx(back[at * dim : (at + 1) * dim], rel=1e-5)
        assert found.errors[:-1].tolist() == sorted(found.errors[:-1])
        assert len(found.points) == codebooks.CANDIDATES
        assert len({tuple(p) for p in codebooks.grid_points(name).tolist()}) == found.size


def test_seven_sign_bits_keep_the_number_of_minus_signs_even():
    picks = [codebooks.pick(FORMATS["IQ2_XXS"], X.reshape(-1, 256)[0], IMPORTANCE[:256], at) for at in range(32)]
    assert all((p.signs < 0).sum() % 2 == 0 for p in picks)
    assert {len(p.flipped) for p in picks} == {0, 1}


def test_importance_lowers_the_error_that_it_weighs():
    found = codebooks.steered(Tensor(), IMPORTANCE, ("Q4_K", "IQ4_NL"))
    assert all(r.weighted[1] < r.weighted[0] for r in found)
    grown = {r.name for r in found if r.plain[1] > r.plain[0]}
    assert codebooks.went(found) == ("it grows" if 2 * len(grown) > len(found) else "it shrinks")
    others = {r.name for r in found} - grown if codebooks.went(found) == "it grows" else grown
    assert all(name in codebooks.but(found) for name in others)
    assert bool(codebooks.but(found)) == bool(others)
    assert codebooks.steered_html(found).count("<tr><th scope") == codebooks.steered_csv(found).count("\n") - 1 == 2
