"""A plan with effort="best": the same size, blocks with a lower error, everything else as without."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_model import model_weights, write_model

import quantlib as ql
from quantlib import formats
from quantlib.checkpoints import ImportanceMatrix
from quantlib.cli import main
from quantlib.lm.applied import read_back

IMPROVED = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("effort") / "model"
    write_model(path, model_weights())
    return path


@pytest.fixture(scope="module")
def imatrix(folder) -> ImportanceMatrix:
    rng = np.random.default_rng(5)
    tensors = ql.plan(ql.open_checkpoint(folder), "Q8_0").tensors
    return ImportanceMatrix("drawn", {t.name: rng.random((1, t.shape[-1]), np.float32) for t in tensors})


def written(plan: ql.Plan, out: Path) -> dict[str, np.ndarray]:
    """The bytes of each tensor in the file of a plan."""
    ql.run(plan, out)
    with ql.open_checkpoint(out) as checkpoint:
        return {name: np.array(tensor.raw()) for name, tensor in checkpoint.tensors.items()}


def weighted_error(planned, data: np.ndarray) -> float:
    x = planned.tensor.rows().astype(float)
    miss = (formats.get(planned.target).dequantize(data) - x) ** 2
    return float(np.sum(miss if planned.importance is None else planned.importance * miss))


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q3_K_M"])
@pytest.mark.parametrize("weighed", [False, True], ids=["plain", "weighed"])
def test_k_quants_get_better_in_the_same_size(folder, imatrix, tmp_path, recipe, weighed):
    with ql.open_checkpoint(folder) as source:
        given = imatrix if weighed else None
        plan, best = ql.plan(source, recipe, given), ql.plan(source, recipe, given, effort="best")
        assert (plan.effort, best.effort, best.nbytes) == ("standard", "best", plan.nbytes)
        before, after = written(plan, tmp_path / "standard.gguf"), written(best, tmp_path / "best.gguf")
        assert (tmp_path / "best.gguf").stat().st_size == (tmp_path / "standard.gguf").stat().st_size
        assert {t.target for t in plan.tensors} & IMPROVED
        for planned in plan.tensors:
            name = planned.name
            if planned.target in IMPROVED:
                assert weighted_error(planned, after[name]) < weighted_error(planned, before[name]), name
            else:
                assert np.array_equal(after[name], before[name])
            if not planned.copied:
                x, importance = planned.tensor.rows(), planned.importance_of(0)
                standard = formats.get(planned.target).quantize(x, importance)
                assert np.array_equal(before[name], standard.reshape(before[name].shape))
                seen = read_back([t for t in best.tensors if t.name == name], lambda _, x=x: x)[name]
                assert np.array_equal(seen, formats.get(planned.target).dequantize(after[name]).reshape(seen.shape))


def test_a_budget_measures_with_its_effort(folder):
    with ql.open_checkpoint(folder) as source:
        standard, best = (ql.measure(source, candidates=["Q4_K", "Q8_0"], effort=e) for e in formats.EFFORTS)
    for before, after in zip(standard, best, strict=True):
        lower = after.relative_error < before.relative_error
        assert lower if before.format in IMPROVED else after == before


def test_the_command_passes_it_on_and_others_are_refused(folder, capsys):
    assert main(["quantize", str(folder), "out.gguf", "--effort", "best", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["effort"] == "best"
    assert main(["quantize", str(folder), "out.gguf", "--effort", "best", "--method", "gptq", "--text", "t.txt"]) == 1
    assert "--effort does not go with --method" in capsys.readouterr().err
    with ql.open_checkpoint(folder) as source, pytest.raises(ql.RecipeError, match="is standard or best, not 'more'"):
        ql.plan(source, "Q4_K_M", effort="more")
