"""Encoders of many shapes against transformers' own vectors, from a folder and from the GGUF file made of it."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.lm.encoder_loading import load_encoder

pytestmark = pytest.mark.peer

BERT = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 320,
    "max_position_embeddings": 128,
}  # fmt: skip
T5 = {"d_model": 64, "d_ff": 96, "d_kv": 24, "num_layers": 3, "num_heads": 4, "vocab_size": 320}
CASES = {
    "bert": ("Bert", "BertModel", BERT),
    "xlm-roberta": ("XLMRoberta", "XLMRobertaModel", BERT | {"pad_token_id": 1, "type_vocab_size": 1}),
    "modernbert": ("ModernBert", "ModernBertModel", BERT | {"local_attention": 14, "global_attn_every_n_layers": 2,
                   "num_hidden_layers": 5, "norm_bias": True, "attention_bias": True, "mlp_bias": True,
                   "pad_token_id": 0, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}),
    "t5, gated": ("T5", "T5EncoderModel", T5 | {"feed_forward_proj": "gated-gelu"}),
    "t5, not gated": ("T5", "T5EncoderModel", T5 | {"relative_attention_num_buckets": 16}),
    "umt5, distances in every layer": ("UMT5", "UMT5EncoderModel", T5 | {"feed_forward_proj": "gated-gelu"}),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def made(request, peer, tmp_path_factory):
    """A tiny encoder's folder, tokens, and what transformers makes of them."""
    torch, transformers = peer("torch"), peer("transformers")
    config, kind, sizes = CASES[request.param]
    torch.manual_seed(3)
    model = (
        getattr(transformers, kind)
        ._from_config(
            getattr(transformers, f"{config}Config")(**sizes), dtype=torch.float32, attn_implementation="eager"
        )
        .eval()
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp(config)
    model.save_pretrained(folder)
    tokens = torch.randint(4, 300, (1, 100))
    with torch.no_grad():
        hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0].numpy()
    return folder, tokens[0].numpy(), hidden


def test_vectors_are_those_of_transformers(made, tmp_path):
    folder, tokens, expected = made
    with ql.open_checkpoint(folder) as checkpoint:
        np.testing.assert_allclose(load_encoder(checkpoint).hidden(tokens), expected, atol=1e-3)
        ql.run(ql.plan(checkpoint, "F32"), tmp_path / "encoder.gguf")
    with ql.open_checkpoint(tmp_path / "encoder.gguf") as file:
        np.testing.assert_allclose(load_encoder(file).hidden(tokens), expected, atol=1e-3)
