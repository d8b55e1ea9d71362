"""The chapter on super-blocks: a rung changes one thing, racers run ggml's searches, sentences follow the figures."""

import javascript
import numpy as np
import pytest

from quantlib.figures import dot
from quantlib.figures.super_block import ladder, pictures, race, rivals, words
from quantlib.formats import FORMATS
from quantlib.metrics import compare

BLOCK = np.random.default_rng(3).normal(0, 0.05, 256).astype(np.float32)
IMPORTANCE = np.random.default_rng(4).gamma(0.3, 1, 256).astype(np.float32)
SPIKED = np.where(np.arange(256) == 40, np.float32(0.6), BLOCK)
ZEROS = np.zeros(256, np.float32)
Q4_K = FORMATS["Q4_K"]


@pytest.fixture(scope="module")
def climbed():
    return ladder.climb(SPIKED[None])


def test_bits_are_counted_and_the_last_rung_is_q4_k(climbed):
    assert [rung.bpw for rung in climbed] == [4.125, 5.0, 4.5, 4.5]
    assert climbed[-1].bpw == Q4_K.bpw
    back = Q4_K.dequantize(Q4_K.quantize(SPIKED)).reshape(-1)
    assert climbed[-1].decoded[0].tolist() == back.tolist()
    assert climbed[-1].relative == compare(SPIKED, back).relative


def test_every_stored_value_is_on_a_level_and_the_nearest_of_them(climbed):
    for rung in climbed[:-1]:
        groups = SPIKED.reshape(rung.scales.shape[1], -1)
        scale, minimum = rung.scales[0][:, None, None], rung.minima[0][:, None, None]
        levels = scale * np.arange(16, dtype=np.float32)[:, None] - minimum  # (groups, levels, 1)
        nearest = np.abs(groups[:, None] - levels).min(1)
        assert np.abs(groups - rung.decoded[0].reshape(groups.shape)) == pytest.approx(nearest, abs=1e-6)


def test_a_scale_for_every_block_saves_the_others_from_an_outlier(climbed):
    one, eight, six, searched = climbed
    assert one.relative > 2 * eight.relative
    assert six.relative < 1.1 * eight.relative
    assert searched.relative < six.relative


@pytest.mark.parametrize("block", [ZEROS, -np.abs(BLOCK), np.abs(BLOCK), np.full(256, 0.5, np.float32)], ids=range(4))
def test_odd_blocks_climb_too(block):
    for rung in ladder.climb(block[None]):
        assert np.isfinite(rung.decoded).all() and rung.relative < 0.3


def test_the_component_is_sent_every_rung_in_whole_numbers(climbed):
    said = pictures.ladder_message(SPIKED, climbed, "t", 0)
    assert [rung["bits"] for rung in said["rungs"]] == [4125, 5000, 4500, 4500]
    for sent, rung in zip(said["rungs"], climbed, strict=True):
        assert sum(part["bits"] for part in sent["parts"]) == 256 * rung.bpw
        assert np.array(sent["stored"], np.uint32).view(np.float32).tolist() == rung.decoded[0].tolist()
        assert sent["error"] == pytest.approx(1e7 * rung.relative, abs=0.51)
    assert pictures.ladder_csv(SPIKED, climbed).count("\n") == 257


def test_the_lesson_is_told_from_the_figures(climbed):
    one, eight, *_ = climbed
    said = words.steps(climbed)
    assert f"falls from {100 * one.relative:.1f} to {eight.relative:.1%}" in said[1]
    assert "grows from 10.0 to 20.0%" in words.turn(0.1, 0.2)
    assert words.turn(0.1, 0.10001) == "stays at 10.0%"
    assert "0.875 bits" in words.bought(climbed)
    assert f"{one.relative:.1%}" in words.everywhere(climbed, 256)


def test_what_the_summary_says_of_q4_k_is_its_layout():
    fields = {f.name: f for f in Q4_K.layout.fields}
    assert (Q4_K.values, Q4_K.nbytes, Q4_K.bpw) == (256, 144, 4.5)
    assert [(fields[n].count, fields[n].width) for n in ("q", "sc", "mn", "d", "dmin")] == [
        (256, 4), (8, 6), (8, 6), (1, 16), (1, 16),
    ]  # fmt: skip
    for part in ("256 weights in 144 bytes", "4.5 bits", "4-bit code", "6-bit sub-scale", "every 32", "two FP16"):
        assert part in words.SIZE
    scale, minimum, value = Q4_K.formula
    assert f"{scale} · {{q}} − {minimum}" == value, "one multiplication and one subtraction once both are known"


def test_rivals_are_what_quantize_writes():
    found = rivals.rivals(BLOCK)
    assert [(r.name, r.nbytes, r.bpw) for r in found] == [
        (n, int(256 * FORMATS[n].bpw) // 8, FORMATS[n].bpw) for n in rivals.RIVALS
    ]
    for r in found:
        assert r.relative == compare(BLOCK, FORMATS[r.name].dequantize(FORMATS[r.name].quantize(BLOCK))).relative
    assert found[0].step == pytest.approx(np.abs(BLOCK.reshape(-1, 32)).max(-1).mean() / 8, rel=1e-3)
    assert pictures.rivals_html(found).count("class='bar'><span") == 3
    covered = pictures.rivals_html(found, "Q4_1")
    assert f"{found[1].relative:.2%}" not in covered and f"{found[0].relative:.2%}" in covered


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (np.tile(np.linspace(-1, 1, 32, dtype=np.float32), 8), "the wider ones"),
        (np.tile(np.linspace(-0.2, 1, 32, dtype=np.float32), 8), "narrower"),
    ],
)
def test_why_a_minimum_helps_or_not_follows_the_steps(block, says):
    found = rivals.rivals(block)
    assert says in words.rivalry(found)
    assert f"**{rivals.best(found)}** loses least" in words.rivalry(found)
    worse = found[1].relative > found[0].relative
    assert ("does worse" if worse else "does better") in words.rivalry(found)


