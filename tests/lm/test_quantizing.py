"""Whole models by any method: order, the quantized prefix, what is measured, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

import quantlib as ql
from quantlib.errors import CheckpointError, FormatError, MethodError
from quantlib.lm import Tokenizer, load
from quantlib.lm.quantizing import calibration_notes, output_errors, quantize_layers, quantized
from quantlib.lm.windows import cut
from quantlib.methods.catalogue import activation_aware, compared, gptq_groups, nearest
from quantlib.methods.hessian import Gram

MATRICES = {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}


@pytest.fixture(scope="module")
def setting(demo_model):
    """The first two layers of the demo model, and windows of a text."""
    with ql.open_checkpoint(demo_model) as checkpoint:
        model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    model = replace(model, shape=replace(model.shape, layers=2))
    text = (demo_model.parent / "evaluation" / "story.txt").read_text(encoding="utf-8")
    tokens = (tokenizer.encode(text) * 4)[: 128 * 16]
    return model, cut(model, tokens, 128, tokenizer.bos)


@pytest.mark.parametrize("method", list(compared(4)), ids=lambda m: m.name)
def test_every_method_takes_a_whole_model(setting, method):
    model, windows = setting
    seen: list[float] = []
    layers = list(quantize_layers(model, windows, method, seen.append))
    assert seen == sorted(seen) and {0.5, 1.0} <= set(seen)
    for i, layer in enumerate(layers):
        assert set(layer.chosen) == {f"blk.{i}.{part}.weight" for part in MATRICES}
        for name, chosen in layer.chosen.items():
            weight = model.weight(name)
            assert 4 <= chosen.bpw < 5
            assert np.linalg.norm(chosen.decoded - weight) < 0.4 * np.linalg.norm(weight)


def test_a_layer_is_calibrated_behind_the_quantized_ones(setting):
    model, windows = setting
    first, second = quantize_layers(model, windows, gptq_groups(3, 64))
    behind = model.replaced(first.decoded)
    for which, layer in ((model, first), (behind, second)):
        wanted: dict[str, Gram] = {}

        def observe(name, x, wanted=wanted):
            wanted.setdefault(name, Gram(x.shape[-1])).add(x)

        for some in windows.batches():
            which.hidden(windows.shown(some), observe=observe)
        for name, gram in layer.inputs.items():
            assert gram.tokens == 128 * 16
            assert np.allclose(gram.products, wanted[name].products, rtol=1e-3, atol=1e-3 * gram.products.max())
    names = [f"blk.0.attn_{part}.weight" for part in "qkv"]
    assert len({id(first.inputs[name]) for name in names}) == 1


def test_scales_stay_away_from_inputs_that_cannot_take_them(setting):
    """The demo model's heads share values, so AWQ only clips the matrix behind them."""
    model, windows = setting
    layer = next(quantize_layers(model, windows, activation_aware(3, 64)))
    scaled = {n.split(".")[2]: not (c.result.scales == 1).all() for n, c in layer.chosen.items()}
    assert scaled == {part: part != "attn_output" for part in MATRICES}
    assert layer.chosen["blk.0.attn_q.weight"].result is layer.chosen["blk.0.attn_k.weight"].result


def test_methods_may_differ_by_matrix(setting):
    model, windows = setting
    up, down = "blk.0.ffn_up.weight", "blk.1.ffn_down.weight"
    first, second = quantize_layers(model, windows, {up: nearest(2), down: gptq_groups(8, 64)})
    assert set(first.chosen) == {up} and set(second.chosen) == {down}


def test_gptq_leaves_a_smaller_error_than_rounding(setting):
    model, windows = setting
    found = {}
    for method in (nearest(3, 64), gptq_groups(3, 64)):
        changed, bpw = quantized(model, windows, method)
        assert bpw == pytest.approx(3 + (16 + 3) / 64)
        found[method.family] = output_errors(model, changed, windows)
    for name in found["GPTQ"]:
        if name.startswith("blk.0"):
            assert found["GPTQ"][name] < found["round to nearest"][name]
    assert not any(output_errors(model, model, windows).values())


def test_what_cannot_be_done_is_said(setting):
    model, windows = setting
    short = replace(windows, tokens=windows.tokens[:7])
    with pytest.raises(MethodError, match=r"has 896 tokens in whole windows of 128; it needs 1,024"):
        next(quantize_layers(model, short, gptq_groups(4, 64)))
    (note,) = calibration_notes(model, replace(windows, tokens=windows.tokens[:4]))
    assert "512 tokens, fewer than the 768 inputs of blk." in note
    assert calibration_notes(model, windows) == ()
    with pytest.raises(MethodError, match=r"blk.0.attn_q.weight: Groups of 96 do not divide a layer of 256 inputs"):
        next(quantize_layers(model, windows, gptq_groups(4, 96)))
    name = "blk.1.ffn_up.weight"
    spoiled = model.replaced({name: np.full_like(model.weight(name), np.nan)})
    layers = quantize_layers(spoiled, windows, nearest(4, 64))
    next(layers)
    with pytest.raises(FormatError, match=r"blk.1.ffn_up.weight: INT4 asymmetric cannot store NaN"):
        next(layers)
    lacking = replace(model, weights={n: w for n, w in model.weights.items() if n != name})
    with pytest.raises(CheckpointError, match=r"The model has no tensor blk.1.ffn_up.weight"):
        list(quantize_layers(lacking, windows, gptq_groups(4, 64)))
