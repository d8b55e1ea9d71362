"""What bitsandbytes writes through transformers is decoded as it decodes it itself, and llama.cpp runs the result."""

import numpy as np
import pytest
import tiny_models

import quantlib as ql

pytestmark = pytest.mark.peer

KINDS = {
    "nf4, scales quantized": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "fp4": {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"},
    "int8": {"load_in_8bit": True},
}
NAME = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize("kind", KINDS)
def test_bitsandbytes_files_are_decoded_as_it_decodes_them(peer, tmp_path, kind):
    torch, transformers, bitsandbytes = peer("torch"), peer("transformers"), peer("bitsandbytes")
    llama_cpp = peer("llama_cpp")
    source = tiny_models.write("llama_bpe", tmp_path / "source")
    how = transformers.BitsAndBytesConfig(**KINDS[kind])
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source, quantization_config=how, device_map="cpu", dtype=torch.float32
    )
    model.save_pretrained(tmp_path / "quantized")
    weight = model.model.layers[0].self_attn.q_proj.weight
    if "int8" in kind:
        expected = weight.data.float() * weight.SCB.reshape(-1, 1) / 127
    else:
        expected = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state).float()
    with ql.open_checkpoint(tmp_path / "quantized") as checkpoint:
        found = checkpoint.tensors[NAME].rows()
        assert sum(bool(tensor.origin) for tensor in checkpoint) == 21
        ql.run(ql.plan(checkpoint, "Q8_0"), tmp_path / "out.gguf")
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-8)
    llama = llama_cpp.Llama(str(tmp_path / "out.gguf"), n_ctx=64, verbose=False)
    llama.eval([1, 2, 3])
