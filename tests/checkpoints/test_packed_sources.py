"""Folders of MLX, torchao and AutoRound decode to the numbers that were packed, by packers written out here."""

import json
from pathlib import Path

import arch_models
import ml_dtypes
import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

import quantlib as ql
from quantlib.checkpoints import gguf_view, open_checkpoint

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "methods" / "prequantized.npz")
E4M3 = ml_dtypes.float8_e4m3fn


def opened(folder: Path, tensors: dict[str, np.ndarray], **config) -> ql.Checkpoint:
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return open_checkpoint(folder)


def in_pieces(tensor: ql.Tensor) -> np.ndarray:
    whole = tensor.rows()
    for step in (3, 7):
        pieces = [tensor.rows(i, min(i + step, tensor.nrows)) for i in range(0, tensor.nrows, step)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    return whole


def bit_stream(codes: np.ndarray, bits: int) -> np.ndarray:
    """Rows of codes as uint32 words, the first code in the lowest bits."""
    rows = []
    for row in codes:
        stream = sum(int(code) << (bits * at) for at, code in enumerate(row))
        rows.append(np.frombuffer(stream.to_bytes(len(row) * bits // 8, "little"), "<u4"))
    return np.array(rows)


@pytest.mark.parametrize("group", [32, 64])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_mlx(tmp_path, bits, group):
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, (10, 128))
    scales, biases = (rng.standard_normal((10, 128 // group)).astype(np.float16) for _ in range(2))
    module = {"m.weight": bit_stream(codes, bits), "m.scales": scales, "m.biases": biases, "m.bias": scales[0]}
    with opened(tmp_path / "m", module, quantization={"group_size": group, "bits": bits}) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight", "m.bias"}
        found = in_pieces(checkpoint.tensors["m.weight"])
        assert checkpoint.tensors["m.weight"].origin == f"MLX, {bits} bits, groups of {group}"
    each, offset = (np.repeat(x.astype(np.float32), group, axis=1) for x in (scales, biases))
    np.testing.assert_array_equal(found, codes.astype(np.float32) * each + offset)


def test_mlx_with_settings_for_single_modules_and_stacks(tmp_path):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 16, (6, 64))
    scales = rng.standard_normal((6, 2)).astype(np.float32)
    stack = {part: x.reshape(2, 3, -1) for part, x in (("weight", bit_stream(codes, 4)), ("scales", scales))}
    module = {f"m.{part}": x for part, x in stack.items()} | {"m.biases": np.zeros((2, 3, 2), np.float32)}
    plain = {"n.weight": np.ones((2, 4), np.float16)}
    settings = {"group_size": 64, "bits": 8, "m": {"group_size": 32, "bits": 4}, "n": False}
    with opened(tmp_path / "m", module | plain, quantization=settings, quantization_config=settings) as checkpoint:
        assert checkpoint.tensors["m.weight"].shape == (2, 3, 64)
        assert checkpoint.tensors["n.weight"].format == "FP16"
        found = in_pieces(checkpoint.tensors["m.weight"])
    np.testing.assert_array_equal(found, codes.astype(np.float32) * np.repeat(scales, 32, axis=1))


def test_mlx_in_microscaling_floats(tmp_path):
    rng = np.random.default_rng(2)
    codes, powers = rng.integers(0, 16, (5, 64)), rng.integers(120, 135, (5, 2), np.uint8)
    settings = {"group_size": 32, "bits": 4, "mode": "mxfp4"}
    module = {"m.weight": bit_stream(codes, 4), "m.scales": powers}
    with opened(tmp_path / "m", module, quantization=settings) as checkpoint:
        found = in_pieces(checkpoint.tensors["m.weight"])
    values = codes.astype(np.uint8).view(np.uint8)
    want = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)[values]
    np.testing.assert_array_equal(found, want * 2.0 ** (np.repeat(powers, 32, axis=1).astype(np.float32) - 127))


def test_an_mlx_folder_becomes_gguf(tmp_path):
    """The numbers of its codes go through the converter's changes like any other's."""
    folder = tiny_models.write("llama_bpe", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj"
    rows, columns = tensors.pop(f"{name}.weight").shape
    codes = np.random.default_rng(7).integers(0, 16, (rows, columns))
    scales = np.full((rows, columns // 64), 0.01, np.float32)
    packed = {"weight": bit_stream(codes, 4), "scales": scales, "biases": -8 * scales}
    config = json.loads((folder / "config.json").read_text()) | {"quantization": {"group_size": 64, "bits": 4}}
    with opened(folder, tensors | {f"{name}.{part}": x for part, x in packed.items()}, **config) as checkpoint:
        found = gguf_view(checkpoint).tensors["blk.0.attn_q.weight"].rows()
        want = checkpoint.tensors[f"{name}.weight"].rows()
    heads = config["num_attention_heads"]
    np.testing.assert_array_equal(found, want.reshape(heads, 2, -1, columns).swapaxes(1, 2).reshape(rows, columns))


def test_experts_as_mlx_stacks_them(tmp_path):
    folder = arch_models.write("qwen3_moe", tmp_path / "m")
    want = gguf_view(open_checkpoint(folder)).tensors
    tensors = load_file(folder / "model.safetensors")
    stacks: dict[str, list[np.ndarray]] = {}
    for name in sorted(tensors, key=lambda name: [int(part) if part.isdecimal() else part for part in name.split(".")]):
        before, experts, after = name.partition(".experts.")
        if experts:
            stacks.setdefault(f"{before}.switch_mlp.{after.partition('.')[2]}", []).append(tensors.pop(name))
    save_file(tensors | {name: np.stack(each) for name, each in stacks.items()}, folder / "stacked.safetensors")
    want = {name: tensor.raw() for name, tensor in want.items() if "_exps" in name}
    (folder / "model.safetensors").unlink()
    (folder / "stacked.safetensors").rename(folder / "model.safetensors")
    found = gguf_view(open_checkpoint(folder)).tensors
    assert want
    for name, data in want.items():
        np.testing.assert_array_equal(found[name].raw(), data)


def torchao(tmp_path: Path, parts: dict[str, np.ndarray]) -> np.ndarray:
    module = {f"m._weight_{part}": x for part, x in parts.items()} | {"m.bias": np.ones(4, np.float32)}
    with opened(tmp_path / "m", module, quantization_config={"quant_method": "torchao"}) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight", "m.bias"}
        return in_pieces(checkpoint.tensors["m.weight"])


@pytest.mark.parametrize("group", [None, 32])
def test_torchao_in_eight_bits(tmp_path, group):
    rng = np.random.default_rng(3)
    qdata = rng.integers(-128, 128, (16, 64)).astype(np.int8)
    scale = rng.random((16, 64 // (group or 64))).astype(np.float32)
    zero = rng.integers(-9, 9, scale.shape).astype(np.int8)
    spread, offset = (np.repeat(x.astype(np.float32), group or 64, axis=1) for x in (scale, zero))
    np.testing.assert_array_equal(torchao(tmp_path, {"qdata": qdata, "scale": scale}), qdata * spread)
    found = torchao(tmp_path, {"qdata": qdata, "scale": scale, "zero_point": zero})
    np.testing.assert_array_equal(found, (qdata - offset) * spread)


@pytest.mark.parametrize("shape", [(1, 1), (16, 1), (2, 4)])
def test_torchao_in_float8(tmp_path, shape):
    rng = np.random.default_rng(4)
    qdata, scale = rng.standard_normal((16, 64)).astype(E4M3), rng.random(shape).astype(np.float32)
    spread = np.repeat(np.repeat(scale, 16 // shape[0], axis=0), 64 // shape[1], axis=1)
    np.testing.assert_array_equal(
        torchao(tmp_path, {"qdata": qdata, "scale": scale}), qdata.astype(np.float32) * spread
    )


def test_torchao_in_four_bits(tmp_path):
    rng = np.random.default_rng(5)
    codes = rng.integers(-8, 8, (16, 64)).astype(np.int8)
    scale, zero = (rng.standard_normal((2, 16)).astype(np.float32) for _ in range(2))
    packed = (codes[:, ::2] & 15 | codes[:, 1::2] << 4).astype(np.int8)
    found = torchao(tmp_path, {"qdata": packed, "scale": scale, "zero_point": zero})
    spread, offset = (np.repeat(x.T, 32, axis=1) for x in (scale, zero))
    np.testing.assert_array_equal(found, codes * spread + offset)


def test_torchao_in_tiles(tmp_path):
    """Packed lane by lane, as the kernel of CUDA does it."""
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 16, (16, 256))
    packed = np.zeros((2, 2, 32, 4), np.uint32)
    order = (0, 2, 4, 6, 1, 3, 5, 7)  # which of the eight columns lies in which four bits, from the lowest on
    for down, along, lane, word in np.ndindex(packed.shape):
        first = 128 * along + 32 * word + 2 * (lane % 4)
        columns = [first + step + 8 * half + one for step in (0, 16) for half in (0, 1) for one in (0, 1)]
        values = codes[8 * down + lane // 4, columns]
        packed[down, along, lane, word] = sum(int(values[which]) << 4 * at for at, which in enumerate(order))
    both = rng.standard_normal((2, 16, 2)).astype(ml_dtypes.bfloat16)
    found = torchao(tmp_path, {"qdata": packed.view(np.int32), "scale_and_zero": both})
    spread, offset = (np.repeat(both[..., which].astype(np.float32).T, 128, axis=1) for which in (0, 1))
    np.testing.assert_array_equal(found, (codes - 8) * spread + offset)


def gptq_parts(case: str, version: int) -> dict[str, np.ndarray]:
    stored = {key.split("__")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{case}__")}
    return {
        "qweight": stored["qweight"], "qzeros": stored[f"qzeros_v{version}"], "scales": stored["scales_f16"],
        "dequant": stored["dequant_f16"],
    }  # fmt: skip


@pytest.mark.parametrize("packing, version", [("auto_round:auto_gptq", 1), ("auto_round", 2)])
def test_autoround_packed_as_gptq(tmp_path, packing, version):
    parts = gptq_parts("gptq_b4_g128_act0_sym0", version)
    want = parts.pop("dequant")
    settings = {
        "quant_method": "auto-round", "bits": 2, "group_size": 64, "packing_format": packing,
        "extra_config": {".*m": {"bits": 4, "group_size": 128}},
    }  # fmt: skip
    module = {f"m.{part}": x for part, x in parts.items()}
    with opened(tmp_path / "m", module, quantization_config=settings) as checkpoint:
        found = in_pieces(checkpoint.tensors["m.weight"])
    np.testing.assert_array_equal(found[:, :64].T.astype(np.float16), want)


def test_autoround_packed_as_awq(tmp_path):
    stored = {key.split("__")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith("awq__")}
    module = {f"m.{part}": stored[part] for part in ("qweight", "qzeros", "scales")}
    settings = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "packing_format": "auto_round:auto_awq"}
    with opened(tmp_path / "m", module, quantization_config=settings) as checkpoint:
        np.testing.assert_array_equal(checkpoint.tensors["m.weight"].rows().T.astype(np.float16), stored["dequant_T"])


@pytest.mark.parametrize(
    "method, name", [("exl2", "ExLlamaV2"), ("exl3", "ExLlamaV3"), ("aqlm", "AQLM"), ("hqq", "HQQ")]
)
def test_what_is_not_decoded_is_named_with_a_way_on(tmp_path, method, name):
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "README.md").write_text("---\nbase_model:\n- owner/Original-8B\n---\n")
    module, settings = {"m.q_weight": np.ones((4, 4), np.int32)}, {"quant_method": method}
    with opened(tmp_path / "m", module, quantization_config=settings, **config) as checkpoint:
        assert name in checkpoint.warnings[0]
        with pytest.raises(ql.CheckpointError, match=r"owner/Original-8B.*start from the original checkpoint"):
            gguf_view(checkpoint)
