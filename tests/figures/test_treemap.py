"""Treemaps have areas as their sizes, show every tensor once, and say what decided it; parts spell the name."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantlib as ql
from quantlib import formats
from quantlib.figures import mixtures, treemap
from quantlib.fit import KNOWN
from quantlib.fit.published import LLAMA_3_8B_BPW
from quantlib.recipes import RECIPES
from quantlib.recipes.naming import parts

FALLING = st.lists(st.integers(1, 10**9), min_size=1, max_size=60).map(lambda sizes: sorted(sizes, reverse=True))


@settings(max_examples=60, deadline=None)
@given(FALLING)
def test_areas_are_as_the_sizes_and_fill_the_box(sizes):
    box = treemap.Box(0, 0, 960, 460)
    boxes = list(treemap.squarified(sizes, box))
    assert [b.area for b in boxes] == pytest.approx([s * box.area / sum(sizes) for s in sizes], rel=1e-6)
    for b in boxes:
        assert b.x >= -1e-6 and b.x + b.width <= 960 + 1e-6
        assert b.y >= -1e-6 and b.y + b.height <= 460 + 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12).map(lambda s: sorted(s, reverse=True)))
def test_boxes_do_not_overlap(sizes):
    boxes = list(treemap.squarified(sizes, treemap.Box(0, 0, 100, 60)))
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            across = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
            down = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
            assert min(across, down) < 1e-6


@pytest.fixture(scope="module")
def plan(demo_model):
    return ql.plan(ql.open_checkpoint(demo_model), "Q4_K_M")


def test_every_tensor_is_a_cell_with_its_reason(plan):
    svg = treemap.treemap_svg(plan, "a title")
    assert svg.count('class="cell') == len(plan.tensors)
    assert svg.count('data-part="mixture"') == sum(treemap.part_of(t, plan) == "mixture" for t in plan.tensors) > 1
    assert "every third layer" in svg


def test_names_from_files_are_text(plan):
    assert "<script" not in treemap.treemap_svg(plan, '"><script>alert(1)</script>')


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_parts_spell_the_name(recipe):
    found = parts(recipe)
    assert "_".join(["".join(p.text for p in found[:2]), *(p.text for p in found[2:])]) == recipe.name
    assert all(p.title and p.meaning for p in found)


def test_the_letter_is_about_tensors_and_not_about_scales():
    assert "nothing about how precise the scales are" in parts(RECIPES["Q3_K_L"])[-1].meaning


@pytest.mark.parametrize("recipe", ["Q4_K_M", "IQ3_XS", "Q8_0", "F16"])
def test_a_file_is_its_parts_to_the_byte(plan, recipe):
    plan = ql.plan(plan.checkpoint, recipe)
    rows = mixtures.by_format(plan)
    assert sum(row["bytes"] for row in rows) == plan.nbytes
    for row in rows[:-1]:
        assert row["blocks"] * row["bytes of a block"] == row["bytes"]
    assert rows[-1]["bytes"] > 0


@pytest.mark.parametrize("family", mixtures.FAMILIES)
def test_families_grow(family):
    checkpoint = KNOWN["Llama-3-8B"].checkpoint()
    plans = [ql.plan(checkpoint, name) for name in mixtures.FAMILIES[family]]
    sizes = [row["bytes"] for row in mixtures.comparison(plans)]
    assert sizes == sorted(sizes)
    svg = mixtures.mixtures_svg(plans)
    assert svg.count('class="cell"') == len(plans) * (7 * 32 + 2)
    changed = sum(
        a.target != b.target for x, y in itertools.pairwise(plans) for a, b in zip(x.tensors, y.tensors, strict=True)
    )
    assert len(re.findall("<circle", svg)) == changed > 0


@pytest.mark.parametrize("recipe", ["Q8_0", "Q6_K", "Q4_K_M", "IQ3_XXS", "IQ1_S", "TQ1_0"])
def test_a_bill_of_bits_adds_up_to_the_plan(recipe):
    plan = KNOWN["Llama-3-8B"].planned(recipe)
    found = mixtures.bill(plan)
    assert found.bpw == pytest.approx(plan.bpw)
    assert found.codes + found.scales == formats.get(plan.recipe.default).bpw
    assert min(found.codes, found.scales) > 0
    assert mixtures.bill_html(plan).count("bill-row") == 3


def test_a_shape_is_planned_with_the_matrix_that_its_recipe_needs():
    for recipe, bits in LLAMA_3_8B_BPW.items():
        assert KNOWN["Llama-3-8B"].planned(recipe).bpw == pytest.approx(bits, abs=0.002), recipe


def test_the_lessons_of_the_names_follow_from_the_recipes():
    bits, letters, mixture = mixtures.lessons()
    assert "4.9 bits" in bits and "Only Q8_0 and Q6_K" in bits
    for name in (name for name in RECIPES if "_K" in name):
        assert formats.get(RECIPES[name].default).values == 256, "K means super-blocks"
    for family in ("Q3_K", "Q4_K", "Q5_K"):
        assert len({RECIPES[name].default for name in mixtures.FAMILIES[family]}) == 1, "one format in all sizes"
    assert "K means super-blocks" in letters and "mixtures" in mixture
