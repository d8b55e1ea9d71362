"""Other programs load what we write: llama.cpp runs every recipe, transformers runs the demo model as it is."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.recipes import RECIPES

pytestmark = pytest.mark.peer

TEXT = "The old king looked out of the window and said that the sea was"
# Largest tolerated difference between llama.cpp's and transformers' log-probabilities of the same weights, by recipe.
# llama.cpp multiplies in half precision with F16 and BF16 weights and quantizes activations to 8 bits for block
# formats, so only F32 can be near exact; the others bound what a wrong layout (tens) would exceed at once.
TOLERANCE = {"F32": 0.02, "BF16": 0.2, "F16": 0.2, "Q8_0": 0.6, "Q4_K_M": 3.0}


@pytest.fixture(scope="module")
def reference(peer, demo_model):
    """Token ids and log-probabilities (tokens, vocabulary) of TEXT from transformers, in float32."""
    torch, transformers = peer("torch"), peer("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_model)
    model = transformers.AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    ids = tokenizer(TEXT)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    return tokenizer, ids, torch.log_softmax(logits, -1).numpy()


@pytest.mark.parametrize("recipe", RECIPES)
def test_llama_cpp_runs_what_we_write(peer, reference, demo_model, tmp_path, recipe):
    llama_cpp = peer("llama_cpp")
    _, ids, expected = reference
    with ql.open_checkpoint(demo_model) as source:
        ql.run(ql.plan(source, recipe), tmp_path / "model.gguf")
    llama = llama_cpp.Llama(str(tmp_path / "model.gguf"), n_ctx=128, n_threads=2, logits_all=True, verbose=False)
    assert llama.tokenize(TEXT.encode()) == ids, "the tokenizer in the file splits text as the original does"
    llama.eval(ids)
    logits = np.array(llama.scores[: len(ids)], np.float64)
    found = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    likely = expected > -8
    assert np.abs(found - expected)[likely].max() < TOLERANCE[recipe]
    answer = llama.create_completion(TEXT, max_tokens=12, temperature=0)["choices"][0]["text"]
    assert answer.strip()


def test_the_tokenizer_round_trips(reference):
    tokenizer, ids, _ = reference
    assert tokenizer.decode(ids[1:]) == TEXT
    assert ids[0] == tokenizer.bos_token_id