@pytest.mark.parametrize("group", [0, 5, 7])
def test_each_search_wins_in_its_own_measure(group):
    found = race.race(BLOCK, group, IMPORTANCE)
    span, search, steered = found.racers
    assert span.scale * 15 == pytest.approx(np.ptp(found.weights), rel=1e-5)
    assert found.error(search.scale, search.minimum, race.LARGE) <= found.error(span.scale, span.minimum, race.LARGE)
    ours, theirs = (found.error(r.scale, r.minimum, race.INPUTS) for r in (steered, span))
    assert ours <= theirs
    assert race.to_csv(found).count("\n") == 1 + sum(r.scales.size for r in found.racers)


def test_a_race_is_scored_in_relative_error():
    found = race.race(BLOCK, 2)
    span = found.racers[0]
    back = span.scale * np.clip(np.rint((found.weights + span.minimum) / span.scale), 0, 15) - span.minimum
    assert found.error(float(span.scale), float(span.minimum), race.ALIKE) == pytest.approx(
        compare(found.weights, back.astype(np.float32)).relative, rel=1e-4
    )
    assert f"{found.error(float(span.scale), float(span.minimum), race.ALIKE):.2%}" in words.race(found)
    assert race.race(ZEROS, 0).error(0.0, 0.0, race.ALIKE) == 0


def test_the_race_begins_where_there_is_most_to_gain():
    at = race.most_to_gain(BLOCK)
    gains = []
    for group in range(8):
        found = race.race(BLOCK, group)
        span, search = (found.error(float(r.scale), float(r.minimum), race.ALIKE) for r in found.racers)
        gains.append(search / span)
    assert gains[at] == min(gains)
    assert race.most_to_gain(ZEROS) == 0


def run(script: str, told: dict):
    from pages.ui.component import bundle

    head = bundle("race.js").replace("export default", "const page =")
    wait = "const told = JSON.parse(await new Promise((done) => process.stdin.on('data', (d) => done(d))));"
    return javascript.said(f"{head}{wait}console.log(JSON.stringify({script}));", told)


def test_the_browser_keeps_the_same_score():
    found = race.race(BLOCK, 1, IMPORTANCE)
    grids = [[float(r.scale), float(r.minimum)] for r in found.racers] + [[0.01, 0.05], [0.0, 0.02]]
    told = {"x": found.weights.tolist(), "w": found.measures[race.INPUTS].tolist(), "grids": grids}
    said = run("told.grids.map(([scale, minimum]) => relative(told.x, {scale, minimum}, told.w))", told)
    expected = [found.error(scale, minimum, race.INPUTS) for scale, minimum in grids]
    assert said == pytest.approx(expected, rel=1e-9)  # sums in another order


def test_the_search_is_worth_a_hundred_points_and_can_be_beaten():
    cases = [[0.10, 0.10, 0.08], [0.08, 0.10, 0.08], [0.07, 0.10, 0.08], [0.2, 0.1, 0.08], [0.1, 0.1, 0.1]]
    assert run("told.map((all) => points(...all))", cases) == [0, 100, 150, 0, 100]


def test_whole_numbers_first_and_floats_last_give_the_product():
    x = np.random.default_rng(8).normal(0, 1, 256).astype(np.float32)
    found = dot.dot(BLOCK, x)
    a = dot.q8_k(x)
    stored = Q4_K.dequantize(Q4_K.quantize(BLOCK)).astype(np.float64)
    assert found.value == pytest.approx(float(stored @ (float(a.d) * a.codes.astype(np.float64))), rel=1e-6)
    assert a.codes[np.abs(x).argmax()] == -127
    assert np.abs(float(a.d) * a.codes - x).max() <= abs(float(a.d)) * 0.51
    assert "three-lines" in dot.dot_html(found)
    assert dot.dot(BLOCK, ZEROS).value == 0


def test_a_row_of_super_blocks_adds_up_to_its_output():
    rng = np.random.default_rng(9)
    w, x = rng.normal(0, 0.05, (6, 512)).astype(np.float32), rng.normal(0, 1, 512).astype(np.float32)
    found = dot.outputs(w, x, 4)
    assert found.exact == pytest.approx(float(w[4].astype(np.float64) @ x), rel=1e-9)
    assert found.value == pytest.approx(sum(dot.dot(w[4, at : at + 256], x[at : at + 256]).value for at in (0, 256)))
    assert 0.02 < found.relative < 0.2
    assert f"{found.relative:.1%}" in words.cancelling(found)
    assert dot.outputs_html(found, 1).count("class='here'") == 1
    assert dot.outputs(w, np.zeros(512, np.float32), 0).relative == 0
