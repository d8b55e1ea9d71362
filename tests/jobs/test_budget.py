"""Budgets: within their size, never worse than a recipe that fits, at best where that can be computed."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import model_weights, write_model

import quantlib as ql
from quantlib.jobs import measuring
from quantlib.jobs.budgeting import UNCERTAIN
from quantlib.recipes import RECIPES, Overrides, TensorRule
from quantlib.recipes.budget import Budget, Option, hull, parse_budget, spend


@pytest.fixture(scope="module")
def source(demo_model):
    return ql.open_checkpoint(demo_model)


FAST = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "FP16", "IQ4_XS", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL")


@pytest.fixture(scope="module")
def measured(source):
    return ql.measure(source, candidates=FAST)


def cost(plan: ql.Plan, measured) -> float:
    table = {(m.name, m.format): m.cost for m in measured}
    return sum(table.get((t.name, t.target), 0.0) for t in plan.tensors)


@pytest.mark.parametrize(
    ("text", "bpw", "nbytes"),
    [("auto:4.5bpw", 4.5, None), ("AUTO:6GB", None, 6 * 10**9), ("auto:1.5 GiB", None, 3 * 2**29),
     ("auto:700b", None, 700)],
)  # fmt: skip
def test_budgets_are_read(text, bpw, nbytes):
    assert parse_budget(text) == Budget(text, bpw, nbytes)


@pytest.mark.parametrize("text", ["auto:", "auto:4.5", "auto:-1bpw", "auto:0bpw", "auto:4,5bpw", "auto:6XB", "4bpw"])
def test_other_texts_are_none(text):
    with pytest.raises(ql.RecipeError, match="is no budget"):
        parse_budget(text)


@pytest.mark.parametrize("bpw", [3, 4.5, 6, 8.6])
def test_a_budget_in_bits_is_kept_and_nearly_spent(source, measured, bpw):
    plan = ql.plan(source, f"auto:{bpw}bpw", measured=measured)
    assert bpw - 0.1 < plan.bpw <= bpw
    assert all(t.reason for t in plan.tensors)


@pytest.mark.parametrize("nbytes", [4_000_000, 5_000_000, 9_000_001])
def test_a_budget_in_bytes_is_the_whole_file(source, measured, nbytes, tmp_path):
    plan = ql.plan(source, f"auto:{nbytes}B", measured=measured)
    assert 0.98 * nbytes < plan.nbytes <= nbytes
    if nbytes == 4_000_000:
        assert ql.run(plan, tmp_path / "o.gguf").nbytes == (tmp_path / "o.gguf").stat().st_size == plan.nbytes


@pytest.mark.parametrize("unit", ["bpw", "bytes"])
@pytest.mark.parametrize("recipe", [name for name, r in RECIPES.items() if r.quantizes and r.formats <= set(FAST)])
def test_never_worse_than_a_recipe_of_the_same_size(source, measured, recipe, unit):
    standard = ql.plan(source, recipe)
    budget = Budget("same", bpw=standard.bpw) if unit == "bpw" else Budget("same", nbytes=standard.nbytes)
    plan = ql.plan(source, budget, measured=measured)
    assert plan.nbytes <= standard.nbytes
    assert cost(plan, measured) <= cost(standard, measured) * (1 + 1e-12)


def test_more_budget_costs_no_more(source, measured):
    plans = [ql.plan(source, Budget("b", bpw=b), measured=measured) for b in np.arange(3, 9, 0.5)]
    costs = [cost(plan, measured) for plan in plans]
    assert all(b * (1 - UNCERTAIN) <= a for a, b in itertools.pairwise(costs))  # smaller gains over a recipe are left


def test_sensitive_tensors_get_more(source, measured):
    name = "blk.3.ffn_gate.weight"
    usual = {m.name: m.sensitivity for m in measured}
    sensitive = ql.measure(source, sensitivity=usual | {name: 100 * usual[name]}, candidates=FAST)
    before, after = (
        {t.name: t.nbytes for t in ql.plan(source, "auto:4bpw", measured=table).tensors}
        for table in (measured, sensitive)
    )
    assert after[name] > before[name]


def test_sensitivities_are_in_the_unit_of_those_given(source):
    given = {"blk.0.attn_q.weight": 3e-3, "blk.1.attn_q.weight": 1e-3}
    found = {m.name: m.sensitivity for m in ql.measure(source, sensitivity=given, candidates=())}
    assert given.items() <= found.items()
    assert found["blk.2.attn_q.weight"] == pytest.approx(2e-3)
    assert found["output.weight"] / found["token_embd.weight"] == 4


def test_an_importance_matrix_steers_what_is_measured(source):
    names = [t.name for t in ql.plan(source, "Q8_0").tensors if len(t.shape) == 2]
    rng = np.random.default_rng(0)
    shapes = {t.name: t.shape for t in ql.plan(source, "Q8_0").tensors}
    entries = {name: rng.gamma(0.3, size=(1, shapes[name][-1])).astype(np.float32) for name in names}
    table = ql.measure(source, measuring.ImportanceMatrix("made up", entries), candidates=("Q2_K", "IQ2_XXS"))
    plain = ql.measure(source, candidates=("Q2_K", "IQ2_XXS"))
    assert {m.format for m in plain} == {"BF16", "Q2_K"}
    assert {m.format for m in table} == {"BF16", "Q2_K", "IQ2_XXS"}
    assert {m.relative_error for m in table} != {m.relative_error for m in plain}


def test_what_is_measured_is_what_a_run_loses(tmp_path):
    """On tensors that the sample covers whole, the table's error is that of the file."""
    write_model(tmp_path / "model", model_weights())
    source = ql.open_checkpoint(tmp_path / "model")
    table = {(m.name, m.format): m.relative_error for m in ql.measure(source, candidates=("Q4_K", "Q6_K"))}
    result = ql.run(ql.plan(source, "Q4_K_M"), tmp_path / "o.gguf")
    small = [t for t in result.tensors if len(t.shape) == 2 and np.prod(t.shape) <= measuring.SAMPLE_WEIGHTS]
    assert small
    for t in small:
        assert table[t.name, t.target] == pytest.approx(t.loss.relative)


