"""Recipes as TOML files: what they say, and that what is wrong in them is named."""

import pytest

import quantlib as ql
from quantlib.recipes import RECIPES, Model, Overrides, TensorRule, choose_formats
from quantlib.recipes.roles import Role
from quantlib.recipes.user import read_recipe

WHOLE = """
base = "Q5_K_M"
leave_output = true
embedding = "Q8_0"

[[rule]]
role = "v"
layers = "0-1, 3"
format = "Q6_K"

[[rule]]
role = "feed-forward down"
match = 'blk\\.2'
format = "F16"
"""


def written(tmp_path, text: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path):
    recipe = read_recipe(written(tmp_path, WHOLE))
    rules = (TensorRule("Q6_K", None, Role.V, ((0, 1), (3, 3))), TensorRule("F16", r"blk\.2", Role.FFN_DOWN))
    assert (recipe.base, recipe.overrides) == ("Q5_K_M", Overrides(None, "Q8_0", rules, leave_output=True))


def test_rules_decide_by_layer_and_role():
    rules = (TensorRule("Q6_K", None, Role.V, ((0, 1), (3, 3))), TensorRule("F16", r"blk\.2", Role.FFN_DOWN))
    overrides = Overrides(rules=rules, leave_output=True)
    names = [f"blk.{i}.{part}.weight" for i in range(4) for part in ("attn_v", "ffn_down")] + ["output.weight"]
    tensors = [(name, (256, 256), "BF16") for name in names]
    chosen = choose_formats(tensors, RECIPES["Q3_K_S"], Model("llama", 4), overrides=overrides)
    targets = {name: c.format for name, c in zip(names, chosen, strict=True)}
    assert [targets[f"blk.{i}.attn_v.weight"] for i in range(4)] == ["Q6_K", "Q6_K", "Q3_K", "Q6_K"]
    assert targets["blk.2.ffn_down.weight"] == "FP16"
    assert targets["blk.1.ffn_down.weight"] != "FP16"
    assert targets["output.weight"] == "BF16"
    assert chosen[0].reason == "asked for: attention value, layers 0-1, 3=Q6_K"


WRONG = {
    "not TOML": ('base = "Q4_K_M"\nrule = x', "is not valid TOML: .*line 2"),
    "unknown key": ('bse = "Q4_K_M"', "'bse' which means nothing there; the keys are base"),
    "unknown key of a rule": ('[[rule]]\nformt = "Q6_K"', "in rule 1 'formt'"),
    "unknown role": ('[[rule]]\nrole = "vee"\nformat = "Q6_K"', "in rule 1 role = 'vee' which is none; the roles are"),
    "unknown format": ('[[rule]]\nmatch = "x"\nformat = "Q6_X"', "rule 1: .*'Q6_X'"),
    "no GGUF type": ('[[rule]]\nmatch = "x"\nformat = "NF4"', "rule 1: NF4 has no type in GGUF"),
    "no format": ('[[rule]]\nmatch = "x"', "in rule 1 no format"),
    "no condition": ('[[rule]]\nformat = "Q6_K"', "in rule 1 no condition"),
    "second rule": ('[[rule]]\nmatch = "x"\nformat = "Q6_K"\n[[rule]]\nmatch = "("\nformat = "Q6_K"', "rule 2: '\\('"),
    "layers": ('[[rule]]\nlayers = "a-b"\nformat = "Q6_K"', "in rule 1 layers = 'a-b'"),
    "wrong type": ("leave_output = 1", "leave_output = 1 where true or false"),
    "rule is no table": ("rule = [1]", "in rule 1 1 where a"),
    "output": ('output = "Q0"', "'Q0'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(tmp_path, name):
    text, fragment = WRONG[name]
    with pytest.raises(ql.RecipeError, match=rf"(?s)The recipe .*mine\.toml.*{fragment}"):
        read_recipe(written(tmp_path, text))


def test_files_that_are_none(tmp_path):
    with pytest.raises(ql.RecipeError, match=r"gone\.toml cannot be read: no such file"):
        read_recipe(tmp_path / "gone.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(ql.RecipeError, match="UTF-8"):
        read_recipe(tmp_path / "b.toml")


def test_a_plan_by_a_file(demo_model, tmp_path):
    with ql.open_checkpoint(demo_model) as source:
        plan = ql.plan(source, written(tmp_path, WHOLE))
        with pytest.raises(ql.RecipeError, match="no recipe 'Q7'"):
            ql.plan(source, written(tmp_path, 'base = "Q7"'))
    targets = {t.name: t.target for t in plan.tensors}
    assert plan.recipe.name == "Q5_K_M"
    assert (targets["output.weight"], targets["token_embd.weight"]) == ("BF16", "Q8_0")
    assert (targets["blk.0.attn_v.weight"], targets["blk.2.ffn_down.weight"]) == ("Q6_K", "FP16")


def test_formats_without_a_gguf_type_are_refused_at_once():
    with pytest.raises(ql.RecipeError, match="NF4 has no type in GGUF files"):
        Overrides(output="NF4")
