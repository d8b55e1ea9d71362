"""What a person wants otherwise than a recipe: patterns that cannot take long, and snippets that mean the same."""

import shlex
import time

import pytest

import quantlib as ql
from pages.ui.recipes import MOST_RULES, Wanted, rules_of
from quantlib.cli import parsers
from quantlib.recipes import Overrides


@pytest.mark.parametrize("text, rules", [
    ("", []),
    ("attn_v=Q6_K", [("attn_v", "Q6_K")]),
    ("  attn_v=Q6_K \n\n^blk\\.[01]\\.x|y= Q8_0", [("attn_v", "Q6_K"), ("^blk\\.[01]\\.x|y", "Q8_0")]),
    ("blk\\.\\d\\.attn_q=F16", [("blk\\.\\d\\.attn_q", "F16")]),
])  # fmt: skip
def test_rules_are_lines(text, rules):
    assert [(rule.pattern, rule.format) for rule in rules_of(text)] == rules


@pytest.mark.parametrize("line, said", [
    ("attn_v", "is not of the form"), ("=Q6_K", "is not of the form"), ("attn_v=", "is not of the form"),
    ("attn_v=Q9_Z", "No format is called"), ("attn_v=NF4", "has no type in GGUF"),
    ("(a+)+$=Q6_K", "is no pattern"), ("(a|a)(a|a)=Q6_K", "is no pattern"), (".*.*.*x=Q6_K", "is no pattern"),
    ("a{9}=Q6_K", "is no pattern"), ("\\d+x=Q6_K", "is no pattern"), ("(?=a)=Q6_K", "is no pattern"),
    ("a" * 300 + "=Q6_K", "is no pattern"), ("\n".join(["a=Q6_K"] * (MOST_RULES + 1)), "lines"),
])  # fmt: skip
def test_what_is_no_rule_is_refused_in_a_sentence(line, said):
    with pytest.raises(ql.QuantlibError, match=said):
        rules_of(line)


def test_a_pattern_that_is_taken_is_quick_on_any_name():
    """The worst that the grammar allows, on the worst name for it."""
    (rule,) = rules_of("|".join(["[0-9].[0-9]x"] * 15) + "=Q6_K")
    started = time.process_time()
    assert not rule.fits("1a" * 30_000, ql.recipes.Role.OTHER)
    assert time.process_time() - started < 2


WANTED = Wanted("Q4_K_M", "Q4_K_M", Overrides("Q8_0", "Q5_K", rules_of("attn_v=Q6_K\nffn_down|ffn_up=Q5_K")), False)


@pytest.mark.parametrize("wanted", [
    WANTED, Wanted("IQ4_XS", "x"), Wanted("Q4_K_S", "x", pure=True), Wanted("Q4_K_M", "x", Overrides(embedding="Q8_0")),
])  # fmt: skip
def test_the_snippet_and_the_command_plan_the_same(demo_model, wanted):
    with ql.open_checkpoint(demo_model) as checkpoint:
        right = ql.plan(checkpoint, wanted.recipe, pure=wanted.pure, overrides=wanted.overrides)
        scope = {"ql": ql, "checkpoint": checkpoint}
        exec(f"{wanted.imports}\nplan = ql.plan(checkpoint, {wanted.arguments})", scope)
        words = shlex.split(f"quantize source out.gguf{wanted.flags}")
        options = parsers(words)[0].parse_args(words)
        rules = tuple(ql.recipes.TensorRule(form, pattern) for pattern, form in options.tensor_format)
        overrides = Overrides(options.output_format, options.embedding_format, rules)
        typed = ql.plan(checkpoint, options.recipe, pure=options.pure, overrides=overrides)
    assert [t.target for t in scope["plan"].tensors] == [t.target for t in right.tensors]
    assert [t.target for t in typed.tensors] == [t.target for t in right.tensors]
