"""Every architecture that is converted: llama.cpp makes of our GGUF file what transformers makes of the original."""

import numpy as np
import pytest
import tiny_models

import quantlib as ql

pytestmark = pytest.mark.peer

# llama.cpp's GELU and its softmax are tables and polynomials, so float32 logits differ by this much; a tensor in the
# wrong order or place differs by the spread of the logits, which is 0.4 and more in all of these models.
TOLERANCE = 0.01
CAUSAL = [name for name in (*tiny_models.WHOLE, *tiny_models.architectures()) if name not in ("bert", "gemma3")]
# Tokens, and the context that llama.cpp is given: beyond the first context of those models that stretch theirs.
SHORT, LONG = (60, 256), (300, 512)
CASES = [(name, SHORT) for name in CAUSAL] + [(name, LONG) for name in ("llama3", "llama_yarn", "phi3_long")]


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)


@pytest.fixture
def converted(tmp_path):
    """converted("qwen3"): the model's folder and our GGUF file of it, in 32-bit floats."""

    def convert(name: str):
        # llama.cpp wants certain tokens of models that call themselves Phi-3, which the tiny vocabulary lacks.
        folder, path = tiny_models.write(name, tmp_path / "model"), tmp_path / "model.gguf"
        with ql.open_checkpoint(folder) as checkpoint:
            ql.run(ql.plan(checkpoint, "F32"), path)
        return folder, path

    return convert


@pytest.mark.parametrize("name, sizes", CASES)
def test_logits_are_those_of_transformers(peer, converted, name, sizes):
    length, context = sizes
    torch, transformers, llama_cpp = peer("torch"), peer("transformers"), peer("llama_cpp")
    folder, path = converted(name)
    ids = np.random.default_rng(0).integers(0, 2040, length).tolist()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        expected = log_softmax(model(torch.tensor([ids])).logits[0].numpy())
    llama = llama_cpp.Llama(str(path), n_ctx=context, n_batch=512, n_threads=2, logits_all=True, verbose=False)
    llama.eval(ids)
    found = log_softmax(np.array(llama.scores[:length]))
    assert expected.std() > 0.3
    assert np.abs(found - expected).max() < TOLERANCE


def test_embeddings_are_those_of_transformers(peer, converted):
    torch, transformers, llama_cpp = peer("torch"), peer("transformers"), peer("llama_cpp")
    folder, path = converted("bert")
    text = "The old king, who was unhappy, looked out of the window: it's Été!"
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        expected = model(torch.tensor([ids])).last_hidden_state[0].numpy()
    pooling = llama_cpp.LLAMA_POOLING_TYPE_NONE
    llama = llama_cpp.Llama(str(path), n_ctx=128, n_threads=2, embedding=True, pooling_type=pooling, verbose=False)
    assert llama.tokenize(text.encode(), add_bos=True, special=False) == ids
    np.testing.assert_allclose(np.array(llama.embed(text)), expected, atol=TOLERANCE)
