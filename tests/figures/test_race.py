"""The scale race and what the CPU does: the racers run ggml's own searches, and the browser keeps the same score."""

import javascript
import numpy as np
import pytest

from quantlib.figures import dot, race
from quantlib.formats import FORMATS

BLOCK = np.random.default_rng(3).normal(0, 0.05, 256).astype(np.float32)
IMPORTANCE = np.random.default_rng(4).gamma(0.3, 1, 256).astype(np.float32)


@pytest.mark.parametrize("group", [0, 5, 7])
def test_each_search_wins_in_its_own_measure(group):
    found = race.race(BLOCK, group, IMPORTANCE)
    span, search, steered = found.racers
    assert span.scale * 15 == pytest.approx(np.ptp(found.weights), rel=1e-5)
    plain, important = "large weights more", "important inputs more"
    assert found.error(search.scale, search.minimum, plain) <= found.error(span.scale, span.minimum, plain)
    assert found.error(steered.scale, steered.minimum, important) <= found.error(span.scale, span.minimum, important)
    assert race.to_csv(found).count("\n") == 1 + sum(r.scales.size for r in found.racers)


def test_a_block_of_zeros_can_race():
    found = race.race(np.zeros(256, np.float32), 0)
    assert found.error(0.0, 0.0, "every weight alike") == 0
    assert race.answer(found, "less than 10 %").startswith("**0%**")


def test_the_browser_keeps_the_same_score():
    from pages.ui.component import bundle

    found = race.race(BLOCK, 1, IMPORTANCE)
    grids = [[float(r.scale), float(r.minimum)] for r in found.racers] + [[0.01, 0.05], [0.0, 0.02]]
    told = {"x": found.weights.tolist(), "w": found.measures["important inputs more"].tolist(), "grids": grids}
    script = bundle("float_math.js", "dom.js", "plot.js", "race.js").replace("export default", "const page =") + (
        "const told = JSON.parse(await new Promise((done) => process.stdin.on('data', (d) => done(d))));"
        "console.log(JSON.stringify(told.grids.map(([scale, minimum]) => score(told.x, {scale, minimum}, told.w))));"
    )
    weights = found.measures["important inputs more"]
    expected = [race.weighted_error(found.weights, scale, minimum, weights) for scale, minimum in grids]
    assert javascript.said(script, told) == pytest.approx(expected, rel=1e-9)  # sums in another order


def test_whole_numbers_first_and_floats_last_give_the_product():
    x = np.random.default_rng(8).normal(0, 1, 256).astype(np.float32)
    found = dot.dot(BLOCK, x)
    a = dot.q8_k(x)
    stored = FORMATS["Q4_K"].dequantize(FORMATS["Q4_K"].quantize(BLOCK)).astype(np.float64)
    assert found.value == pytest.approx(float(stored @ (float(a.d) * a.codes.astype(np.float64))), rel=1e-6)
    assert a.codes[np.abs(x).argmax()] == -127
    assert np.abs(float(a.d) * a.codes - x).max() <= abs(float(a.d)) * 0.51
    assert "three-lines" in dot.dot_html(found)
    assert dot.dot(BLOCK, np.zeros(256, np.float32)).value == 0


def test_rivals_are_what_quantize_writes():
    names = ("Q4_0", "Q4_1", "Q4_K")
    found = race.side_by_side(BLOCK, names)
    assert [(r.name, r.nbytes, r.bpw) for r in found] == [
        (n, int(256 * FORMATS[n].bpw) // 8, FORMATS[n].bpw) for n in names
    ]
    assert race.side_by_side_html(found).count("class='bar'><span") == 3
