"""The forward pass, generation, tokenizer and perplexity: by theorems here, against transformers in the peer suite."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import Llama, Tokenizer, generate, perplexity
from quantlib.lm.model import Cache

TEXT = "The old king looked out of the window and said that the sea was very quiet that night."


@pytest.fixture(scope="module")
def demo(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    return Llama(checkpoint), Tokenizer.of(checkpoint)


@pytest.fixture(scope="module")
def f32_file(demo_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "f32.gguf"
    ql.run(ql.plan(ql.open_checkpoint(demo_model), "F32"), path)
    return path


def test_a_folder_and_its_gguf_file_are_one_model(demo, f32_file):
    model, tokenizer = demo
    other = ql.open_checkpoint(f32_file)
    ids = tokenizer.encode(TEXT)
    assert Tokenizer.of(other).encode(TEXT) == ids
    np.testing.assert_array_equal(Llama(other)(np.array(ids)), model(np.array(ids)))


def test_the_tokenizer_round_trips(demo):
    _, tokenizer = demo
    ids = tokenizer.encode(TEXT)
    assert ids[0] == tokenizer.bos
    assert tokenizer.decode(ids) == TEXT


def test_no_token_sees_a_later_one(demo):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT))
    changed = ids.copy()
    changed[-1] = 7
    np.testing.assert_array_equal(model(ids)[:-1], model(changed)[:-1])


def test_a_cache_changes_nothing_but_speed(demo):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT))
    cache = Cache()
    pieces = [model(part, cache) for part in np.split(ids, [1, 2, 9])]
    # The products are summed in another order for other shapes of matrices.
    np.testing.assert_allclose(np.concatenate(pieces), model(ids), atol=1e-3)
    assert cache.length == len(ids)


def test_greedy_takes_the_likeliest(demo):
    model, tokenizer = demo
    ids = tokenizer.encode(TEXT)
    written = list(generate(model, ids, 5))
    for i, token in enumerate(written):
        assert token == model(np.array(ids + written[:i]))[-1].argmax()


def test_a_seed_repeats_what_is_drawn(demo):
    model, tokenizer = demo
    ids = tokenizer.encode(TEXT)
    drawn = [list(generate(model, ids, 12, temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_generation_ends_with_the_context(demo):
    model, tokenizer = demo
    ids = (tokenizer.encode(TEXT) * 40)[: model.shape.context - 3]
    assert len(list(generate(model, ids, 100))) == 3


def test_perplexity_is_what_its_definition_says(demo):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT * 8))[:150]
    context = 32
    losses = []
    for window in ids[: len(ids) // context * context].reshape(-1, context):
        shown = window.copy()
        shown[0] = tokenizer.bos
        logits = model(shown).astype(np.float64)
        chance = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        losses += [-np.log(chance[i - 1, window[i]]) for i in range(context // 2 + 1, context)]
    found = perplexity(model, ids, context, tokenizer.bos)
    assert found.tokens == len(losses) == 4 * 15
    assert found.value == pytest.approx(np.exp(np.mean(losses)))
    assert found.stderr == pytest.approx(found.value * np.std(losses) / np.sqrt(len(losses) - 1))


def test_a_trained_model_expects_english(demo):
    model, tokenizer = demo
    ids = tokenizer.encode(TEXT * 8)
    shuffled = np.random.default_rng(0).permutation(ids)
    assert perplexity(model, ids, 32, tokenizer.bos).value < perplexity(model, shuffled, 32, tokenizer.bos).value


@pytest.mark.parametrize(("tokens", "context", "says"), [(10, 32, "needs 64"), (4000, 1024, "longer than")])
def test_texts_that_do_not_fit(demo, tokens, context, says):
    with pytest.raises(ql.CheckpointError, match=says):
        perplexity(demo[0], np.ones(tokens, int), context)
