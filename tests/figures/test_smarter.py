"""The replay shows what GPTQ did; the searches win what their curves say; importance moves errors where it is small."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.figures import smarter
from quantlib.figures.layer import layer_at_work, matrices
from quantlib.figures.weights import from_fp32_bits
from quantlib.lm import Tokenizer, load

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
    return smarter.replay(layer.weight, layer.gram, 3, act_order=False)


def test_a_layer_is_seen_at_work(layer):
    assert layer.x.shape[1] == layer.weight.shape[1]
    assert layer.gram.tokens == len(layer.x) > 512


def test_gptq_leaves_less_of_the_output_error_and_more_of_the_weights(replayed):
    (out, out_nearest), (own, own_nearest) = replayed.output, replayed.weights
    assert out < out_nearest
    assert own > own_nearest, "it gives up weights for the output"
    assert replayed.left == pytest.approx(out / out_nearest)


def test_the_film_starts_untouched_and_ends_with_the_loss(replayed):
    film = replayed.film
    frames = np.frombuffer(film.frames, np.uint8).reshape(len(film.labels), *film.shape)
    assert (frames[0] == 127).all()
    assert (frames[-1] != 127).any()
    curve = [float(from_fp32_bits(bits)) for bits in film.curve]
    assert curve == sorted(curve), "what is certain is never taken back"
    assert curve[-1] == pytest.approx(replayed.running[-1], rel=1e-5)


def test_alpha_zero_is_the_measure(layer):
    found = smarter.alpha_search(layer.weight, layer.gram, 3)
    assert found.left == pytest.approx(found.search.losses.min() / found.search.losses[0])
    assert found.left <= 1


def test_importance_lowers_what_it_weighs(layer):
    before, after = smarter.importance_of(layer.weight, layer.gram, "Q4_K").weighted_errors
    assert after < before


def test_figures_can_be_drawn(layer, replayed):
    assert len(smarter.running_figure(replayed).data) == 2
    assert len(smarter.alpha_figure(smarter.alpha_search(layer.weight, layer.gram, 3), 0.5, "dark").data) == 3
    assert len(smarter.importance_figure(smarter.importance_of(layer.weight, layer.gram, "Q4_K")).data) == 2
    assert smarter.curves_csv(replayed).count("\n") == layer.weight.shape[1] + 1


def test_the_fair_table_is_by_divergence_and_at_equal_bits():
    from dataclasses import fields

    from quantlib.lm import Summary
    from quantlib.lm.contest import Contest, MeasuredMethod

    def measured(name: str, bits: int, kl: float) -> MeasuredMethod:
        blank = {f.name: {} if "percentiles" in f.name else 0 for f in fields(Summary)}
        return MeasuredMethod(name, "a", bits, bits + 0.25, 0.1, 1.0, Summary(**blank | {"kl": kl}))

    rows = (measured("plain", 4, 0.4), measured("gptq", 4, 0.1), measured("gptq", 3, 0.9))
    found = Contest("m", "", "", ("t",), "", "c", 10, 512, 64, (), rows)
    shown = smarter.fair_rows(found, 4)
    assert [row["method"] for row in shown] == ["gptq", "plain"]
