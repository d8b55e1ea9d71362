"""A finished file as a recipe for others, and what is said where rows do not divide into a recipe's blocks."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.checkpoints import gguf_view
from quantlib.jobs.likeness import recipe_like, recipe_of_file
from quantlib.jobs.standing_in import fitting_recipes, stand_in_words
from quantlib.recipes.user import read_recipe, recipe_text

MIXTURES = ("Q2_K", "Q3_K_L", "Q4_K_M", "Q5_0", "IQ4_XS", "Q6_K", "Q8_0")


@pytest.fixture(scope="module")
def demo(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


def planned_view(plan: ql.Plan) -> ql.Checkpoint:
    """What opening the plan's file would give, without writing it."""
    tensors = {t.name: replace(t.tensor, format=t.target, nbytes=t.nbytes) for t in plan.tensors}
    return replace(gguf_view(plan.checkpoint), kind="gguf", metadata=plan.metadata, tensors=tensors)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_same_model_gets_the_same_mixture(demo, tmp_path, name):
    wanted = ql.plan(demo, name)
    file = tmp_path / "like.toml"
    file.write_text(recipe_text(recipe_like(planned_view(wanted))))
    assert read_recipe(file).base == name
    got = ql.plan(demo, file)
    assert {t.name: t.target for t in got.tensors} == {t.name: t.target for t in wanted.tensors}
    assert got.nbytes == wanted.nbytes


def test_a_mixture_of_somebody_s_own_is_taken_over(demo, tmp_path):
    """Layers that differ as no recipe of llama.cpp's makes them, and a deeper model than the example."""
    example = planned_view(ql.plan(demo, "Q4_K_M"))
    tensors = dict(example.tensors)
    for layer, format in ((0, "Q8_0"), (1, "Q8_0"), (5, "Q6_K")):
        name = f"blk.{layer}.ffn_up.weight"
        tensors[name] = replace(tensors[name], format=format)
    recipe = recipe_like(replace(example, tensors=tensors))
    x = np.random.default_rng(0).standard_normal((64, 256)).astype(np.float32)
    save_file({f"model.layers.{i}.mlp.up_proj.weight": x for i in range(12)}, tmp_path / "deep.safetensors")
    (tmp_path / "like.toml").write_text(recipe_text(recipe))
    with ql.open_checkpoint(tmp_path / "deep.safetensors") as deep:
        got = {t.name: t.target for t in ql.plan(deep, tmp_path / "like.toml").tensors}
    assert [got[f"blk.{i}.ffn_up.weight"] for i in range(12)] == ["Q8_0"] * 2 + ["Q4_K"] * 3 + ["Q6_K"] + ["Q4_K"] * 6


def test_a_gguf_file_is_a_recipe(demo, tmp_path):
    ql.run(ql.plan(demo, "Q3_K_L"), tmp_path / "example.gguf")
    got, wanted = ql.plan(demo, str(tmp_path / "example.gguf")), ql.plan(demo, "Q3_K_L")
    assert [t.target for t in got.tensors] == [t.target for t in wanted.tensors]
    assert tmp_path / "example.gguf" in got.reads, "no run replaces it"
    assert recipe_of_file(tmp_path / "example.gguf").base == "Q3_K_L"


@pytest.mark.parametrize("recipe", ["F16", "BF16"])
def test_what_is_not_quantized_is_no_example(demo, recipe):
    with pytest.raises(ql.RecipeError, match="is no example of a recipe"):
        recipe_like(planned_view(ql.plan(demo, recipe)))


@pytest.fixture
def odd(tmp_path):
    """Rows of 576, as SmolLM2's, which blocks of 256 do not divide."""
    x = np.random.default_rng(0).standard_normal((32, 576)).astype(np.float32)
    save_file({f"model.layers.{i}.mlp.up_proj.weight": x for i in range(6)}, tmp_path / "odd.safetensors")
    with ql.open_checkpoint(tmp_path / "odd.safetensors") as checkpoint:
        yield checkpoint


def test_what_fits_instead_is_said_with_its_bits(odd, tmp_path):
    ql.run(ql.plan(odd, "Q4_1"), tmp_path / "small.gguf")
    with ql.open_checkpoint(tmp_path / "small.gguf") as small:
        said = stand_in_words(ql.plan(small, "Q4_K_M"))
    assert said.startswith("Q4_K_M takes 5.50 bits per weight here: rows of 576 do not divide into blocks of Q4_K")
    assert "6 matrices get Q5_0" in said and "larger than its source, which has 5.00 bits" in said
    assert "fit these rows in less" in said and "IQ4_NL (4.50 bits)" in said


def test_what_fits_is_smaller_and_fits(odd):
    plan = ql.plan(odd, "Q4_K_M")
    found = fitting_recipes(plan)
    assert found and all(other.nbytes < plan.nbytes for other in found)
    assert not any(t.instead_of for other in found for t in other.tensors)
    assert f"{found[0].recipe.name} ({found[0].bpw:.2f} bits)" in stand_in_words(plan)


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q8_0", "IQ4_XS", "F16"])
def test_nothing_is_said_where_rows_fit(demo, recipe):
    assert stand_in_words(ql.plan(demo, recipe)) == ""
