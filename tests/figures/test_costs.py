"""Pictures of what a recipe costs: every scored token once, its numbers as measured; the tail ends at the worst."""

import re
from types import SimpleNamespace

import pytest

import quantlib as ql
from quantlib.figures import costs
from quantlib.lm import Tokenizer, applied, bench, worst_tokens
from quantlib.lm.sensing import PartLoss, Sensitivity

TEXTS = {"a": "The bell rang twice, and the children ran out into the yard & <b>shouted</b> for joy. " * 30}


@pytest.fixture(scope="module")
def checkpoint(demo_model):
    return ql.open_checkpoint(demo_model)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return Tokenizer.of(checkpoint)


@pytest.fixture(scope="module")
def found(checkpoint):
    base = bench(checkpoint, TEXTS, 64)
    return base.against(applied(base.model, ql.plan(checkpoint, "Q2_K")))["a"]


def test_a_passage_is_cut_into_whole_words(found, tokenizer):
    window = costs.liveliest(found)
    words = costs.words_of(found, tokenizer, window)
    scored = found.windows.targets.shape[1]
    assert [place for word in words for place in word.places] == list(range(window * scored, (window + 1) * scored))
    assert "".join(word.text for word in words) == tokenizer.decode(found.windows.targets[window].tolist())
    assert all(not any(c.isspace() for c in word.text.strip()) for word in words), "no two words in one"
    assert all(word.text[0].isspace() for word in words[1:] if not words[words.index(word) - 1].text[-1].isspace())
    total = sum(word.divergence for word in words)
    assert total == pytest.approx(float(found.divergence[window * scored : (window + 1) * scored].sum()))
    assert any(len(word.places) > 1 for word in words)


def test_a_passage_shows_every_word_as_text(found, tokenizer):
    window = costs.liveliest(found)
    html = costs.passage_html(found, tokenizer, window)
    words = costs.words_of(found, tokenizer, window)
    assert html.count("data-words") == len(words)
    assert html.count("token changed") == sum(word.changed for word in words) > 0
    assert "<b>" not in html
    shares = [float(s) for s in re.findall(r"([\d.]+)% before", html)]
    assert max(shares) <= 100


@pytest.mark.parametrize(("worst", "storm"), [(0.5, True), (0.2, False)])
def test_a_storm_in_the_tail_is_said_only_where_there_is_one(worst, storm):
    made = SimpleNamespace(kl=(0.04, 0), kl_percentile=lambda share: worst if share == 100 else 0.03)
    assert ("a storm in the tail" in costs.tail_words(made)) == storm


def test_the_tail_ends_at_the_worst(found):
    figure = costs.tail_figure(found)
    assert figure.data[0].y[-1] == pytest.approx(found.divergence.max())
    assert list(figure.data[0].y) == sorted(figure.data[0].y)


def test_rows_say_what_was_measured(found, tokenizer):
    rows = costs.worst_rows(worst_tokens(found, tokenizer, 3))
    assert len(rows) == 3
    assert rows[0]["KL, nats"] == pytest.approx(found.divergence.max())
    register = costs.register_rows({"a": found})[0]
    assert register["tokens"] == found.tokens
    assert costs.tokens_csv(found, tokenizer).count("\n") == found.tokens + 1


def test_every_tensor_is_on_the_map_and_the_worst_is_deepest():
    names = ["token_embd.weight", "blk.0.attn_v.weight", "blk.1.attn_v.weight", "output.weight"]
    parts = tuple(PartLoss(n, (n,), 1000, kl, 0.0, 0.01, 0.0, 0.0) for n, kl in zip(names, (1, 2, 3, 4), strict=True))
    svg = costs.sensitivity_svg(Sensitivity("m", "", "", ("a",), 64, "Q2_K", "tensor", "", parts))
    assert svg.count("data-words") == 4
    assert re.search(r'--depth:1.000" data-words="output.weight', svg)
