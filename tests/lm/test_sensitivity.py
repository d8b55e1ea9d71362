"""One part quantized at a time: what is reported is what a model with that part alone changed loses."""

import json

import pytest

import quantlib as ql
from quantlib import formats
from quantlib.lm import PARTS, Sensitivity, Tokenizer, baseline, compare, cut_texts, load, sensitivity

TEXTS = {"king": "The old king looked out of the window and said that the sea was very quiet that night. " * 6}
CONTEXT = 48


@pytest.fixture(scope="module")
def checkpoint(demo_model):
    return ql.open_checkpoint(demo_model)


@pytest.fixture
def found(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTLIB_CACHE", str(tmp_path))
    return sensitivity(checkpoint, TEXTS, "Q4_0", "kind", CONTEXT)


def test_each_part_is_measured_alone(checkpoint, found):
    model, form = load(checkpoint), formats.get("Q4_0")
    base = baseline(model, cut_texts(model, Tokenizer.of(checkpoint), TEXTS, CONTEXT)["king"])
    part = next(p for p in found.parts if p.part == "attn_v.weight")
    assert part.tensors == tuple(f"blk.{i}.attn_v.weight" for i in range(model.shape.layers))
    weights = {name: model.weight(name) for name in part.tensors}
    assert part.weights == sum(w.size for w in weights.values())
    changed = {name: form.dequantize(form.quantize(w)) for name, w in weights.items()}
    expected = compare(model.replaced(changed), base).summary()
    assert part.kl == pytest.approx(expected.kl)
    assert part.difference == pytest.approx(expected.difference)


def test_all_matrices_are_in_some_part_and_no_other_tensor(checkpoint, found, monkeypatch):
    matrices = {n for n, w in load(checkpoint).weights.items() if w.ndim == 2}
    assert {t for p in found.parts for t in p.tensors} == matrices
    assert max(p.kl for p in found.parts) > 0
    assert Sensitivity.from_document(json.loads(json.dumps(found.document()))) == found
    monkeypatch.setattr("quantlib.lm.sensing.bench", None)  # what is kept is not measured again
    assert sensitivity(checkpoint, TEXTS, "Q4_0", "kind", CONTEXT) == found


@pytest.mark.parametrize(
    ("by", "name", "part"),
    [("tensor", "blk.3.ffn_up.weight", "blk.3.ffn_up.weight"), ("layer", "blk.3.ffn_up.weight", "layer 3"),
     ("kind", "blk.3.ffn_up.weight", "ffn_up.weight"), ("layer", "output.weight", "output.weight"),
     ("kind", "output.weight", "output.weight")],
)  # fmt: skip
def test_parts(by, name, part):
    assert PARTS[by](name) == part


def test_another_form_is_told():
    with pytest.raises(ql.CheckpointError, match="cannot be read"):
        Sensitivity.from_document({"parts": [{}]})
