"""LoRA adapters: the GGUF file is llama.cpp's converter's, byte for byte, and merging adds scale · B A."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

import quantlib as ql
from quantlib.checkpoints import gguf_view
from quantlib.cli import main

# Of what convert_lora_to_gguf.py (llama.cpp of llama-cpp-python 0.3.36) makes of `adapter_of` the model.
CONVERTED = {
    "llama_bpe": "cfd80e767872ac7f15b0f440499bc194b6c9f0b02d4f9d0e9cc7024d1b4e9c45",
    "qwen2": "f74bb2e11e085fe7dbd9579b1dc00347851dfba8b98f7f4bcfbdda2778eb6a9d",
}
ALL = tuple(f"{part}_proj.weight" for part in ("q", "k", "v", "o", "gate", "up", "down"))
RANK, ALPHA = 8, 16


@pytest.fixture
def base(tmp_path) -> Path:
    return tiny_models.write("llama_bpe", tmp_path / "llama_bpe")


def adapter_of(base: Path, *, ends=ALL, more: dict[str, np.ndarray] | None = None, **config) -> Path:
    """An adapter beside a model, with random matrices for all weights whose names end so."""
    rng, tensors = np.random.default_rng(1), {}
    for name, x in load_file(base / "model.safetensors").items():
        if name.endswith(ends):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{module}.lora_A.weight"] = rng.standard_normal((RANK, x.shape[1])).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = rng.standard_normal((x.shape[0], RANK)).astype(np.float32)
    folder = base.with_name(f"{base.name}-lora")
    folder.mkdir()
    save_file(tensors | (more or {}), folder / "adapter_model.safetensors")
    stated = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA} | config
    (folder / "adapter_config.json").write_text(json.dumps(stated))
    return folder


def matrices(folder: Path, module: str) -> tuple[np.ndarray, np.ndarray]:
    tensors = load_file(folder / "adapter_model.safetensors")
    return tuple(tensors[f"base_model.model.{module}.lora_{which}.weight"] for which in "AB")


@pytest.mark.parametrize("name", CONVERTED)
def test_an_adapter_is_the_converters(tmp_path, name, capsys):
    base = tiny_models.write(name, tmp_path / name)
    out = tmp_path / "out.gguf"
    assert main(["adapter", str(adapter_of(base)), str(out), "--base", str(base)]) == 0
    assert "21 matrices changed" in capsys.readouterr().out
    assert hashlib.sha256(out.read_bytes()).hexdigest() == CONVERTED[name]


Q = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    "config, scale",
    [
        ({}, ALPHA / RANK),
        ({"use_rslora": True}, ALPHA / RANK**0.5),
        ({"alpha_pattern": {"layers.1.self_attn.q_proj": 4}}, 4 / RANK),
    ],
)
def test_merging_adds_the_product(base, config, scale):
    folder = adapter_of(base, **config)
    a, b = matrices(folder, Q)
    with ql.open_checkpoint(base) as checkpoint:
        found, before = ql.merged(checkpoint, folder).tensors[f"{Q}.weight"], checkpoint.tensors[f"{Q}.weight"].rows()
        np.testing.assert_allclose(found.rows(), before + scale * b @ a, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.rows(3, 5), found.rows()[3:5], rtol=1e-5, atol=1e-5)
        untouched = "model.norm.weight"
        assert ql.merged(checkpoint, folder).tensors[untouched] is checkpoint.tensors[untouched]


def test_a_gguf_adapter_says_what_merging_does(base, tmp_path):
    """alpha / rank times B A in GGUF's row order is the difference between the merged model and the model."""
    folder = adapter_of(base, use_rslora=True)
    out = tmp_path / "out.gguf"
    main(["adapter", str(folder), str(out), "--base", str(base), "--format", "F32"])
    with ql.open_checkpoint(out) as file, ql.open_checkpoint(base) as checkpoint:
        before, after = gguf_view(checkpoint).tensors, gguf_view(ql.merged(checkpoint, folder)).tensors
        alpha = file.value("adapter.lora.alpha")
        for name in ("blk.1.attn_q.weight", "blk.0.ffn_down.weight"):
            a, b = (file.tensors[f"{name}.lora_{which}"].rows() for which in "ab")
            difference = after[name].rows() - before[name].rows()
            np.testing.assert_allclose(alpha / RANK * b @ a, difference, rtol=1e-3, atol=1e-3)


def test_lengths_of_rows_are_set_at_the_end(base):
    lengths = np.linspace(1, 2, 256, dtype=np.float32)
    folder = adapter_of(base, more={f"base_model.model.{Q}.lora_magnitude_vector": lengths}, use_dora=True)
    with ql.open_checkpoint(base) as checkpoint:
        found = ql.merged(checkpoint, folder).tensors[f"{Q}.weight"].rows()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=1e-5)


def test_a_merged_model_is_quantized_in_one_command(base, tmp_path, capsys):
    out = tmp_path / "out.gguf"
    assert main(["quantize", str(base), str(out), "--recipe", "F32", "--adapter", str(adapter_of(base))]) == 0
    with ql.open_checkpoint(out) as file, ql.open_checkpoint(base) as checkpoint:
        want = gguf_view(ql.merged(checkpoint, base.with_name("llama_bpe-lora"))).tensors["blk.0.ffn_up.weight"].rows()
        np.testing.assert_array_equal(file.tensors["blk.0.ffn_up.weight"].rows(), want)
    assert main(["quantize", str(base), str(out), "--adapter", "x", "--scheduler", "tcp://nowhere:1"]) == 1
    assert "do not go together" in capsys.readouterr().err


WRONG = {
    "another model's": ({}, {"base_model.model.model.layers.9.x_proj": (8, 8)}, "belongs to another model"),
    "another shape": ({}, {f"base_model.model.{Q.replace('q_', 'z_')}": (8, 8)}, "belongs to another model"),
    "another kind": ({"peft_type": "IA3"}, {}, "only LoRA adapters are read"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_merged_is_refused(base, kind):
    config, modules, words = WRONG[kind]
    more = {}
    for module, (rows, columns) in modules.items():
        more |= {f"{module}.lora_A.weight": np.ones((2, columns), np.float32)}
        more |= {f"{module}.lora_B.weight": np.ones((rows, 2), np.float32)}
    folder = adapter_of(base, more=more, **config)
    with ql.open_checkpoint(base) as checkpoint, pytest.raises(ql.CheckpointError, match=words):
        ql.merged(checkpoint, folder)


def test_what_no_gguf_adapter_holds_is_to_be_merged(base, tmp_path, capsys):
    head = {"base_model.model.lm_head.weight": np.ones((4096, 256), np.float32)}
    folder = adapter_of(base, more=head)
    assert main(["adapter", str(folder), str(tmp_path / "out.gguf"), "--base", str(base)]) == 1
    assert "merge it into the model (--adapter)" in capsys.readouterr().err


def test_an_adapter_without_its_model_names_both_commands(base):
    with pytest.raises(ql.CheckpointError, match=r"--adapter.*quantlib adapter"):
        ql.open_checkpoint(adapter_of(base))
