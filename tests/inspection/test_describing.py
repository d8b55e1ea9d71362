"""What a checkpoint is, told from its headers: the recipe that its tensors are of, and the sentences about it."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.checkpoints import MetadataValue, gguf_view
from quantlib.inspection import describe
from quantlib.inspection.describing import bits_words, headline, recipe_words
from quantlib.inspection.mixture import nearest_recipe
from quantlib.recipes import RECIPES


def planned_view(plan: ql.Plan) -> ql.Checkpoint:
    """What opening the plan's file would give, without writing it."""
    view = gguf_view(plan.checkpoint)
    tensors = {t.name: replace(t.tensor, format=t.target, nbytes=t.nbytes) for t in plan.tensors}
    return replace(view, kind="gguf", metadata=plan.metadata, tensors=tensors)


@pytest.fixture(scope="module")
def demo(demo_model):
    with ql.open_checkpoint(demo_model) as checkpoint:
        yield checkpoint


@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.quantizes])
def test_every_recipe_is_recognized_by_its_mixture(demo, recipe):
    view = planned_view(ql.plan(demo, recipe, important=True))
    match = nearest_recipe(view)
    assert match.exact and match.share == 1
    assert recipe in (match.recipe, *match.also)
    assert nearest_recipe(view, recipe).recipe == recipe, "among equals, the one that the header names"


def test_a_header_that_names_another_recipe_is_told(demo):
    view = planned_view(ql.plan(demo, "Q4_K_M"))
    lying = replace(view, metadata=dict(view.metadata) | {"general.file_type": MetadataValue("uint32", 7)})
    found = describe(lying)
    assert (found.named, found.found.recipe, found.found.exact) == ("Q8_0", "Q4_K_M", True)
    assert "says Q8_0" in recipe_words(found) and "are those of Q4_K_M" in recipe_words(found)


def test_a_mixture_of_somebody_s_own_is_told_by_its_differences(demo):
    view = planned_view(ql.plan(demo, "Q4_K_M"))
    name = "blk.3.ffn_up.weight"
    own = replace(view, tensors=dict(view.tensors) | {name: replace(view.tensors[name], format="Q8_0")})
    match = nearest_recipe(own)
    assert match.recipe == "Q4_K_M" and match.differing == (name,) and 0.9 < match.share < 1
    assert name in recipe_words(describe(own))


def test_what_a_model_is_in_one_line(demo):
    found = describe(demo)
    assert headline(found) == "llama · 8.39 million weights · 8 layers · reads 512 tokens · vocabulary of 4,096"
    assert found.bpw == pytest.approx(8 * demo.nbytes / demo.size)
    assert sum(share.weights for share in found.formats) == demo.size
    assert not found.quantized and "No matrix is in a block format" in recipe_words(found)


def test_rows_that_fit_no_super_block_are_said(tmp_path):
    x = np.ones((4, 576), np.float32)
    save_file({f"model.layers.{i}.mlp.up_proj.weight": x for i in range(2)}, tmp_path / "odd.safetensors")
    with ql.open_checkpoint(tmp_path / "odd.safetensors") as checkpoint:
        found = describe(planned_view(ql.plan(checkpoint, "Q4_K_M")))
    assert found.found.recipe == "Q4_K_M" and len(found.found.stand_ins) == 2
    assert "2 matrices have rows that do not divide" in bits_words(found)


def test_hostile_metadata_says_nothing_and_fails_nothing(demo):
    view = planned_view(ql.plan(demo, "Q8_0"))
    odd = {
        "general.file_type": MetadataValue("string", "seven"),
        "llama.context_length": MetadataValue("string", "many"),
        "llama.block_count": MetadataValue("bool", True),
        "general.license": MetadataValue("array[string]", ["a", "b"]),
        "tokenizer.ggml.tokens": MetadataValue("uint32", 3),
        "tokenizer.chat_template": MetadataValue("float32", 1.5),
    }
    found = describe(replace(view, metadata=dict(view.metadata) | odd))
    assert (found.named, found.context, found.licence, found.chat_template) == (None, None, None, False)
    assert recipe_words(found).startswith("Its header names no recipe")


def test_an_empty_file_is_described(tmp_path):
    save_file({}, tmp_path / "empty.safetensors")
    with ql.open_checkpoint(tmp_path / "empty.safetensors") as checkpoint:
        found = describe(checkpoint)
    assert found.bpw is None and bits_words(found) == "It stores no weights."
    assert headline(found).startswith("architecture not stated")
