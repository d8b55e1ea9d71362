"""Shapes that are declared against what the models' cards and llama.cpp's documents say of them."""

import pytest

import quantlib as ql
from quantlib.errors import CheckpointError
from quantlib.fit import KNOWN, named_subject, subject
from quantlib.fit.published import LLAMA_3_8B, LLAMA_3_8B_BPW
from quantlib.recipes import RECIPES

PARAMETERS = {  # as the models' safetensors indexes count them
    "Qwen2.5-0.5B": 494_032_768,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Llama-2-7B": 6_738_415_616,
    "Mistral-7B-v0.3": 7_248_023_552,
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3-8B": 8_030_261_248,
    "Qwen3-8B": 8_190_735_360,
    "Gemma-2-9B": 9_241_705_984,
    "Llama-2-13B": 13_015_864_320,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Mixtral-8x7B": 46_702_792_704,
    "Llama-3-70B": 70_553_706_496,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_add_up_to_the_model_card(name):
    assert KNOWN[name].parameters == PARAMETERS[name]
    assert subject(name.lower()).parameters == PARAMETERS[name]


@pytest.mark.parametrize("recipe", sorted(LLAMA_3_8B_BPW.keys() & RECIPES.keys()))
def test_bits_per_weight_of_llama_3_8b_are_the_published_ones(recipe):
    bpw = ql.plan(KNOWN["Llama-3-8B"].checkpoint(), recipe).bpw
    if recipe == "IQ3_XXS":  # published with an importance matrix, with which it gives some tensors fewer bits
        assert bpw > LLAMA_3_8B_BPW[recipe]
    else:
        assert bpw == pytest.approx(LLAMA_3_8B_BPW[recipe], abs=6e-5)


@pytest.mark.parametrize("row", [q for q in LLAMA_3_8B if q.recipe in RECIPES], ids=lambda q: q.recipe)
def test_published_file_sizes(row):
    size = ql.plan(KNOWN["Llama-3-8B"].checkpoint(), row.recipe).nbytes / 2**30
    # The measured files were made by an earlier version, whose IQ2_M, IQ3_XXS and Q2_K_S held a few tensors otherwise,
    # and they carry the vocabulary, 8 MB.
    assert size == pytest.approx(row.gib, abs=0.2 if row.recipe in ("Q2_K_S", "IQ3_XXS") else 0.03)


@pytest.mark.parametrize(
    ("size", "says"),
    [("8B", "the shape of Llama-3-8B, 8,030,261,248 weights"), ("123b", "Llama-3-70B with 141 layers"),
     ("40B", "Qwen3-32B with"), ("500M", "Qwen2.5-0.5B")],
)  # fmt: skip
def test_a_size_assumes_a_shape_and_says_which(size, says):
    assert says in subject(size).assumed


@pytest.mark.parametrize("size", ["0.1M", "9000T", "8 bananas"])
def test_what_is_no_model_gets_a_sentence(size):
    with pytest.raises(ql.CheckpointError):
        subject(size)


def test_a_shape_holds_no_weights():
    with pytest.raises(ql.CheckpointError, match="Only the shape"):
        next(iter(KNOWN["Llama-3-8B"].checkpoint())).raw(0, 1)


@pytest.mark.parametrize(
    "text",
    ["/etc/passwd", "../..", "/", "hf://owner/name", "https://host/x", "assets/demo_model", "", "8", "x" * 5000, "٨B"],
)
def test_text_that_a_visitor_types_opens_nothing(text, monkeypatch):
    """A name or a size, or a sentence; no file is looked for, and none is named."""
    monkeypatch.setattr("quantlib.fit.sources.open_checkpoint", lambda source: pytest.fail(f"{source} was opened"))
    with pytest.raises(CheckpointError, match="is no size: write one such as 8B") as caught:
        named_subject(text)
    assert len(str(caught.value)) < 200