def test_wishes_come_before_the_budget(source, measured):
    wishes = Overrides(output="Q8_0", rules=(TensorRule("Q6_K", r"blk\.0\."),))
    plan = ql.plan(source, "auto:4.5bpw", overrides=wishes, measured=measured)
    targets = {t.name: t.target for t in plan.tensors}
    assert targets["output.weight"] == "Q8_0"
    assert {targets[n] for n in targets if re.match(r"blk\.0\.(attn_[qkv]|ffn_(up|down|gate))\.", n)} == {"Q6_K"}
    assert plan.bpw <= 4.5


def test_impossible_budgets_are_told(source, measured):
    with pytest.raises(ql.RecipeError, match="too small for this model by"):
        ql.plan(source, "auto:1bpw", measured=measured)
    with pytest.raises(ql.RecipeError, match="pure"):
        ql.plan(source, "auto:4bpw", pure=True, measured=measured)


def test_more_than_enough_changes_nothing(source, measured):
    plan = ql.plan(source, "auto:40bpw", measured=measured)
    assert all(t.copied or t.target == "FP32" for t in plan.tensors)


OPTIONS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 50)).map(lambda o: Option("F", o[0], float(o[1]))),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(st.lists(OPTIONS, min_size=1, max_size=4), st.integers(0, 130))
def test_spending_is_close_to_the_best_there_is(tensors, capacity):
    """Against all combinations: what the hull cannot see costs at most the largest single step."""
    options = {str(i): choices for i, choices in enumerate(tensors)}
    possible = [c for c in itertools.product(*tensors) if sum(o.nbytes for o in c) <= capacity]
    chosen = spend(options, capacity)
    assert (chosen is None) == (not possible)
    if chosen is None:
        return
    assert sum(o.nbytes for o in chosen.values()) <= capacity
    best = min(sum(o.cost for o in c) for c in possible)
    largest_step = max(max(o.cost for o in choices) - min(o.cost for o in choices) for choices in tensors)
    assert best <= sum(o.cost for o in chosen.values()) <= best + largest_step


@given(OPTIONS)
def test_the_hull_is_convex_and_below(options):
    kept = hull(options)
    slopes = [(b.cost - a.cost) / (b.nbytes - a.nbytes) for a, b in itertools.pairwise(kept)]
    assert slopes == sorted(slopes)
    assert all(slope < 0 for slope in slopes)
    assert kept[-1].cost == min(o.cost for o in options)
    assert kept[0].nbytes == min(o.nbytes for o in options)


def test_the_demo_models_plan_names_its_budget(demo_model: Path, measured, source):
    plan = ql.plan(source, "auto:4.5bpw", measured=measured)
    assert plan.recipe.name == "auto:4.5bpw"
    assert plan.metadata["general.file_type"].value in {r.file_type for r in RECIPES.values()}


def test_a_format_that_cannot_store_a_tensor_is_no_candidate_for_it(tmp_path):
    weights = model_weights()
    weights["model.layers.0.mlp.down_proj.weight"] *= 1e9
    write_model(tmp_path / "model", weights)
    with ql.open_checkpoint(tmp_path / "model") as checkpoint:
        found = ql.measure(checkpoint, candidates=["Q4_0", "Q8_0", "BF16"])
    formats = {m.format for m in found if m.name == "blk.0.ffn_down.weight"}
    assert formats == {"FP32", "BF16"}
    assert {m.format for m in found if m.name == "blk.0.ffn_up.weight"} == {"FP32", "BF16", "Q4_0", "Q8_0"}
