"""Every architecture's forward pass against transformers, from a Hugging Face folder and from GGUF made of it."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import Cache, load

pytestmark = pytest.mark.peer

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 64,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
GEMMA = SIZES | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 9}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16, "rope_theta": 10000.0,
}  # fmt: skip
LONG = {
    "rope_type": "longrope",
    "long_factor": [1.0 + i / 4 for i in range(8)], "short_factor": [1.0 + i / 9 for i in range(8)],
    "rope_theta": 10000.0, "original_max_position_embeddings": 16,
}  # fmt: skip
CASES = {
    "llama": ("Llama", SIZES),
    "llama, positions scaled as Llama 3": ("Llama", SIZES | {"rope_parameters": LLAMA3}),
    "llama, tied, with biases": ("Llama", SIZES | {"tie_word_embeddings": True, "attention_bias": True}),
    "mistral": ("Mistral", SIZES | {"sliding_window": 9, "head_dim": 16}),
    "smollm3": ("SmolLM3", SIZES | {"num_hidden_layers": 5}),
    "qwen2": ("Qwen2", SIZES),
    "qwen2, yarn": ("Qwen2", SIZES | {"rope_parameters": YARN}),
    "qwen3": ("Qwen3", SIZES | {"head_dim": 32}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma3": ("Gemma3Text", GEMMA | {"num_hidden_layers": 7}),
    "phi3": ("Phi3", SIZES | {"sliding_window": 9}),
    "phi3, long": ("Phi3", SIZES | {"rope_parameters": LONG, "original_max_position_embeddings": 16}),
    "olmo2": ("Olmo2", SIZES),
    "gpt2": ("GPT2", {"n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 320, "n_positions": 64,
                      "bos_token_id": 1, "eos_token_id": 2}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def made(request, peer, tmp_path_factory):
    """A tiny model of transformers with its folder; norms and biases are made uneven, so that none can be forgotten."""
    torch, transformers = peer("torch"), peer("transformers")
    name, sizes = CASES[request.param]
    config = getattr(transformers, f"{name}Config")(**sizes)
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
            else:
                parameter *= 4
    folder = tmp_path_factory.mktemp(name)
    model.eval().save_pretrained(folder)
    return model, folder


def expected(peer, model, ids) -> np.ndarray:
    torch = peer("torch")
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def test_logits_are_those_of_transformers(peer, made):
    model, folder = made
    ours = load(ql.open_checkpoint(folder))
    for n in (12, 50):  # within a window and within the first context, and beyond both
        ids = np.random.default_rng(n).integers(3, 320, n)
        logits = expected(peer, model, ids)
        assert np.abs(logits).max() > 0.5, "the model says something"
        np.testing.assert_allclose(ours(ids), logits, atol=1e-3)


def test_a_cache_gives_the_same(made):
    ours = load(ql.open_checkpoint(made[1]))
    ids = np.random.default_rng(5).integers(3, 320, 15)
    cache = Cache(ours.shape, 16)
    pieces = [ours(part, cache) for part in np.split(ids, [4, 5, 11])]
    np.testing.assert_allclose(np.concatenate(pieces), ours(ids), atol=1e-3)


def test_a_gguf_file_gives_the_same(made, tmp_path):
    checkpoint = ql.open_checkpoint(made[1])
    ql.run(ql.plan(checkpoint, "F32"), tmp_path / "model.gguf")
    ids = np.random.default_rng(7).integers(3, 320, 9)
    with ql.open_checkpoint(tmp_path / "model.gguf") as file:
        for decoded in (True, False):
            np.testing.assert_allclose(load(file, decoded)(ids), load(checkpoint)(ids), atol=1e-5)
