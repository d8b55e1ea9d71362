"""ComfyUI-GGUF's own loader reads our image models and text encoders, and finds the values that we find.

Its folder is not installed by any package: name a copy of it in COMFYUI_GGUF_FOLDER. Of ComfyUI itself the loader wants
a few names on import, which stand-ins give.
"""

import gzip
import importlib
import json
import os
import re
import sys
import types
from pathlib import Path

import arch_models
import numpy as np
import pytest
import synthetic
from safetensors.numpy import save_file

import quantlib as ql

pytestmark = pytest.mark.peer

FOLDER = os.environ.get("COMFYUI_GGUF_FOLDER", "")
GOLDEN = Path(__file__).parents[1] / "golden" / "diffusion"
MODELS = sorted(p.name.removesuffix(".json.gz") for p in GOLDEN.glob("*.json.gz") if not p.name.startswith("edge_"))
LAYERS = ("Linear", "Conv2d", "Embedding", "LayerNorm", "GroupNorm")


@pytest.fixture(scope="module")
def loader(peer):
    """Its modules loader and dequant."""
    if not FOLDER:
        pytest.skip("COMFYUI_GGUF_FOLDER does not name a copy of ComfyUI-GGUF")
    torch = peer("torch")
    comfy = types.ModuleType("comfy")
    for name in ("ops", "lora", "model_management"):
        part = types.ModuleType(f"comfy.{name}")
        setattr(comfy, name, part)
    layers = {name: type(name, (torch.nn.Module,), {}) for name in LAYERS}
    comfy.ops.manual_cast = type("manual_cast", (), layers)
    package = types.ModuleType("comfyui_gguf")
    package.__path__ = [FOLDER]
    with pytest.MonkeyPatch.context() as patch:
        for module in (comfy, comfy.ops, comfy.lora, comfy.model_management, package):
            patch.setitem(sys.modules, module.__name__, module)
        patch.setattr(sys, "path", [*sys.path])
        found = [importlib.import_module(f"comfyui_gguf.{name}") for name in ("loader", "dequant")]
        yield types.SimpleNamespace(loader=found[0], dequant=found[1], torch=torch)


def unpacked(loader, tensor) -> np.ndarray:
    """The values by its own decoder, computed in single precision where it would take half."""
    return loader.dequant.dequantize_tensor(tensor, loader.torch.float32, "target").numpy()


def read_by(loader, path: Path, architecture: str) -> None:
    """It knows the architecture, each tensor has the original's shape, and decodes to the values that we decode."""
    state, known = loader.loader.gguf_sd_loader(str(path), return_arch=True)
    assert known == architecture
    file = ql.open_checkpoint(path)
    assert list(state) == list(file.tensors)
    for name, found in state.items():
        shape = file.value(f"comfy.gguf.orig_shape.{name}", file.tensors[name].shape)
        assert tuple(found.shape) == tuple(shape), name
        values = loader.dequant.dequantize_tensor(
            found, loader.torch.float32, "target"
        ).numpy()  # not in half precision
        np.testing.assert_allclose(
            values.ravel(), file.tensors[name].rows().ravel(), rtol=1e-6, atol=1e-7, err_msg=name
        )
        if loader.dequant.is_quantized(found):  # unpacked by a layer, and only these do
            assert name.endswith(".weight") and len(shape) in (2, 4), name


@pytest.mark.parametrize(
    "model, recipe", [(model, "Q4_K_M") for model in MODELS] + [("sdxl-base", "Q5_1"), ("flux2-dev", "IQ4_XS")]
)
def test_it_reads_every_model(loader, model, recipe, tmp_path):
    case = json.loads(gzip.decompress((GOLDEN / f"{model}.json.gz").read_bytes()))
    synthetic.save(tmp_path / "m.safetensors", [(name, case["dtype"], shape) for name, shape in case["tensors"]])
    ql.run(ql.plan(ql.open_checkpoint(tmp_path / "m.safetensors"), recipe), tmp_path / "out.gguf")
    read_by(loader, tmp_path / "out.gguf", case["architecture"])


def test_it_reads_a_text_encoder(loader, tmp_path):
    """T5's names come back as those of the original."""
    width, heads, ffn, vocab = 256, 4, 512, 96
    block = "encoder.block.0.layer"
    shapes = {
        "shared.weight": (vocab, width), "encoder.final_layer_norm.weight": (width,),
        f"{block}.0.SelfAttention.relative_attention_bias.weight": (32, heads),
        f"{block}.0.layer_norm.weight": (width,), f"{block}.1.layer_norm.weight": (width,),
        f"{block}.1.DenseReluDense.wi_0.weight": (ffn, width), f"{block}.1.DenseReluDense.wi_1.weight": (ffn, width),
        f"{block}.1.DenseReluDense.wo.weight": (width, ffn),
        **{f"{block}.0.SelfAttention.{part}.weight": (width, width) for part in "qkvo"},
    }  # fmt: skip
    original = {name: synthetic.values(name, shape) for name, shape in shapes.items()}
    save_file(original, tmp_path / "t5.safetensors")
    ql.run(ql.plan(ql.open_checkpoint(tmp_path / "t5.safetensors"), "Q8_0"), tmp_path / "t5.gguf")
    state = loader.loader.gguf_clip_loader(str(tmp_path / "t5.gguf"))
    assert set(state) == set(original)
    for name, found in state.items():
        values = loader.dequant.dequantize_tensor(
            found, loader.torch.float32, "target"
        ).numpy()  # not in half precision
        np.testing.assert_allclose(values, original[name], atol=np.abs(original[name]).max() / 100, err_msg=name)


def test_it_reads_qwen_vl_with_what_sees_pictures(loader, tmp_path):
    """Qwen-Image's text encoder: the language half, and beside it the half that sees, whose file's name holds the
    other's. Both come back by the names of the original, with its values."""
    folder = arch_models.write("qwen2_5_vl", tmp_path / "qwen")
    with ql.open_checkpoint(folder) as opened:
        ql.run(ql.plan(opened, "Q8_0"), tmp_path / "Qwen2.5-VL-Q8_0.gguf")
        ql.run(ql.plan(ql.vision_half(opened), "F16"), tmp_path / "Qwen2.5-VL-mmproj-F16.gguf")
        original = {name: tensor.rows() for name, tensor in opened.tensors.items()}
    state = loader.loader.gguf_clip_loader(str(tmp_path / "Qwen2.5-VL-Q8_0.gguf"))
    seen = {name for name in state if name.startswith("visual.")}
    assert seen and any(name.startswith("visual.blocks.0.attn.qkv") for name in seen)
    for name, found in state.items():
        if name in seen and re.search(r"\.attn_[qkv]\.", name):
            continue  # it joins these, and leaves them beside
        values = unpacked(loader, found)
        known = original.get(name, original.get(name.replace("visual.", "model.visual.", 1)))
        assert known is not None, name
        np.testing.assert_allclose(values.reshape(known.shape), known, atol=1e-2 * np.abs(known).max(), err_msg=name)
