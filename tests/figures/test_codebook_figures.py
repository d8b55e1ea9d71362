"""The chapter on codebooks: marks and their error, levels and scales apart, grids and the point that is stored."""

import json

import javascript
import numpy as np
import pytest

from quantlib.figures.codebooks import effects, grids, marks, pictures, rulers, words
from quantlib.formats import FORMATS
from quantlib.metrics import compare

X = np.random.default_rng(2).normal(0, 0.05, (8, 512)).astype(np.float32)
IMPORTANCE = np.random.default_rng(3).gamma(0.3, 1, 512).astype(np.float32)


@pytest.fixture(scope="module")
def crowd():
    return marks.crowd(X)


def exact(x: np.ndarray, levels: np.ndarray) -> float:
    """The relative error of x on levels times the largest magnitude of each block of 32, weight by weight."""
    groups = x.reshape(-1, marks.BLOCK).astype(np.float64)
    largest = np.abs(groups).max(-1, keepdims=True)
    nearest = np.abs(groups[..., None] / largest[..., None] - levels).argmin(-1)
    return compare(groups, levels[nearest] * largest).relative


@pytest.mark.parametrize("levels", [marks.even(16), marks.nf4(), marks.even(4)], ids=["even", "NF4", "four"])
def test_the_error_of_marks_is_the_error_of_the_weights(crowd, levels):
    assert marks.relative(crowd, levels) == pytest.approx(exact(X, levels), rel=2e-3)


def test_weights_are_counted_as_shares_of_the_largest_of_their_block(crowd):
    assert crowd.total == crowd.counts.sum() == X.size
    assert crowd.power.sum() == pytest.approx(32 * np.square(np.abs(X.reshape(-1, 32)).max(-1), dtype=float).sum())
    assert marks.relative(marks.crowd(np.zeros((1, 32), np.float32)), marks.even(4)) == 0


@pytest.mark.parametrize("count", [4, 16])
def test_no_small_move_improves_the_best_marks(crowd, count):
    best = marks.best(crowd, count)
    least = marks.relative(crowd, best)
    assert least < marks.relative(crowd, marks.even(count))
    for at in range(count):
        for by in (-0.01, 0.01):
            moved = best.copy()
            moved[at] += by
            assert marks.relative(crowd, moved) > least - 1e-5


def test_nf4_can_be_beaten(crowd):
    assert marks.relative(crowd, marks.best(crowd, 16)) < marks.relative(crowd, marks.nf4())


@pytest.mark.parametrize(
    "text", [None, "", "1_2", "_".join(["1001"] * 4), "a_b_c_d", "1.5_2_3_4", "1__2_3", "--1_2_3_4", "²_1_2_3"]
)
def test_marks_of_an_address_are_four_or_nothing(text):
    assert marks.parse(text, 4) is None


def test_marks_of_an_address_are_put_in_order():
    assert marks.parse("500_-1000_0_1000", 4).tolist() == [-1, 0, 0.5, 1]


def test_the_browser_measures_marks_as_python_does(crowd):
    from pages.ui.component import bundle

    rivals = {"even": marks.even(16), "NF4": marks.nf4()}
    told = pictures.marks_message(crowd, rivals, "t", marks.even(16), True)
    json.dumps(told)
    script = bundle("marks.js").replace("export default", "const page =") + (
        "const told = JSON.parse(await new Promise((done) => process.stdin.on('data', (d) => done(d))));"
        "const errors = told.rivals.map(({ marks }) => losses(told.power, marks.map((m) => m / 1e6)).relative);"
        "console.log(JSON.stringify([...errors, points(errors[1], ...errors), points(errors[0], ...errors)]));"
    )
    *errors, second, first = javascript.said(script, {"power": told["power"], "rivals": told["rivals"]})
    assert errors == pytest.approx([marks.relative(crowd, m) for m in rivals.values()], rel=1e-4)
    assert (first, second) == (0, 100)


@pytest.fixture(scope="module")
def found():
    return effects.effects(X)


def test_the_plain_even_levels_are_q4_0_and_the_other_ways_change_one_thing(found):
    q4_0 = FORMATS["Q4_0"]
    assert found["even", False].relative == pytest.approx(
        compare(X, q4_0.dequantize(q4_0.quantize(X))).relative, rel=0.02
    ), "Q4_0 rounds halves its own way"
    for (name, searched), stored in found.items():
        assert stored.relative == compare(X, stored.decoded).relative
        assert set(stored.scales.astype(np.float16).astype(np.float32)) == set(stored.scales)
        if searched:
            assert stored.relative <= found[name, False].relative


