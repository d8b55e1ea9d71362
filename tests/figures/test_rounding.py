"""Pictures of rounding: what they say is what round-to-nearest does, and afar no outlier is lost."""

import re

import javascript
import numpy as np
import pytest

from quantlib.figures import rounding, tiles
from quantlib.formats import FORMATS
from quantlib.formats.floats import FP32
from quantlib.formats.integers import IntegerFormat

X = np.random.default_rng(5).normal(0, 0.05, (24, 256)).astype(np.float32)


class Tensor:
    def __init__(self, x):
        self.x, self.shape, self.nrows, self.n = x, x.shape, *x.shape

    def rows(self, start=0, stop=None):
        return self.x[start:stop]


def test_finer_sharing_costs_more_and_loses_less():
    found = rounding.by_granularity(X, 4)
    assert [r.bpw for r in found] == sorted(r.bpw for r in found)
    assert [r.sqnr for r in found] == sorted(r.sqnr for r in found)
    assert found[-1].bpw == 4 + 16 / 16
    assert rounding.sharing_html(found).count("<tr><th scope") == len(found) == rounding.to_csv(found).count("\n") - 1


def test_a_bit_is_worth_six_decibels_while_levels_are_many():
    line = [r.sqnr for r in rounding.by_bits(X) if r.sharing == "per channel" and r.bits >= 6]
    assert -np.diff(line) == pytest.approx(rounding.DECIBELS_PER_BIT, abs=0.4)  # noise is uniform only in the limit
    assert len(rounding.decibel_figure(rounding.by_bits(X)).data) == 4


def test_lopsided_rows_are_won_by_the_grid_with_a_zero_point():
    found = rounding.contest(np.abs(X))
    assert (found.winner, found.of("asymmetric").wins) == ("asymmetric", 24)
    assert [grid.levels for grid in found.grids] == [15, 16, 16]


def test_a_missing_level_is_told_from_a_zero_point():
    even = np.concatenate([X, -X], axis=1)  # as far down as up: a zero point can buy nothing but the unused code
    found = rounding.contest(even)
    fewer, equal, zero = (grid.relative for grid in found.grids)
    assert equal < fewer and abs(zero - equal) < 0.25 * (fewer - equal)
    share = float(re.search(r"(\d+)% of the difference", found.conclusion)[1])
    assert share == pytest.approx(100 * min(1, (fewer - equal) / (fewer - zero)), abs=1)
    assert rounding.contest_html(found).count("<tr><th scope") == 3
    assert rounding.grids_html(X[0]).count("<i ") == 15 + 16 + 16


def test_conclusions_are_of_the_figures():
    found = rounding.by_bits(X)
    said = rounding.conclusions(found)
    row = {r.bits: r for r in found if r.sharing == "per channel"}
    assert f"{row[8].relative:.2%}" in said[0] and f"{row[4].relative:.1%}" in said[0]
    assert 1.9 < float(re.search(r"error ([\d.]+) times", said[1])[1]) < 2.3
    assert "lowers" in said[2]


def test_an_outlier_is_seen_from_afar():
    x = X.copy()
    x[17, 201] = -3
    small = tiles.largest_in_each(x, 5, 7)
    assert small.shape == (5, 7)
    assert small.min() == -3
    assert set(small.ravel()) <= set(x.ravel())


def test_bytes_of_the_map_are_even_about_zero():
    x = np.array([-9, -1, -0.5, 0, 0.5, 1, 9], np.float32)
    assert tiles.diverging_bytes(x, 1.0).tolist() == [0, 0, 64, 127, 190, 254, 254]


@pytest.mark.parametrize("shape", [(24, 256), (600, 512), (1, 256)])
def test_a_tile_is_cut_from_rows_stored_whole(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    form = FORMATS["Q4_0"]
    piece = tiles.tile(Tensor(x), form, 9999, 9999)
    assert piece.weights.tolist() == x[piece.row :, piece.column :].tolist()
    assert piece.stored.tolist() == form.dequantize(form.quantize(x))[piece.row :, piece.column :].tolist()
    said = tiles.message(tiles.overview(Tensor(x)), piece, x.shape, "t", "Q4_0")
    assert np.frombuffer(said["weights"], "<f4").size == np.prod(said["tileShape"])
    assert len(said["overview"]) == np.prod(said["overviewShape"])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_browser_rounds_as_the_format_does(bits, symmetric):
    from pages.ui.component import bundle

    x = np.concatenate([X[0], [0, -0.0, 1e-30, 0.5, -0.5]]).astype(np.float32)
    form = IntegerFormat(bits, symmetric=symmetric, scale_format=FP32)
    scale, zero = form.scale_and_zero(x.min(), x.max())
    told = {"x": x.tolist(), "bits": bits, "symmetric": symmetric, "range": [form.lowest, form.highest]}
    script = bundle("grid_math.js") + (
        "const told = JSON.parse(await new Promise((done) => process.stdin.on('data', (d) => done(d))));"
        "const low = Math.min(...told.x), high = Math.max(...told.x), grid = covering(told, low, high);"
        "console.log(JSON.stringify({...grid, ...roundRow(told.x, grid.scale, grid.zero, ...told.range)}));"
    )
    said = javascript.said(script, told)
    codes = form.encode(x, scale, zero)
    assert (said["scale"], said["zero"]) == (float(scale), int(zero))
    assert said["codes"] == codes.tolist()
    assert said["stored"] == form.value(codes, scale, zero).tolist()
