"""Recipes against llama-quantize's own choices, for every model shape of the golden file."""

import gzip
import json
from pathlib import Path

import pytest

from quantlib import formats
from quantlib.errors import FormatError, RecipeError
from quantlib.recipes import FALLBACK, RECIPES, Model, Overrides, TensorRule, choose_formats, get_recipe, quantizable
from quantlib.recipes.catalogue import ALL

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
        heads_per_kv=heads // config.get("n_kv", heads),
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", GOLDEN)
def test_chooses_as_llama_quantize(model, recipe, variant):
    shape = GOLDEN[model]
    expected = shape["recipes"].get(recipe + variant)
    if expected is None:
        pytest.skip("llama-quantize was not run for this combination")
    tensors = [(name, shape_of(name, shape["config"]), "FP32") for name in shape["tensors"]]
    options = {"pure": variant == "+pure", "important": variant == "+imatrix"}
    if "error" in expected:
        with pytest.raises(RecipeError):
            choose_formats(tensors, RECIPES[recipe], facts(shape), **options)
        return
    by_name = {shape["tensors"][i]: SPELLING.get(f, f.upper()) for f, indices in expected.items() for i in indices}
    chosen = choose_formats(tensors, RECIPES[recipe], facts(shape), **options)
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


def test_every_recipe_can_be_run():
    """What stands in for a format is there wherever the format is."""
    assert {f for r in RECIPES.values() for f in r.formats} | {"FP16"} <= set(formats.FORMATS)
    assert {FALLBACK[f] for r in RECIPES.values() for f in r.formats if f in FALLBACK} <= set(formats.FORMATS)
    assert RECIPES.keys() <= ALL.keys()


def test_unknown_recipe_names_those_there_are():
    with pytest.raises(RecipeError, match="Q4_K_M"):
        get_recipe("Q4_K_XXL")


TENSORS = [(f"{n}.weight", (64, 256), "FP32") for n in ("token_embd", "blk.0.attn_v", "blk.0.attn_q", "output")]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (Overrides(output="q8_0"), ["Q4_K", "Q6_K", "Q4_K", "Q8_0"]),
        (Overrides(embedding="F16"), ["FP16", "Q6_K", "Q4_K", "Q6_K"]),
        (Overrides(rules=(TensorRule("Q8_0", "attn_.*"),)), ["Q4_K", "Q8_0", "Q8_0", "Q6_K"]),
        (Overrides(rules=(TensorRule("Q6_K", "attn_q"), TensorRule("Q8_0", "attn"))), ["Q4_K", "Q8_0", "Q6_K", "Q6_K"]),
    ],
)
def test_overrides_come_before_rules(overrides, expected):
    chosen = choose_formats(TENSORS, RECIPES["Q4_K_M"], Model("llama", 8), overrides=overrides)
    assert [c.format for c in chosen] == expected


def test_wrong_overrides_are_told():
    with pytest.raises(FormatError, match="Q9_9"):
        Overrides(output="Q9_9")
    with pytest.raises(RecipeError, match="regular expression"):
        TensorRule("Q8_0", "attn_(")


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q5_K_M", "Q3_K_M", "Q3_K_L", "Q2_K"])
def test_a_bias_takes_no_place_among_the_matrices_of_its_kind(recipe):
    """llama-quantize counts what it quantizes: the matrices of a model get the same formats with biases and without."""
    kinds = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")
    matrices = [(f"blk.{i}.{kind}.weight", (256, 256), "FP32") for i in range(12) for kind in kinds]
    biases = [(f"blk.{i}.{kind}.bias", (256,), "FP32") for i in range(12) for kind in kinds]
    model = Model("bert", 12)
    both = sorted(matrices + biases)
    found = dict(zip([t[0] for t in both], choose_formats(both, get_recipe(recipe), model), strict=True))
    order = sorted(matrices)
    plain = dict(zip([t[0] for t in order], choose_formats(order, get_recipe(recipe), model), strict=True))
    assert {name: found[name] for name in plain} == plain
    assert len({choice.format for choice in plain.values()}) > 1


def chosen(recipe: str, architecture: str, *tensors: tuple[str, tuple[int, ...]]) -> dict[str, str]:
    named = [(name, shape, "FP32") for name, shape in tensors]
    model = Model(architecture, 4, experts=8 if any("_exps" in name for name, _ in tensors) else 0)
    choices = choose_formats(named, RECIPES[recipe], model)
    return {name: choice.format for (name, _, _), choice in zip(named, choices, strict=True)}


def test_exceptions_of_one_architecture():
    """As llama-quantize has them for one alone: what is kept, what gets eight bits, what counts as a stack."""
    kept = [(f"blk.0.{name}.weight", (64, 256)) for name in ("attn_kv_a_mqa", "attn_k_b", "ssm_f_a", "indexer.proj")]
    finest = [(f"blk.0.{name}.weight", (64, 256)) for name in ("attn_q_a", "attn_q_b", "nextn.eh_proj")]
    own = chosen("Q4_K_S", "glm5-next", *kept, *finest)
    assert {own[name] for name, _ in kept} == {"FP32"}
    assert {own[name] for name, _ in finest} == {"Q8_0"}
    assert set(chosen("Q4_K_S", "deepseek2", *kept, *finest).values()) == {"Q4_K"}
    stacks = [("blk.0.attn_k_b.weight", (4, 64, 256)), ("blk.0.ffn_up_exps.weight", (4, 64, 256))]
    assert list(chosen("MXFP4_MOE", "bailingmoe3", *stacks).values()) == ["Q8_0", "MXFP4"]
    assert list(chosen("MXFP4_MOE", "deepseek2", *stacks).values()) == ["MXFP4", "MXFP4"]