def test_the_search_finds_what_iq4_nl_finds(found):
    iq4_nl = FORMATS["IQ4_NL"]
    ggml = compare(X, iq4_nl.dequantize(iq4_nl.quantize(X))).relative
    assert found["IQ4_NL", True].relative <= ggml * 1.01


def test_conclusions_follow_the_two_by_two(found):
    said = words.two_by_two(found)
    for key in (("even", False), ("IQ4_NL", False), ("even", True), ("IQ4_NL", True)):
        assert f"{100 * found[key].relative:.1f}" in said
    assert "two gains" in words.summary(found)
    even_everywhere = {(n, s): found["even", s] for n, s in found}
    assert "search for the scale does what helps" in words.summary(even_everywhere)
    assert "next to nothing, with a plain scale and" in words.of_nf4(even_everywhere)
    better = {**found, ("NF4", False): found["IQ4_NL", True]}
    assert "help" in words.of_nf4(better)


def test_six_ways_are_drawn_with_their_errors(found):
    at = effects.typical(X, found)
    assert 0 <= at < X.size // 32
    svg = pictures.effects_svg(X, found, at)
    for stored in found.values():
        assert f">{stored.relative:.2%}<" in svg
    assert svg.count('class="way"') == 6 * 32


def test_rulers_rise_from_minus_one():
    by_name = {ruler.name: ruler for ruler in rulers.rulers()}
    for ruler in by_name.values():
        assert (np.diff(ruler.entries) > 0).all()
        assert ruler.entries[0] == -1
    assert len(by_name["MXFP4"].entries) == 15, "the two zeros of FP4 are one mark"


def test_rulers_lose_what_their_formats_lose():
    lost = rulers.lost(X)
    assert [m.relative for m in lost] == sorted(m.relative for m in lost)
    assert all(0.03 < m.relative < 0.2 for m in lost)
    assert {m.name: m.bpw for m in lost} == {"INT4": 4.5, "NF4": 4.5, "IQ4_NL": 4.5, "MXFP4": 4.25, "NVFP4": 4.5}
    assert pictures.lost_html(lost).count("<tr><th scope") == 5


@pytest.mark.parametrize("name", grids.GRIDS)
def test_the_stored_point_is_among_the_nearest_and_decodes_to_what_is_stored(name):
    fmt, dim = FORMATS[name], grids.GRIDS[name]
    block, importance = X.reshape(-1, 256)[0], IMPORTANCE[:256]
    back = fmt.trace(block, importance).decoded
    for at in (0, 7):
        pick = grids.pick(fmt, block, importance, at)
        place = pick.numbers.tolist().index(pick.chosen)
        stored = pick.scale * pick.points[place] * pick.signs
        assert stored == pytest.approx(back[at * dim : (at + 1) * dim], rel=1e-5)
        assert pick.errors[:-1].tolist() == sorted(pick.errors[:-1])
        assert len(pick.points) == grids.CANDIDATES
        assert len({tuple(p) for p in grids.grid_points(name).tolist()}) == pick.size
        json.dumps(pictures.pick_message(pick, "t", 0))


@pytest.mark.parametrize("name", grids.GRIDS)
def test_pairs_count_every_pattern_and_every_pair_once(name):
    found = grids.pairs(FORMATS[name], X)
    assert found.size == len(grids.grid_points(name)) == found.points.sum()
    assert found.weights.sum() == X.size // 2
    assert found.points[0, 0] > found.points[-1, -1], "small magnitudes are in more patterns"
    assert f"**{found.size}**" in words.shared(found) and f"{FORMATS[name].bpw:g} bits" in words.shared(found)
    assert f"{found.weights[0, 0] / found.weights.sum():.0%} of all pairs" in words.crowding(found)
    svg = pictures.pairs_svg(found)
    assert svg.count('class="point"') == len(found.magnitudes) ** 2


def test_i_quants_of_two_and_three_bits_share_codes():
    """What the chapter ends with."""
    for name, dim in grids.GRIDS.items():
        assert int(name[2]) in (2, 3) and dim in (4, 8)
    assert "two or three bits gives four or eight" in words.SHARING


def test_seven_sign_bits_keep_the_number_of_minus_signs_even():
    picks = [grids.pick(FORMATS["IQ2_XXS"], X.reshape(-1, 256)[0], IMPORTANCE[:256], at) for at in range(32)]
    assert all((p.signs < 0).sum() % 2 == 0 for p in picks)
    assert {len(p.flipped) for p in picks} == {0, 1}
    assert {"underlined" in words.signs(p) for p in picks} == {True, False}
