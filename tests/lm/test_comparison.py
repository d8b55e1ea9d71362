"""Divergence from a baseline by its definitions, and the sweep that measures many recipes."""

import json

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import (
    Sweep,
    Tokenizer,
    applied,
    baseline,
    bench,
    compare,
    cut_texts,
    load,
    perplexity,
    sweep,
    together,
    worst_tokens,
)
from quantlib.lm import comparison as module

TEXT = "The old king looked out of the window and said that the sea was very quiet that night. " * 8
CONTEXT = 64


@pytest.fixture(scope="module")
def demo(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    return checkpoint, model, tokenizer, cut_texts(model, tokenizer, {"king": TEXT}, CONTEXT)["king"]


@pytest.fixture(scope="module")
def q4(demo):
    checkpoint, model, *_ = demo
    return applied(model, ql.plan(checkpoint, "Q4_K_M"))


@pytest.fixture(scope="module")
def compared(demo, q4):
    return compare(q4, baseline(demo[1], demo[3]))


def test_a_plan_applied_is_its_file_read_back(demo, q4, tmp_path):
    checkpoint, *_ = demo
    ql.run(ql.plan(checkpoint, "Q4_K_M"), tmp_path / "q4.gguf")
    with ql.open_checkpoint(tmp_path / "q4.gguf") as file:
        for name, weight in load(file).weights.items():
            np.testing.assert_array_equal(weight, q4.weight(name), err_msg=name)


def test_every_measure_is_what_its_definition_says(demo, q4, compared):
    _, model, tokenizer, windows = demo
    shown = windows.tokens.copy()
    shown[:, 0] = tokenizer.bos
    first = CONTEXT // 2
    p, q = (np.exp(x := m(shown)[:, first:-1].astype(float)) / np.exp(x).sum(-1, keepdims=True) for m in (model, q4))
    targets = windows.tokens[:, first + 1 :, None]
    right = [np.take_along_axis(x, targets, -1).ravel() for x in (p, q)]
    divergence = (p * np.log(p / q)).sum(-1).ravel()
    np.testing.assert_allclose(compared.divergence, divergence, atol=1e-6)
    np.testing.assert_allclose(compared.losses, -np.log(right[1]), atol=1e-4)
    s = compared.summary()
    assert s.kl == pytest.approx(divergence.mean(), rel=1e-2)
    assert s.kl_stderr == pytest.approx(divergence.std() / np.sqrt(len(divergence) - 1), rel=1e-2)
    assert s.changed_top == pytest.approx((p.argmax(-1) != q.argmax(-1)).mean())
    assert s.probability_change == pytest.approx((right[1] - right[0]).mean(), abs=1e-6)
    assert s.probability_change_rms == pytest.approx(np.sqrt(((right[1] - right[0]) ** 2).mean()), rel=1e-3)
    losses = -np.log(right[1]) + np.log(right[0])
    assert s.log_ratio == pytest.approx(losses.mean(), abs=1e-5)
    assert s.log_ratio_stderr == pytest.approx(losses.std() / np.sqrt(len(losses) - 1), rel=1e-3)
    assert s.perplexity == pytest.approx(perplexity(q4, tokenizer.encode(TEXT), CONTEXT, tokenizer.bos).value, rel=1e-5)
    assert s.perplexity - s.baseline == pytest.approx(s.difference)
    assert s.difference_stderr < s.stderr, "what both models share is taken out"


def test_scoring_may_start_earlier(demo, q4, compared):
    """The tokens of the second half are then scored as before, and those before them as well."""
    checkpoint, *_ = demo
    more = bench(checkpoint, {"king": TEXT}, CONTEXT, unscored=8).against(q4)["king"]
    rows = more.divergence.reshape(len(more.windows), CONTEXT - 8 - 1)
    half = rows[:, CONTEXT // 2 - 8 :]
    np.testing.assert_allclose(half.ravel(), compared.divergence, atol=1e-6)


def test_a_model_does_not_differ_from_itself(demo):
    _, model, _, windows = demo
    s = compare(model, baseline(model, windows)).summary()
    assert (s.kl_largest, s.changed_top, s.difference, s.probability_change_rms) == (0, 0, 0, 0)


def test_a_baseline_too_large_to_keep_is_made_again(demo, q4, compared, monkeypatch):
    monkeypatch.setattr(module, "HELD", 0)
    again = baseline(demo[1], demo[3])
    assert again.held is None
    np.testing.assert_array_equal(compare(q4, again).divergence, compared.divergence)


def test_the_worst_tokens_come_with_their_context(demo, compared):
    worst = worst_tokens(compared, demo[2], 3)
    assert [w.divergence for w in worst] == sorted(compared.divergence)[::-1][:3]
    assert all(w.before + w.right in TEXT for w in worst)


def test_texts_add_up(demo, q4):
    checkpoint, *_ = demo
    found = bench(checkpoint, {"a": TEXT, "b": TEXT.upper()}, CONTEXT).against(q4)
    total = together(list(found.values()))
    assert total.tokens == found["a"].tokens + found["b"].tokens == total.windows.targets.size
    assert total.kl[0] == pytest.approx(np.mean(np.concatenate([c.divergence for c in found.values()])))


def test_a_sweep_orders_recipes_and_is_kept(demo, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTLIB_CACHE", str(tmp_path))
    checkpoint, *_ = demo
    seen = []
    found = sweep(checkpoint, {"king": TEXT}, ["BF16", "Q8_0", "Q4_0"], CONTEXT, progress=lambda f, n: seen.append(n))
    assert seen == ["BF16", "Q8_0", "Q4_0", ""]
    assert found.of("BF16").total.kl == 0 < found.of("Q8_0").total.kl < found.of("Q4_0").total.kl
    assert [m.recipe for m in found.frontier()] == ["BF16", "Q8_0", "Q4_0"]
    assert found.of("Q4_0").nbytes == ql.plan(checkpoint, "Q4_0").nbytes
    assert Sweep.from_document(json.loads(json.dumps(found.document()))) == found
    monkeypatch.setattr("quantlib.lm.sweeping.bench", None)  # nothing is loaded to say it again
    assert sweep(checkpoint, {"king": TEXT}, ["BF16", "Q8_0", "Q4_0"], CONTEXT) == found
    with pytest.raises(TypeError):
        sweep(checkpoint, {"king": TEXT + "x"}, ["Q8_0"], CONTEXT)


@pytest.mark.parametrize("document", [{}, {"measured": [{}], "texts": []}, {"measured": 3, "texts": []}])
def test_a_stored_sweep_of_another_form_is_told(document):
    with pytest.raises(ql.CheckpointError, match="cannot be read"):
        Sweep.from_document(document)
