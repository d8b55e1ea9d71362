"""Tiny models of many architectures against what transformers computes of them in float32, and what follows from it."""

import arch_models
import numpy as np
import pytest

import quantlib as ql
from quantlib.architectures import KNOWN, by_name
from quantlib.lm import Cache, imatrix, load
from quantlib.lm.delta import convolved, delta_rule
from quantlib.lm.experts import mixed, route
from quantlib.lm.shape import Experts

NAMES = tuple(arch_models.logits())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """models("gpt_oss"): the model and the tokens that the golden logits are of, made once."""
    root, made = tmp_path_factory.mktemp("run"), {}

    def model(name: str):
        if name not in made:
            made[name] = load(ql.open_checkpoint(arch_models.write(name, root / name)))
        return made[name], arch_models.tokens(name)

    return model


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(models, name):
    model, tokens = models(name)
    np.testing.assert_allclose(model(tokens)[:, -1], arch_models.logits()[name], atol=1e-3)


@pytest.mark.parametrize("name", ["gpt_oss", "gemma4", "qwen3_next", "qwen3_5", "deepseek_v3", "lfm2", "cohere2"])
def test_a_text_in_pieces_is_the_text(models, name):
    model, tokens = models(name)
    cache = Cache(model.shape, tokens.shape[1], len(tokens))
    pieces = [model(tokens[:, start:stop], cache) for start, stop in ((0, 40), (40, 41), (41, tokens.shape[1]))]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), model(tokens), atol=1e-3)


def test_every_architecture_that_runs_is_tried():
    cases = arch_models.cases()
    tried = {cases[name]["gguf"]["metadata"]["general.architecture"]["value"] for name in NAMES}
    elsewhere = {"llama", "qwen2", "qwen2moe", "qwen3", "qwen3vlmoe", "granitemoe"}
    elsewhere |= {"gemma2", "gemma3", "phi3", "gpt2"}
    assert {known.name for known in KNOWN if known.runs} == tried | elsewhere
    assert by_name("mamba2").runs is None


def test_what_converts_and_does_not_run_says_so(tmp_path):
    with pytest.raises(ql.errors.CheckpointError, match="converts, but does not run"):
        load(ql.open_checkpoint(arch_models.write("mamba2", tmp_path / "m")))


def test_each_expert_has_an_importance_of_its_own(models):
    model, tokens = models("qwen3_moe")
    sums = imatrix(model, tokens.ravel().tolist(), context=35)
    stack = model.weights["blk.0.ffn_up_exps.weight"].shape
    assert sums.sums["blk.0.ffn_up_exps.weight"].shape == (stack[0], stack[2])
    assert sums.counts["blk.0.ffn_up_exps.weight"].sum() == tokens.size * model.shape.experts.used
    assert sums.counts["blk.0.attn_q.weight"].tolist() == [tokens.size]
    means = sums.matrix("").entries["blk.0.ffn_up_exps.weight"]
    whole = np.einsum("e,en->n", sums.counts["blk.0.ffn_up_exps.weight"], means)
    np.testing.assert_allclose(whole, sums.sums["blk.0.ffn_up_exps.weight"].sum(axis=0), rtol=1e-4)


@pytest.mark.parametrize("scoring", ["softmax", "sigmoid", "softmax of the chosen"])
def test_routing_is_what_its_words_say(scoring):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((9, 8)).astype(np.float32)
    chosen, weights = route(scores, Experts(8, 3, 4, scoring, normalized=True), None)
    for row, experts, found in zip(scores, chosen, weights, strict=True):
        assert set(experts) == set(np.argsort(-row)[:3])
        mass = 1 / (1 + np.exp(-row)) if scoring == "sigmoid" else np.exp(row)
        np.testing.assert_allclose(found, mass[experts] / mass[experts].sum(), rtol=1e-5)
    balanced, _ = route(scores, Experts(8, 1, 4, "sigmoid", False), np.where(np.arange(8) == 5, 9, 0))
    assert (balanced == 5).all()


def test_groups_limit_the_choice():
    scores = np.array([[9, 0, 5, 5, 1, 1, 2, 2]], np.float32)  # four groups of two; the best two experts decide
    chosen, _ = route(scores, Experts(8, 2, 4, "sigmoid", True, groups=4, groups_used=1), np.zeros(8, np.float32))
    assert set(chosen[0]) == {2, 3}


def test_a_mixture_is_the_sum_over_its_experts():
    rng = np.random.default_rng(1)
    x, matrices = rng.standard_normal((7, 4)), rng.standard_normal((5, 4, 4))
    chosen, weights = np.array([[i % 5, (i + 2) % 5] for i in range(7)]), rng.random((7, 2))
    out = mixed(x, chosen, weights, lambda expert, inputs: inputs @ matrices[expert])
    both = (x[:, None] @ matrices[chosen[:, i]] * weights[:, i, None, None] for i in range(2))
    want = sum(each[:, 0] for each in both)
    np.testing.assert_allclose(out, want)


def test_the_delta_rule_stores_and_replaces():
    """With no decay and full steps, a key that comes again brings back the value that was stored last under it."""
    k = np.zeros((1, 3, 1, 4), np.float32)
    k[0, [0, 1, 2], 0, [1, 2, 1]] = 1
    v = np.arange(9, dtype=np.float32).reshape(1, 3, 1, 3)
    zero, one = np.zeros((1, 3, 1), np.float32), np.ones((1, 3, 1), np.float32)
    out, state = delta_rule(k, k, v, zero, one, None)
    np.testing.assert_array_equal(out, v)
    np.testing.assert_array_equal(state[0, 0, 1], v[0, 2, 0])
    forgotten, _ = delta_rule(k, k, v, zero - 50, zero, state)
    np.testing.assert_allclose(forgotten, 0, atol=1e-6)


def test_a_convolution_sees_the_tokens_before():
    rng = np.random.default_rng(2)
    x, kernel = rng.standard_normal((2, 9, 3)), rng.standard_normal((3, 4))
    whole, _ = convolved(x, kernel, None)
    for channel in range(3):
        want = np.convolve(x[1, :, channel], kernel[channel, ::-1])[:9]
        np.testing.assert_allclose(whole[1, :, channel], want)
    first, last = convolved(x[:, :5], kernel, None)
    np.testing.assert_allclose(np.concatenate([first, convolved(x[:, 5:], kernel, last)[0]], axis=1), whole)
