"""Activations: every figure by its definition, on values kept whole; the criteria on made-up outliers."""

import json

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import Tokenizer, activations, load

TEXT = "The old king looked out of the window and said that the sea was very quiet that night. " * 8
CONTEXT = 64


@pytest.fixture(scope="module")
def demo(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    tokenizer = Tokenizer.of(checkpoint)
    ids = np.array(tokenizer.encode(TEXT))
    rows = ids[: len(ids) // CONTEXT * CONTEXT].reshape(-1, CONTEXT).copy()
    rows[:, 0] = tokenizer.bos
    return load(checkpoint), ids, rows, tokenizer.bos


@pytest.fixture(scope="module")
def whole(demo):
    """All values, kept: inputs by name, the stream by layer."""
    model, _, rows, _ = demo
    inputs = {}
    stream = list(model.stream(rows, observe=lambda n, x: inputs.update({n: x.copy()})))
    return inputs, stream


def check(ranges, x, magnitude):
    np.testing.assert_allclose(ranges.low, x.min(0), rtol=1e-5)
    np.testing.assert_allclose(ranges.high, x.max(0), rtol=1e-5)
    np.testing.assert_allclose(ranges.rms, np.sqrt((x.astype(float) ** 2).mean(0)), rtol=1e-5)
    np.testing.assert_allclose(ranges.large, (np.abs(x) >= magnitude).mean(0), rtol=1e-6)
    np.testing.assert_allclose(ranges.peaks.ravel(), np.abs(x).max(1), rtol=1e-5)
    np.testing.assert_allclose(ranges.reach, np.abs(x).max(0), rtol=1e-5)
    assert ranges.median == pytest.approx(float(np.median(np.abs(x))), rel=1e-4)
    centred = x.astype(float) - x.mean(dtype=float)
    assert ranges.kurtosis == pytest.approx((centred**4).mean() / (centred**2).mean() ** 2, rel=1e-3)


def test_every_figure_is_what_its_definition_says(demo, whole):
    model, ids, _, bos = demo
    found = activations(model, ids, CONTEXT, bos, magnitude=2.5)
    inputs, stream = whole
    assert set(found.inputs) == {name for name in inputs if name.startswith("blk.")}
    for name, ranges in found.inputs.items():
        check(ranges, inputs[name], 2.5)
    for ranges, x in zip(found.stream, stream, strict=True):
        check(ranges, x, 2.5)
    read = [(f"blk.{i}.attn_q.weight", f"blk.{i}.ffn_gate.weight") for i in range(model.shape.layers)]
    large = np.array([[np.abs(inputs[name]) >= 2.5 for name in names] for names in read])  # (layers, 2, tokens, hidden)
    np.testing.assert_allclose(found.layer_share, large.any(axis=(1, 2)).mean(0))
    np.testing.assert_allclose(found.position_share, large.any(axis=(0, 1)).mean(0))


def test_an_outlier_channel_is_found_and_no_other(demo):
    """The normalization before attention makes one channel large in two of eight layers, which is just enough."""
    model, ids, _, bos = demo
    gains = {}
    for layer in range(model.shape.layers):
        name = f"blk.{layer}.attn_norm.weight"
        gains[name] = np.full(model.shape.hidden, 0.01, np.float32)
        gains[name.replace("attn", "ffn")] = gains[name].copy()
        if layer < 2:
            gains[name] = gains[name].copy()
            gains[name][37] = 1e4
    found = activations(model.replaced(gains), ids, CONTEXT, bos)
    assert found.outliers().tolist() == [37]
    assert found.layer_share[37] == 0.25
    assert found.outliers(layers=0.26).tolist() == []


def test_a_massive_first_token_is_seen(demo):
    model, ids, _, bos = demo
    table = model.weight("token_embd.weight").copy()
    table[bos, 11] = 5000.0
    found = activations(model.replaced({"token_embd.weight": table}), ids, CONTEXT, bos)
    assert found.massive()[0] == (0, 5000.0)
    assert found.stream[0].first_token > 100
    assert activations(model, ids, CONTEXT, bos).massive() == ()


def test_as_json(demo):
    model, ids, _, bos = demo
    found = activations(model, ids, CONTEXT, bos)
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert len(document["stream"]) == model.shape.layers + 1
    assert len(document["inputs"]["blk.0.ffn_down.weight"]["rms"]) == model.weight("blk.0.ffn_down.weight").shape[1]
