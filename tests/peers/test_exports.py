"""Exported folders in transformers: they load, and give the logits of quantlib's own model of the same folder."""

import contextlib

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.exports import CALIBRATED, SCHEMES, export, prepare
from quantlib.exports.folder import write_beside
from quantlib.lm import Tokenizer, load
from quantlib.lm.windows import Windows, cut

pytestmark = pytest.mark.peer
TEXT = "Once there was a miller who had three sons, and when he died he left them his mill, his ass and his cat."
LOADERS = {"gptq": "gptqmodel", "awq": "gptqmodel", "bnb-nf4": "bitsandbytes", "bnb-fp4": "bitsandbytes"}
# Rounds activations to 8 bits when it runs, which quantlib's model does not.
ROUNDED_ACTIVATIONS = {"bnb-int8": 0.2}
ROUNDED_WEIGHTS = {"nvfp4": 0.1}  # decompressed to BF16 whatever the type asked for


@pytest.fixture(scope="module")
def source(demo_model, tmp_path_factory):
    """The demo model in FP32: loaders compute in the type of the source, and BF16 would hide what is compared."""
    folder = tmp_path_factory.mktemp("float32")
    with ql.open_checkpoint(demo_model) as checkpoint:
        weights = {name: tensor.rows().reshape(tensor.shape) for name, tensor in checkpoint.tensors.items()}
        write_beside(demo_model, folder, checkpoint.metadata["config"] | {"torch_dtype": "float32"})
    save_file(weights, folder / "model.safetensors")
    with ql.open_checkpoint(folder) as checkpoint:
        yield checkpoint


@pytest.fixture(scope="module")
def prepared(source, demo_model):
    """prepared(scheme): what a calibrated scheme needs, None for the others."""
    model, tokenizer = load(source), Tokenizer.of(source)
    text = (demo_model.parent / "calibration" / "mixed.txt").read_text(encoding="utf-8")
    whole = cut(model, tokenizer.encode(text), 256, tokenizer.bos)

    def of(scheme):
        return prepare(source, scheme, model, Windows(whole.tokens[:8], whole.bos)) if scheme in CALIBRATED else None

    return of


@pytest.mark.parametrize("name", list(SCHEMES))
def test_transformers_loads_it(peer, source, prepared, tmp_path, name):
    torch, transformers = peer("torch"), peer("transformers")
    peer("bitsandbytes" if name.startswith("bnb") else LOADERS.get(name, "compressed_tensors"))
    scheme = SCHEMES[name]
    export(source, tmp_path / "out", scheme, prepared(scheme))
    ids = Tokenizer.of(source).encode(TEXT)
    asked = {}
    if scheme.config(np.dtype("float32"))["quant_method"] == "compressed-tensors":
        asked["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32, **asked)
    for module in model.modules():  # bitsandbytes would multiply in BF16 where the processor can
        with contextlib.suppress(AttributeError):
            module.support_avx512bf16_for_cpu = False
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].float().numpy()
    with ql.open_checkpoint(tmp_path / "out") as written:
        ours = load(written)(np.array(ids))
        if scheme.config(np.dtype("float32"))["quant_method"] == "compressed-tensors":
            rtol = 2**-8 if name in ROUNDED_WEIGHTS else 1e-6
            for tensor, weight in model.state_dict().items():
                if tensor in written.tensors and weight.ndim == 2:
                    np.testing.assert_allclose(
                        weight.numpy(), written.tensors[tensor].rows(), rtol=rtol, err_msg=tensor
                    )
    np.testing.assert_allclose(ours, theirs, atol=(ROUNDED_ACTIVATIONS | ROUNDED_WEIGHTS).get(name, 1e-2))
