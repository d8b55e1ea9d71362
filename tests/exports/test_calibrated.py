"""Exports whose codes a text decides: read back, they are the model that the method left, scales folded."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import quantlib as ql
from quantlib.errors import MethodError
from quantlib.exports import CALIBRATED, SCHEMES, export, prepare
from quantlib.exports.linears import linears_of
from quantlib.lm import Tokenizer, load
from quantlib.lm.windows import Windows, cut


@pytest.fixture(scope="module")
def source(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


@pytest.fixture(scope="module")
def model(source):
    return load(source)


@pytest.fixture(scope="module")
def windows(source, model):
    text = (source.source.parent / "calibration" / "mixed.txt").read_text(encoding="utf-8")
    tokenizer = Tokenizer.of(source)
    whole = cut(model, tokenizer.encode(text), 256, tokenizer.bos)
    return Windows(whole.tokens[:8], whole.bos)


@pytest.fixture(scope="module")
def prepared_of(source, model, windows):
    """prepared_of(scheme): what a scheme prepares, once, and what each stored matrix is decoded to, in order."""

    @cache
    def of(scheme):
        decoded = []

        def store(*arguments):
            kept = scheme.store(*arguments)
            decoded.append(kept.decoded)
            return kept

        return prepare(source, replace(scheme, store=store), model, windows), decoded

    return of


@pytest.mark.parametrize("scheme", CALIBRATED, ids=lambda s: s.name)
def test_the_folder_holds_the_model_that_the_method_left(source, model, windows, prepared_of, tmp_path, scheme):
    prepared, decoded = prepared_of(scheme)
    result = export(source, tmp_path / "out", scheme, prepared)
    linears = linears_of(source)
    assert {f"{layer.module}.weight" for layer in result.layers} == set(linears)
    with ql.open_checkpoint(tmp_path / "out") as written:
        for name, values in zip(prepared.matrices, decoded, strict=True):
            np.testing.assert_array_equal(written.tensors[name].rows(), values)
        tokens = windows.tokens[0][:64]
        before, after = model(tokens), load(written)(tokens)
    # Folding moves scales, not meaning: what is left is the rounding of codes and of norms to 16 bits.
    error = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert error < (0.02 if scheme.name == "w8a8" else 0.2)


@pytest.mark.parametrize("scheme", [s for s in CALIBRATED if s.folds], ids=lambda s: s.name)
def test_folded_scales_cancel(source, model, prepared_of, scheme):
    """Before rounding the folded model computes what the original does."""
    prepared, _ = prepared_of(scheme)
    norms = {f"blk.{n}.{kind}": array for n, kind, array in _norms(prepared)}
    wanted = {linear.gguf: prepared.folding.folded(linear) for linear in linears_of(source).values()}
    for layer in range(model.shape.layers):
        w = f"blk.{layer}."
        for norm, readers in (("attn_norm", ("attn_v",)), ("ffn_norm", ("ffn_gate", "ffn_up"))):
            folded = norms[w + norm]
            for reader in readers:
                rows = wanted[w + "ffn_down.weight"] / model.weight(w + "ffn_down.weight") if reader == "ffn_up" else 1
                product = folded * wanted[f"{w}{reader}.weight"]
                product = product * np.reshape(rows[0] if reader == "ffn_up" else 1, (-1, 1))
                original = model.weight(f"{w}{norm}.weight") * model.weight(f"{w}{reader}.weight")
                np.testing.assert_allclose(product, original, rtol=2**-7)  # norms are stored in BF16


def _norms(prepared):
    for name, array in prepared.replaced.items():
        _, _, layer, kind, _ = name.split(".")
        short = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}[kind]
        yield int(layer), short, array.astype(np.float32)


def test_a_text_that_is_too_short(source, model, windows):
    with pytest.raises(MethodError, match="calibration text"):
        prepare(source, SCHEMES["gptq"], model, Windows(windows.tokens[:1], windows.bos))
