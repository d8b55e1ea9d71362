"""Recipes against llama-quantize's own choices, for every model shape of the golden file."""

import gzip
import json
from pathlib import Path

import pytest

from quantlib import formats, recipes
from quantlib.errors import RecipeError
from quantlib.recipes import RECIPES, Model, choose_formats, get_recipe, quantizable

GOLDEN = json.loads(gzip.decompress((Path(__file__).parent / "golden" / "recipes.json.gz").read_bytes()))
SPELLING = {"f32": "FP32", "f16": "FP16", "bf16": "BF16"}
VARIANTS = ("", "+imatrix", "+pure")


def shape_of(name: str, config: dict) -> tuple[int, ...]:
    embd, ff = config.get("n_embd", 256), config.get("n_ff", 512)
    if "norm" in name or name.endswith(".bias"):
        return (embd,)
    return (embd, ff) if "ffn_down" in name else (64, embd)


def facts(shape: dict) -> Model:
    config = shape["config"]
    heads = config.get("n_head", 4)
    return Model(
        architecture=config.get("arch", "llama"),
        layers=config["n_layer"],
        tied="output.weight" not in shape["tensors"],
        grouped=config.get("n_kv", heads) != heads,
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", GOLDEN)
def test_chooses_as_llama_quantize(model, recipe, variant):
    shape = GOLDEN[model]
    expected = shape["recipes"].get(recipe + variant)
    if expected is None:
        assert variant and not RECIPES[recipe].quantizes, "the golden file has every other combination"
        return
    by_name = {shape["tensors"][i]: SPELLING.get(f, f.upper()) for f, indices in expected.items() for i in indices}
    tensors = [(name, shape_of(name, shape["config"]), "FP32") for name in shape["tensors"]]
    chosen = choose_formats(tensors, RECIPES[recipe], facts(shape), pure=variant == "+pure")
    assert {name: c.format for (name, _, _), c in zip(tensors, chosen, strict=True)} == by_name


def test_every_choice_says_why():
    tensors = [(f"blk.{i}.{kind}.weight", (64, 256), "FP32") for i in range(8) for kind in ("attn_v", "attn_q")]
    chosen = choose_formats(tensors, RECIPES["Q4_K_M"], Model("llama", 8))
    assert chosen[0].reason == "attention value in the first eighth, the last eighth or every third layer between"
    assert all(c.reason for c in chosen)


def test_eight_experts_keep_attention_precise():
    tensors = [("blk.0.attn_v.weight", (64, 256), "FP32"), ("blk.0.attn_k.weight", (64, 256), "FP32")]
    chosen = choose_formats(tensors, RECIPES["Q4_K_M"], Model("llama", 32, experts=8))
    assert [c.format for c in chosen] == ["Q8_0", "Q8_0"]


@pytest.mark.parametrize(
    ("name", "shape", "touched"),
    [
        ("blk.0.attn_q.weight", (256, 256), True),
        ("blk.0.attn_q.bias", (256,), False),
        ("blk.0.attn_norm.weight", (256,), False),
        ("blk.0.odd_norm.weight", (256, 256), False),
        ("blk.0.attn_q.weight", (1, 256), False),
        ("blk.0.ffn_down_exps.weight", (8, 256, 512), True),
        ("blk.0.ffn_gate_inp.weight", (8, 256), False),
        ("position_embd.weight", (512, 256), False),
    ],
)
def test_what_recipes_touch(name, shape, touched):
    assert quantizable(name, shape) is touched


def test_rows_that_fit_no_block_fall_back():
    [choice] = choose_formats([("blk.0.attn_q.weight", (8, 100), "FP32")], RECIPES["Q4_K_M"], Model("llama", 1))
    assert choice.format == "FP16"
    assert "100" in choice.reason


def test_every_format_a_recipe_names_exists():
    named = {r.default for r in RECIPES.values()} | {r.output for r in RECIPES.values() if r.output}
    named |= {rule.format for r in RECIPES.values() for rule in r.rules}
    named |= set(recipes.FALLBACK.values())
    assert named <= set(formats.FORMATS)


def test_unknown_recipe_names_those_there_are():
    with pytest.raises(RecipeError, match="Q4_K_M"):
        get_recipe("Q4_K_XXL")
