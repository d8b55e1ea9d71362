"""The forward pass against transformers, and perplexity's losses with it."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm import Tokenizer, load

pytestmark = pytest.mark.peer

TEXT = "Once there was a miller who had three sons, and when he died he left them his mill, his ass and his cat."


def test_logits_are_those_of_transformers(peer, demo_model):
    torch, transformers = peer("torch"), peer("transformers")
    checkpoint = ql.open_checkpoint(demo_model)
    ids = Tokenizer.of(checkpoint).encode(TEXT)
    assert ids == transformers.AutoTokenizer.from_pretrained(demo_model)(TEXT)["input_ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(load(checkpoint)(np.array(ids)), expected, atol=1e-3)
