"""The stored measurements are of the demo model and of the texts that ship with them."""

import json

import pytest

import quantlib as ql
from quantlib.figures.ladder import LADDER
from quantlib.lm import (
    CALIBRATION,
    EVALUATION,
    GENERATED,
    Sensitivity,
    Sweep,
    digest_of_model,
    digest_of_texts,
    read_texts,
)
from quantlib.lm.contest import BITS, Contest
from quantlib.lm.texts import ASSETS
from quantlib.recipes import RECIPES

KINDS = {
    "sweep.json": (Sweep, EVALUATION),
    "sensitivity.json": (Sensitivity, (CALIBRATION,)),
    "methods.json": (Contest, EVALUATION),
}


@pytest.fixture(scope="module", params=[name for name in KINDS if (ASSETS / "measurements" / name).exists()])
def stored(request):
    kind, texts = KINDS[request.param]
    document = json.loads((ASSETS / "measurements" / request.param).read_text(encoding="utf-8"))
    return kind.from_document(document), texts


def test_they_are_of_these_weights_and_texts(stored, demo_model):
    found, texts = stored
    assert found.model == digest_of_model(ql.open_checkpoint(demo_model)), "make them anew: assets/measurements"
    assert found.text == digest_of_texts(read_texts(texts))


def test_the_sweep_has_the_ladder_in_order():
    document = json.loads((ASSETS / "measurements" / "sweep.json").read_text(encoding="utf-8"))
    sweep = Sweep.from_document(document)
    assert {m.recipe for m in sweep.measured} <= set(RECIPES)
    losses = [sweep.of(name).total.kl for name in LADDER]
    assert losses == sorted(losses)


def test_the_comparison_of_methods_is_fair_and_in_the_order_of_bits():
    document = json.loads((ASSETS / "measurements" / "methods.json").read_text(encoding="utf-8"))
    found = Contest.from_document(document)
    assert found.calibration == digest_of_texts(read_texts([CALIBRATION, GENERATED])), (
        "make it anew: assets/measurements"
    )
    assert {m.bits for m in found.measured} == set(BITS)
    for bits in BITS:
        grouped = {
            m.bpw for m in found.at(bits) if m.family in ("round to nearest", "GPTQ", "AWQ") and "group" in m.method
        }
        assert len(grouped) == 1  # the same grids cost the same
    for family in {m.family for m in found.at(2)}:
        losses = [min(m.total.kl for m in found.at(bits) if m.family == family) for bits in BITS if bits <= 4]
        assert losses == sorted(losses)


def test_the_texts_are_as_long_as_promised():
    assert sum(path.stat().st_size for path in EVALUATION) >= 40_000
