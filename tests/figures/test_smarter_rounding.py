"""Smarter rounding: the toy is GPTQ, the replay ends where GPTQ does, and every sentence follows its figures."""

from dataclasses import fields, replace
from itertools import product

import javascript
import numpy as np
import pytest

import quantlib as ql
from quantlib.figures.layer import layer_at_work, matrices
from quantlib.figures.smarter_rounding import channels, contest, pictures, steering, toy, words
from quantlib.figures.smarter_rounding import replay as replays
from quantlib.figures.smarter_rounding import searched as searching
from quantlib.formats import get
from quantlib.formats.integers import IntegerFormat
from quantlib.lm import Summary, Tokenizer, load
from quantlib.lm.contest import Contest, MeasuredMethod
from quantlib.methods.awq import awq
from quantlib.methods.gptq import Settings, gptq
from quantlib.methods.grids import IntegerGrids
from quantlib.methods.hessian import Gram, output_error
from quantlib.methods.mixed import Inputs, fitted_blocks
from quantlib.metrics import compare

NAME = "blk.3.attn_q.weight"


@pytest.fixture(scope="module")
def layer(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    model = load(checkpoint)
    assert NAME in matrices(model)
    text = "There was once a house by the sea, and in it lived a woman who had never seen the town. " * 60
    return layer_at_work(model, Tokenizer.of(checkpoint).encode(text), NAME)


@pytest.fixture(scope="module")
def replayed(layer):
    return {how: replays.replay(layer.weight, layer.gram, 3, act_order=how) for how in (False, True)}


def relative_output(layer, stored) -> float:
    exact = layer.x.astype(np.float64) @ layer.weight.T
    return float(np.linalg.norm(layer.x.astype(np.float64) @ stored.T - exact) / np.linalg.norm(exact))


# --- the toy ------------------------------------------------------------------------------------------------------


def test_the_toy_is_gptq_and_finds_the_best_rounding():
    found = toy.toy()
    assert [step.rounded for step in found.steps] == [0, 1, 1, 2, 2, 3]
    errors = [toy.output_relative(toy.WEIGHTS, np.array(way, np.float32), toy.INPUTS)
              for way in product(*((np.floor(w), np.ceil(w)) for w in toy.WEIGHTS))]  # fmt: skip
    assert found.steps[-1].relative == pytest.approx(min(errors))
    assert found.nearest_relative > 5 * found.steps[-1].relative
    assert found.steps[-1].weights.tolist() == [0, 1, 1] and found.nearest.tolist() == [0, 1, 2]


def test_moving_the_others_brings_the_output_back_as_far_as_it_can():
    found = toy.toy()
    for before, after in zip(found.steps, found.steps[1:], strict=False):
        if after.moved:
            assert after.relative < before.relative
            free = slice(after.rounded, None)
            miss = toy.INPUTS[:, : after.rounded] @ (after.weights - toy.WEIGHTS)[: after.rounded]
            best, *_ = np.linalg.lstsq(toy.INPUTS[:, free], -miss, rcond=None)
            assert after.weights[free] - toy.WEIGHTS[free] == pytest.approx(best, abs=1e-4)


def test_the_toy_is_told_from_its_figures():
    found = toy.toy()
    said = words.toy_steps(found)
    assert len(said) == len(found.steps)
    assert words.percent(found.nearest_relative) in said[-1] and words.percent(found.steps[-1].relative) in said[-1]
    assert f"falls from {words.percent(found.steps[1].relative)}" in said[2]


def test_the_puzzle_can_be_won_and_nearest_is_its_nought(layer):
    grids = IntegerGrids(IntegerFormat(3, symmetric=False), 128)
    found = toy.puzzle(layer.weight, layer.gram, grids)
    part = slice(found.column, found.column + toy.COUNT)
    assert found.weights.tolist() == layer.weight[found.row, part].tolist()
    assert found.best_relative < 0.9 * found.nearest_relative
    for stored, said in ((found.nearest, found.nearest_relative), (found.best, found.best_relative)):
        assert (np.isclose(stored, found.lower) | np.isclose(stored, found.upper)).all()
        assert toy.output_relative(found.weights, stored, layer.x[:, part]) == pytest.approx(said, rel=1e-2)
    ways = pictures.nearest_ways(found)
    spelt = np.array([up if way == "1" else low for way, low, up in zip(ways, found.lower, found.upper, strict=True)])
    assert spelt.tolist() == found.nearest.tolist()
    assert words.percent(found.best_relative) in words.puzzle(found)


def test_the_browser_measures_the_output_as_python_does():
    from pages.ui.component import bundle

    script = bundle("columns.js").replace("export default", "const page =") + (
        "const told = JSON.parse(await new Promise((done) => process.stdin.on('data', (d) => done(d))));"
        "const scores = [points(0.3, 0.3, 0.1), points(0.1, 0.3, 0.1)];"
        "console.log(JSON.stringify([outputError(told.x, told.w, told.v), ...scores]));"
    )
    found = toy.toy()
    told = {"x": toy.INPUTS.tolist(), "w": toy.WEIGHTS.tolist(), "v": found.nearest.tolist()}
    assert javascript.said(script, told) == pytest.approx([found.nearest_relative, 0, 100], rel=1e-6)


# --- GPTQ on a real matrix ----------------------------------------------------------------------------------------


def test_the_replay_ends_where_gptq_and_rounding_to_nearest_do(layer, replayed):
    for how, found in replayed.items():
        grids = IntegerGrids(IntegerFormat(3, symmetric=False), 128)
        stored = gptq(layer.weight, layer.gram.hessian, grids, Settings(act_order=how)).dequantized()
        assert found.output[-1] == pytest.approx(relative_output(layer, stored), rel=1e-3)
        assert found.weights == pytest.approx(compare(layer.weight, stored).relative)
        assert found.output[0] == found.output_nearest[0] == 0
        assert found.steps[0] == 0 and found.steps[-1] == len(found.order) == layer.weight.shape[1]
        assert (found.change[0] == 127).all() and (found.change[-1] != 127).any()


def test_gptq_leaves_less_of_the_output_error_and_more_of_the_weights(replayed):
    found = replayed[False]
    assert found.output[-1] < found.output_nearest[-1]
    assert found.weights > found.weights_nearest, "it gives up weights for the output"
    said = words.replayed(found)
    assert "farther from the originals" in said and words.percent(found.output[-1]) in said
    worse = replace(found, output=found.output_nearest * 2, weights=0.5 * found.weights_nearest)
    assert "does not help here" in words.replayed(worse) and "nearer to the originals" in words.replayed(worse)


def test_act_order_is_told_with_its_price(replayed):
    plain, ordered = replayed[False], replayed[True]
    said = words.ordered(plain, ordered)
    assert "has a price" in said and words.percent(ordered.output[-1]) in said
    assert "hurts" in words.ordered(ordered, plain) or ordered.output[-1] > plain.output[-1]
    assert "changes little" in words.ordered(plain, plain)


def test_one_unit_runs_from_the_table_to_the_axis(replayed):
    found = replayed[False]
    film = pictures.film(found)
    assert len(film["labels"]) == len(film["curve"]) == len(film["rival"]) == len(found.change)
    ends = np.array([film["curve"][-1], film["rival"][-1]], np.uint32).view(np.float32)
    html = pictures.replay_html(found)
    for end in ends:
        assert f"{end:.1f}%" in html, "the curve's last point is the table's figure"
    assert "No column is left" in film["labels"][-1] and film["labels"][0] == "Nothing is rounded yet."
    assert pictures.replay_csv(found).count("\n") == len(found.steps) + 1


# --- channels and alpha -------------------------------------------------------------------------------------------


def test_one_channel_in_a_hundred_is_kept(layer):
    found = channels.kept(layer.weight, layer.gram, 3)
    assert found.count == 3 == len(found.chosen)
    assert found.by_input < found.by_weight <= found.none
    assert set(found.chosen) == set(np.argsort(-layer.gram.mean_squares)[:3])
    said = words.kept(found)
    assert words.percent(found.by_input) in said and "3 channels" in said
    assert pictures.channels_svg(found).count('class="kept"') == 3
    assert pictures.kept_html(found).count("class='bar'") == 3


def test_alpha_is_measured_as_the_layers_relative_error(layer):
    found = channels.alpha_search(layer.weight, layer.gram, 3)
    stored = awq([layer.weight], layer.gram, clip=False, alphas=channels.ALPHAS,
                 grid=channels.AffineGroups(3, 128)).dequantized()[0]  # fmt: skip
    assert found.best == pytest.approx(relative_output(layer, stored), rel=1e-3)
    assert found.best == found.relative.min() and found.stretch[0] == 1
    assert len(words.alpha_labels(found)) == len(pictures.alpha_curve(found)) == 21


def test_what_alpha_gains_is_said_as_it_is(layer):
    one, found = channels.kept(layer.weight, layer.gram, 3), channels.alpha_search(layer.weight, layer.gram, 3)
    assert words.percent(found.best) in words.alpha(found, one)
    flat = replace(found, relative=np.full(21, 0.1))
    assert "no α helps" in words.alpha(flat, one)
    for by_input, says in ((found.best * 2, "goes farther than"), (found.best / 2, "goes less far than")):
        assert says in words.alpha(found, replace(one, by_input=by_input))


# --- importance -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unseen(layer):
    half = len(layer.x) // 2
    return Gram.of(layer.x[:half]), Gram.of(layer.x[half:])


def test_a_matrix_is_judged_on_inputs_that_it_was_not_made_from(layer, unseen):
    seen, other = unseen
    for one in steering.steered(layer.weight, seen, other, ("Q4_K", "Q2_K")):
        form = get(one.name)
        stored = form.dequantize(form.quantize(layer.weight, seen.mean_squares))
        wanted = np.sqrt(output_error(layer.weight - stored, other.hessian) / output_error(layer.weight, other.hessian))
        assert one.output[1] == pytest.approx(wanted)
        assert one.weights[1] == compare(layer.weight, stored).relative


def test_sentences_on_the_matrix_follow_the_table(layer, unseen):
    found = steering.steered(layer.weight, *unseen)
    said = words.steered(found)
    most = max(found, key=lambda one: 1 - one.output[1] / one.output[0])
    assert words.percent(most.output[1]) in said
    worse = [replace(one, output=one.output[::-1], weights=(0.1, 0.2)) for one in found]
    assert "0 of" in words.steered(worse) and "in every format" in words.steered(worse)
    assert pictures.steered_html(found).count("<tr><th scope") == len(found)


def test_q2_k_gains_from_squares_and_not_only_from_importance(layer, unseen):
    """Its search without a matrix adds up absolute errors: a matrix of ones already lowers the squared ones."""
    assert get("Q2_K").trace(layer.weight[0, :256]).measure == "absolute"
    found = steering.steered(layer.weight, *unseen, ("Q2_K", "Q4_K"))
    assert found[0].even < found[0].weights[0]
    assert words.percent(found[0].even) in words.absolute(found)
    assert words.absolute(found[1:]) == "" == words.absolute([replace(found[0], even=1.0)])


def test_errors_move_to_channels_with_small_inputs(layer):
    found = steering.by_channel(layer.weight, layer.gram, "Q4_K")
    assert list(found.inputs) == sorted(found.inputs)
    assert found.weighed[-1] < found.without[-1]
    assert len(pictures.by_channel_figure(found, "dark").data) == 2


# --- blocks of a GGUF file on a layer -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Q4_K", "Q4_0"])
def test_the_search_on_a_layer_is_the_compiled_one_and_goes_down(layer, unseen, name):
    found, form = searching.searched(layer.weight, *unseen, name, rows=2), get(name)
    inputs = Inputs.of(unseen[0])
    assert np.array_equal(found.descent.data, fitted_blocks(layer.weight[:1], inputs, form)[0])
    stored = form.dequantize(fitted_blocks(layer.weight[:2], inputs, form))
    assert found.steps[-1].unseen == pytest.approx(relative_miss(layer.weight[:2], stored, unseen[1]))
    errors = found.descent.errors
    assert (np.diff(errors[1:]) <= 1e-4 * errors[0]).all(), "after GPTQ's codes no step goes up"
    for step in found.descent.steps:
        gains = [gain for _, gain in step.tried]
        assert step.taken is None or gains[step.taken] == max(gains) > 0
    seen = [step.seen for step in found.steps]
    assert seen[-1] <= seen[-2] < seen[2] < seen[0]


def relative_miss(weight, stored, gram) -> float:
    return float(np.sqrt(output_error(weight - stored, gram.hessian) / output_error(weight, gram.hessian)))


def test_the_search_is_told_from_its_figures(layer, unseen):
    found = searching.searched(layer.weight, *unseen, "Q4_0", rows=1)
    said = words.searched(found)
    for step in (found.steps[0], found.steps[-2], found.steps[-1]):
        assert words.percent(step.unseen) in said
    worse = replace(found, steps=(*found.steps[:-1], replace(found.steps[-1], unseen=2 * found.steps[-2].unseen)))
    assert "rises to" in words.searched(worse)
    told = words.descent(found.descent)
    assert str(sum(len(step.tried) for step in found.descent.steps)) in told
    assert f"{found.descent.errors[-1] / found.descent.errors[0]:.0%}" in told
    assert pictures.searched_html(found).count("<tr><th scope") == len(found.steps)
    assert 'role="img"' in pictures.descent_svg(found.descent)


# --- the whole model ----------------------------------------------------------------------------------------------


def measured(name: str, bits: int, kl: float, output: float = 0.1, added: float = 0.0, noise: float = 0.1):
    blank = {f.name: {} if "percentiles" in f.name else 0 for f in fields(Summary)}
    summary = Summary(**blank | {"kl": kl, "difference": added, "difference_stderr": noise})
    return MeasuredMethod(name, "a", bits, bits + 0.25, output, 1.0, summary)


def a_contest(*found: MeasuredMethod) -> Contest:
    return Contest("m", "", "", ("t",), "", "c", 10, 512, 64, (), found)


def test_the_fair_table_is_by_divergence_and_at_equal_bits():
    found = a_contest(measured("plain", 4, 0.4), measured("gptq", 4, 0.1), measured("gptq", 3, 0.9))
    assert [row["method"] for row in contest.rows(found, 4)] == ["gptq", "plain"]


def test_k_quants_are_compared_where_all_three_ways_were_measured():
    ways = [measured("Q4_K" + way, 4, kl, out) for way, kl, out in
            (("", 0.4, 0.05), (" + imatrix", 0.3, 0.045), (" + GPTQ", 0.2, 0.036))]  # fmt: skip
    found = contest.filled(a_contest(*ways, measured("Q3_K", 3, 0.5)))
    assert [(one.name, one.output) for one in found] == [("Q4_K", (0.05, 0.045, 0.036))]
    assert "Q4_K from 5.0% to 3.6%" in words.filled(found) and "at every size" in words.filled(found)
    tied = [replace(found[0], output=(0.05, 0.03, 0.036))]
    assert "as well at some sizes" in words.filled(tied)
    assert pictures.filled_html(found).count("class='bar'") == 3
    assert "3.6%" in pictures.filled_html(found) and "3.6%" not in pictures.filled_html(found, covered=True)


def test_where_perplexity_and_kl_disagree_the_noise_is_said():
    agree = a_contest(measured("a", 4, 0.1, added=0.1), measured("b", 4, 0.2, added=0.2))
    assert contest.disagreements(agree, 4) == [] and "same order" in words.noise([])
    near = a_contest(measured("a", 4, 0.1, added=0.25), measured("b", 4, 0.2, added=0.2))
    said = words.noise(contest.disagreements(near, 4))
    assert "0.050 more perplexity" in said and "0.4 standard errors" in said and "which is noise" in said
    far = a_contest(measured("a", 4, 0.1, added=0.9), measured("b", 4, 0.2, added=0.2))
    assert "hardly chance" in words.noise(contest.disagreements(far, 4))


def test_the_chapter_ends_with_what_was_measured(replayed):
    first, last = words.summary(replayed[False], [])
    assert words.percent(replayed[False].output[-1]) in first and "k-quant" in last
    ways = [measured("Q4_K" + way, 4, 0.1, out) for way, out in (("", 0.05), (" + imatrix", 0.04), (" + GPTQ", 0.03))]
    assert "from 5.0% to 3.0%" in words.summary(replayed[False], contest.filled(a_contest(*ways)))[1]
