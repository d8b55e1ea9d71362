"""Side information is used, or its absence is said: before the run, with figures and names."""

import numpy as np
import pytest
from small_model import model_weights, write_model

import quantlib as ql
from quantlib.checkpoints import ImportanceMatrix
from quantlib.recipes import Overrides, TensorRule

MATRICES = [f"blk.{i}.{kind}.weight" for i in range(2) for kind in
            ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")]  # fmt: skip
LAST = "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("coverage") / "model"
    write_model(path, model_weights())
    return path


def matrix(names=MATRICES, fill=lambda n: np.linspace(0.1, 2, n, dtype=np.float32)) -> ImportanceMatrix:
    wide = {True: 512, False: 256}
    return ImportanceMatrix("m.gguf", {name: fill(wide["ffn_down" in name])[None] for name in names})


def zeros(n: int) -> np.ndarray:
    return np.zeros(n, np.float32)


def written(plan: ql.Plan, path) -> bytes:
    ql.run(plan, path)
    return path.read_bytes()


def notes(plan: ql.Plan) -> str:
    return " ".join(plan.warnings)


def test_a_whole_matrix_needs_no_note(folder):
    with ql.open_checkpoint(folder) as source:
        assert not ql.plan(source, "Q4_K_M", matrix()).warnings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (matrix([name.replace("blk.", "model.layers.") for name in MATRICES]), "matches 0 of 14 tensors"),
        (matrix(fill=zeros), "matches 0 of 14 tensors"),
    ],
    ids=["other names", "all zero"],
)
def test_a_matrix_that_says_nothing_is_no_matrix(folder, tmp_path, given, said):
    with ql.open_checkpoint(folder) as source:
        plan = ql.plan(source, "Q4_K_M", given)
        assert said in notes(plan) and "not used" in notes(plan)
        assert not any(key.startswith("quantize.imatrix") for key in plan.metadata)
        assert written(plan, tmp_path / "a.gguf") == written(ql.plan(source, "Q4_K_M"), tmp_path / "b.gguf")
        useless = ql.plan(source, "IQ2_XS", given)
        with pytest.raises(ql.RecipeError, match=r"m\.gguf has none"):
            ql.run(useless, tmp_path / "c.gguf")


@pytest.mark.parametrize("zero", [False, True])
def test_what_one_tensor_lacks_is_named(folder, tmp_path, zero):
    some = [name for name in MATRICES if name != LAST]
    given = matrix(some)
    if zero:
        given = ImportanceMatrix("m.gguf", given.entries | matrix([LAST], zeros).entries)
    with ql.open_checkpoint(folder) as source:
        plan = ql.plan(source, "Q4_K_M", given)
        assert "matches 13 of 14 tensors" in notes(plan) and LAST in notes(plan)
        result = ql.run(plan, tmp_path / "o.gguf")
        assert all(t.loss.relative < 0.2 for t in result.tensors)
        useless = ql.plan(source, "IQ2_XS", given)
        assert useless.lacking == (LAST,)
        with pytest.raises(ql.RecipeError, match=LAST):
            ql.run(useless, tmp_path / "p.gguf")


def test_an_override_that_needs_importance_is_refused_before_the_run(folder, tmp_path):
    with ql.open_checkpoint(folder) as source:
        plan = ql.plan(source, "Q4_K_M", overrides=Overrides(rules=(TensorRule("IQ1_S", "attn_q"),)))
        assert set(plan.lacking) == {"blk.0.attn_q.weight", "blk.1.attn_q.weight"}
        with pytest.raises(ql.RecipeError, match="importance matrix"):
            ql.run(plan, tmp_path / "o.gguf")


def test_formats_that_ignore_importance_ask_for_none(folder):
    with ql.open_checkpoint(folder) as source:
        assert not ql.plan(source, "Q8_0", matrix(MATRICES[:1])).warnings


def test_a_rule_that_fits_nothing_is_said(folder):
    rules = (TensorRule("Q6_K", "attn_v"), TensorRule("Q6_K", "attention_value"))
    with ql.open_checkpoint(folder) as source:
        found = ql.plan(source, "Q4_K_M", overrides=Overrides(rules=rules)).warnings
    assert [note for note in found if "attention_value=Q6_K" in note]
    assert "attn_v=Q6_K" not in " ".join(found)
