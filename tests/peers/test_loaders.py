"""Other programs load what we write: llama.cpp runs every recipe, transformers runs the demo model as it is."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.checkpoints import ImportanceMatrix
from quantlib.lm import CALIBRATION, load
from quantlib.lm.gptq_writing import write_gptq
from quantlib.recipes import RECIPES

pytestmark = pytest.mark.peer

TEXT = "The old king looked out of the window and said that the sea was"
# llama.cpp multiplies in half precision with 16-bit weights, and for block formats quantizes the activations too; so
# the same weights give log-probabilities this far apart. A wrong layout of any tensor gives tens.
TOLERANCE = {"F32": 0.02, "BF16": 0.2, "F16": 0.2}
BLOCKS = 1.0


@pytest.fixture(scope="module")
def tokenized(peer, demo_model):
    transformers = peer("transformers")
    return transformers.AutoTokenizer.from_pretrained(demo_model)


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


def planned(demo_model, recipe: str) -> ql.Plan:
    source = ql.open_checkpoint(demo_model)
    plan = ql.plan(source, recipe)
    if plan.lacking:
        even = {t.name: np.ones((1, t.shape[-1]), np.float32) for t in plan.tensors}
        plan = ql.plan(source, recipe, ImportanceMatrix("even", even))
    return plan


@pytest.mark.parametrize("recipe", RECIPES)
def test_llama_cpp_runs_what_we_write(peer, tokenized, demo_model, tmp_path, recipe):
    """It loads the file, splits text as the original tokenizer does, and finds what our forward pass finds."""
    llama_cpp = peer("llama_cpp")
    path = tmp_path / "model.gguf"
    ql.run(planned(demo_model, recipe), path)
    check_it_runs(llama_cpp, tokenized, path, TOLERANCE.get(recipe, BLOCKS))


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q2_K"])
def test_llama_cpp_runs_blocks_that_gptq_filled(peer, tokenized, demo_model, tmp_path, recipe):
    llama_cpp = peer("llama_cpp")
    path = tmp_path / "model.gguf"
    with ql.open_checkpoint(demo_model) as source:
        assert write_gptq(source, path, CALIBRATION.read_text(encoding="utf-8"), recipe, context=256).filled
    check_it_runs(llama_cpp, tokenized, path, BLOCKS)


def check_it_runs(llama_cpp, tokenized, path, tolerance: float) -> None:
    """llama.cpp's log-probabilities for a file are those of our own forward pass on the decoded weights."""
    llama = llama_cpp.Llama(str(path), n_ctx=128, n_threads=2, logits_all=True, verbose=False)
    ids = tokenized(TEXT)["input_ids"]
    assert llama.tokenize(TEXT.encode()) == ids
    llama.eval(ids)
    theirs = log_softmax(np.array(llama.scores[: len(ids)]))
    with ql.open_checkpoint(path) as written:
        ours = log_softmax(load(written)(np.array(ids)))
    likely = ours > -8
    assert np.abs(theirs - ours)[likely].max() < tolerance
    assert llama.create_completion(TEXT, max_tokens=8, temperature=0)["choices"][0]["text"]


def test_the_tokenizer_round_trips(tokenized):
    ids = tokenized(TEXT)["input_ids"]
    assert tokenized.decode(ids[1:]) == TEXT
    assert ids[0] == tokenized.bos_token_id
