"""A run knows what each format should lose, and names the tensors that lost far more."""

import numpy as np
import pytest
from small_model import model_weights, write_model

import quantlib as ql
from quantlib import formats
from quantlib.jobs.expected import TYPICAL, limit, outlier
from quantlib.metrics import compare

STORABLE = [f.name for f in formats.FORMATS.values() if f.ggml_type is not None and f.kind != "activation"]
RNG = np.random.default_rng(0)
DRAWN = {
    "normal": RNG.standard_normal((16, 1024), np.float32),
    "laplace": RNG.laplace(size=(16, 1024)).astype(np.float32),
    "heavy tails": RNG.standard_t(3, (16, 1024)).astype(np.float32),
}
IMPORTANCE = RNG.standard_gamma(0.4, 1024).astype(np.float32) + np.float32(1e-6)


def stored(name: str, x: np.ndarray) -> np.ndarray:
    form = formats.get(name)
    return form.dequantize(form.quantize(x, IMPORTANCE) if form.kind == "block" else form.quantize(x))


@pytest.mark.parametrize("name", STORABLE)
def test_the_typical_error_is_that_of_the_format(name):
    measured = max(compare(DRAWN[kind], stored(name, DRAWN[kind])).relative for kind in ("normal", "laplace"))
    assert measured <= 1.06 * TYPICAL[name]
    assert measured >= 0.7 * TYPICAL[name] or name == "FP32"


@pytest.mark.parametrize("name", STORABLE)
@pytest.mark.parametrize("kind", DRAWN)
def test_correct_weights_pass_and_wrong_ones_do_not(name, kind):
    x = DRAWN[kind]
    y = stored(name, x)
    assert outlier("w", name, compare(x, y)) is None
    for wrong in (np.zeros_like(y), np.roll(y, 1, axis=0), 2.5 * y, -y):
        assert outlier("w", name, compare(x, wrong)) is not None


@pytest.mark.parametrize("name", STORABLE)
def test_no_limit_lets_zeros_pass(name):
    assert TYPICAL[name] < limit(name) < 1


def test_a_run_names_the_tensors(tmp_path, monkeypatch):
    write_model(tmp_path / "model", model_weights())
    with ql.open_checkpoint(tmp_path / "model") as source:
        plan = ql.plan(source, "Q4_K_M")
        assert ql.run(plan, tmp_path / "right.gguf").outliers == ()
        whole = type(formats.get("Q4_K")).quantize

        def shuffled(self, x, importance=None, effort="standard"):
            return whole(self, np.roll(x, 1, axis=0) if self.name == "Q4_K" else x, importance, effort)

        monkeypatch.setattr(type(formats.get("Q4_K")), "quantize", shuffled)
        result = ql.run(plan, tmp_path / "wrong.gguf")
    assert {o.name for o in result.outliers} == {t.name for t in plan.tensors if t.target == "Q4_K"}
