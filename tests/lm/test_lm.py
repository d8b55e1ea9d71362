"""The forward pass, generation, tokenizer and perplexity: by theorems here, against transformers in the peer suite."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import Cache, Tokenizer, generate, load, perplexity

TEXT = "The old king looked out of the window and said that the sea was very quiet that night."


@pytest.fixture(scope="module")
def demo(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    return load(checkpoint), Tokenizer.of(checkpoint)


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
    np.testing.assert_array_equal(load(other)(np.array(ids)), model(np.array(ids)))


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
    cache = Cache(model.shape, len(ids))
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


@pytest.mark.parametrize(("tokens", "context", "says"), [(10, 32, "needs 64 or more"), (4000, 1024, "longer than")])
def test_texts_that_do_not_fit(demo, tokens, context, says):
    with pytest.raises(ql.CheckpointError, match=says):
        perplexity(demo[0], np.ones(tokens, int), context)


def test_sequences_side_by_side_are_each_for_itself(demo):
    model, tokenizer = demo
    rows = np.array(tokenizer.encode(TEXT * 8))[:96].reshape(3, 32)
    expected = np.stack([model(row) for row in rows])
    np.testing.assert_allclose(model(rows), expected, atol=1e-3)


def test_weights_read_at_each_use_give_the_same(demo, f32_file):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT))
    np.testing.assert_array_equal(load(ql.open_checkpoint(f32_file), decoded=False)(ids), model(ids))


def test_observers_see_what_each_matrix_is_multiplied_with(demo):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT))
    seen = {}
    logits = model(ids, observe=lambda name, x: seen.update({name: x.copy()}))
    assert set(seen) == {n for n, w in model.weights.items() if w.ndim == 2 and n != "token_embd.weight"}
    assert all(x.shape == (len(ids), model.weight(name).shape[1]) for name, x in seen.items())
    np.testing.assert_array_equal(seen["output.weight"] @ model.weight("output.weight").T, logits)


def test_replaced_weights_are_used_and_all_others_shared(demo):
    model, tokenizer = demo
    ids = np.array(tokenizer.encode(TEXT))
    other = model.replaced({"output.weight": 2 * model.weight("output.weight")})
    np.testing.assert_allclose(other(ids), 2 * model(ids), rtol=1e-6)
    assert other.weight("blk.0.attn_q.weight") is model.weight("blk.0.attn_q.weight")
    with pytest.raises(ql.CheckpointError, match="no tensor nothing"):
        model.replaced({"nothing": np.zeros(3)})


def test_a_full_cache_says_so(demo):
    model, _ = demo
    with pytest.raises(ql.CheckpointError, match="room for 3 tokens"):
        model(np.arange(4), Cache(model.shape, 3))
