"""Plain words for tensors: the same under either naming, and for every tensor of the demo model."""

import pytest

import quantlib as ql
from quantlib.checkpoints import gguf_view
from quantlib.recipes import gloss

SAME = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output.weight": "lm_head.weight",
    "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
    "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
    "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
    "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
    "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
    "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
    "blk.0.ffn_norm.weight": "model.layers.0.post_attention_layernorm.weight",
}


@pytest.mark.parametrize("name", SAME)
def test_both_names_mean_the_same(name):
    assert gloss(name) == gloss(SAME[name]) != ""


def test_matrices_that_do_different_work_have_different_words():
    matrices = [name for name in SAME if "norm" not in name]
    assert len({gloss(name) for name in matrices}) == len(matrices)


def test_every_tensor_of_the_demo_model_has_words(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    assert all(gloss(name) for name in [*checkpoint.tensors, *gguf_view(checkpoint).tensors])


def test_a_name_that_says_nothing_gets_no_words():
    assert gloss("<script>") == gloss("mystery.weight") == ""
