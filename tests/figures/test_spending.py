"""Spend the budget: assignments are real plans, auto stays within the cap and is worth its bytes."""

import re
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib import formats
from quantlib.figures import spending
from quantlib.figures.runs import kind_of
from quantlib.lm import bench
from quantlib.recipes import FALLBACK

TEXT = {"text": "In the valley there was a mill, and the miller had a daughter who could count the stars. " * 40}


@pytest.fixture(scope="module")
def checkpoint(demo_model):
    return ql.open_checkpoint(demo_model)


@pytest.fixture(scope="module")
def standard(checkpoint):
    return ql.plan(checkpoint, "Q4_K_M")


@pytest.fixture(scope="module")
def base(checkpoint):
    return bench(checkpoint, TEXT, 128)


def test_kinds_cover_every_matrix(standard):
    found = spending.kinds(standard)
    assert [k.name for k in found][:2] == ["token_embd", "attn_q"]
    assert sum(k.weights for k in found) == sum(t.tensor.size for t in standard.tensors if len(t.shape) == 2)


def test_an_assignment_is_a_plan(checkpoint, standard):
    start = spending.of_recipe(standard)
    assert start["output"] == "Q6_K"
    assert start["ffn_down"] == "Q4_K", "a kind that the recipe mixes starts with its smaller format"
    assert spending.assigned(checkpoint, start).nbytes <= standard.nbytes
    plan = spending.assigned(checkpoint, start | {"attn_v": "Q8_0"})
    assert {t.target for t in plan.tensors if kind_of(t.name) == "attn_v"} == {"Q8_0"}


def test_the_recipe_has_a_hundred_and_what_is_over_the_cap_has_nothing():
    def entry(kl):
        return spending.Entry("", 1, None if kl is None else SimpleNamespace(kl=kl))

    assert [spending.score(entry(kl), entry(0.003)) for kl in (0.003, 0.006, 0.002, None)] == [100, 50, 150, 0]


def test_auto_keeps_the_cap_and_beats_its_coarsest_choice(base, standard, monkeypatch):
    monkeypatch.setattr(spending, "FORMATS", ("Q3_K", "Q5_K"))

    @cache
    def stored_as(kind, form):
        return spending.stored(base, spending.assigned(standard.checkpoint, {kind: form}), kind)

    plan = spending.automatic(base, standard, stored_as)
    assert plan.nbytes <= standard.nbytes
    names = [k.name for k in spending.kinds(standard)]
    mixed = {n: w for k in names for n, w in spending.stored(base, plan, k).items()}
    coarse = {n: w for k in names for n, w in stored_as(k, "Q3_K").items()}
    assert spending.judged(base, mixed).kl < spending.judged(base, coarse).kl / 2
    html = spending.ranking_html(
        [
            spending.Entry("coarse", 10, spending.judged(base, coarse)),
            spending.Entry("mixed", 20, spending.judged(base, mixed), own=True),
            spending.Entry("<script>", 30, None),
        ],
        cap=25,
    )
    assert html.index("mixed") < html.index("coarse") < html.index("over the cap")
    assert "<script" not in html
    assert max(float(w) for w in re.findall(r"width:([\d.]+)%", html)) == 100


def test_what_is_left_is_told():
    assert "1 MB left" in spending.budget_html(4_000_000, 5_000_000)
    assert "1 MB too much" in spending.budget_html(6_000_000, 5_000_000)


@pytest.mark.parametrize("form", spending.FORMATS)
def test_rows_that_256_does_not_divide_get_what_stands_in(tmp_path, form):
    rows = {"token_embd.weight": 192, "blk.0.ffn_down.weight": 320, "blk.0.attn_q.weight": 192, "output.weight": 192}
    save_file({name: np.zeros((4, n), np.float32) for name, n in rows.items()}, tmp_path / "odd.safetensors")
    odd = ql.open_checkpoint(tmp_path / "odd.safetensors")
    names = [kind.name for kind in spending.kinds(ql.plan(odd, "Q4_K_M"))]
    for tensor in spending.assigned(odd, dict.fromkeys(names, form)).tensors:
        assert tensor.target in (FALLBACK.get(form), form)
        assert tensor.shape[-1] % formats.get(tensor.target).values == 0
