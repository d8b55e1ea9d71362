"""Quantized checkpoints decode as the libraries that wrote them decode them, in any pieces, and keep their names."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

import quantlib as ql
from quantlib.checkpoints import gguf_view, open_checkpoint
from quantlib.errors import CheckpointError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "methods" / "prequantized.npz")
CASES = sorted({key.split("__")[0] for key in GOLDEN.files if "__" in key})
E4M3 = ml_dtypes.float8_e4m3fn


def parts(case: str) -> dict[str, np.ndarray]:
    return {key.split("__")[1]: GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{case}__")}


def opened(folder: Path, tensors: dict[str, np.ndarray], quantization: dict, **config) -> ql.Checkpoint:
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))
    return open_checkpoint(folder)


def same_in_pieces(tensor: ql.Tensor) -> np.ndarray:
    """All rows at once, and the same bits in pieces that start and end anywhere."""
    whole = tensor.rows()
    for step in (1, 5, 13):
        pieces = [tensor.rows(i, min(i + step, tensor.nrows)) for i in range(0, tensor.nrows, step)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert tensor.rows(3, 3).shape == (0, tensor.n)
    assert tensor.raw(0, 2).nbytes == 8 * tensor.n
    return whole


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("gptq")])
def test_gptq(tmp_path, case, version):
    stored, bits = parts(case), int(case[6])
    module = {
        "m.qweight": stored["qweight"],
        "m.qzeros": stored[f"qzeros_v{version}"],
        "m.scales": stored["scales_f16"],
        "m.g_idx": stored["g_idx"],
    }
    settings = {"quant_method": "gptq", "bits": bits, "group_size": 128}
    settings |= {"checkpoint_format": "gptq_v2"} if version == 2 else {}
    with opened(tmp_path / "m", module, settings) as checkpoint:
        assert list(checkpoint.tensors) == ["m.weight"]
        found = same_in_pieces(checkpoint.tensors["m.weight"])
        assert checkpoint.tensors["m.weight"].origin == f"GPTQ, {bits} bits, groups of 128"
        assert len(checkpoint.warnings) == 1
    assert found.shape == (32, 512)
    # The peer multiplies in half precision: the same numbers, rounded once.
    np.testing.assert_array_equal(found[:, :64].T.astype(np.float16), stored["dequant_f16"])


def test_gptq_without_an_order_takes_groups_in_turn(tmp_path):
    stored = parts("gptq_b4_g128_act0_sym0")
    module = {
        "m.qweight": stored["qweight"], "m.qzeros": stored["qzeros_v1"], "m.scales": stored["scales_f16"]
    }  # fmt: skip
    with opened(tmp_path / "m", module, {"quant_method": "gptq", "bits": 4, "group_size": 128}) as checkpoint:
        found = checkpoint.tensors["m.weight"].rows()
    np.testing.assert_array_equal(found[:, :64].T.astype(np.float16), stored["dequant_f16"])


def test_the_older_place_of_gptqs_settings(tmp_path):
    stored = parts("gptq_b8_g128_act1_sym0")
    module = {
        "m.qweight": stored["qweight"], "m.qzeros": stored["qzeros_v1"],
        "m.scales": stored["scales_f16"], "m.g_idx": stored["g_idx"],
    }  # fmt: skip
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "quantize_config.json").write_text(json.dumps({"bits": 8, "group_size": 128, "desc_act": True}))
    with opened(folder, module, {}) as checkpoint:
        assert checkpoint.tensors["m.weight"].shape == (32, 512)


def test_awq(tmp_path):
    stored = parts("awq")
    module = {f"m.{part}": stored[part] for part in ("qweight", "qzeros", "scales")}
    settings = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
    with opened(tmp_path / "m", module, settings) as checkpoint:
        found = same_in_pieces(checkpoint.tensors["m.weight"])
    np.testing.assert_array_equal(found.T.astype(np.float16), stored["dequant_T"])


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("ct_")])
def test_compressed_tensors(tmp_path, case):
    stored = parts(case)
    want = stored.pop("decompressed")
    if want.dtype == np.uint16:
        want = want.view(ml_dtypes.bfloat16)
    for part, x in stored.items():
        if x.dtype == np.uint8 and (part == "weight" or (part == "weight_scale" and "nvfp4" in case)):
            stored[part] = x.view(E4M3)
    more = {"m.input_global_scale": np.ones(1, np.float32), "m.bias": np.ones(16, np.float32)}
    settings = {"quant_method": "compressed-tensors", "format": "x", "config_groups": {}}
    module = {f"m.{part}": x for part, x in stored.items()} | more
    with opened(tmp_path / "m", module, settings) as checkpoint:
        assert set(checkpoint.tensors) == {"m.weight", "m.bias"}
        found = same_in_pieces(checkpoint.tensors["m.weight"])
    np.testing.assert_array_equal(found.astype(want.dtype), want)


def bitsandbytes_module(packed, absmax, codebook, kind: str, block: int, **nested) -> dict[str, np.ndarray]:
    state = {"quant_type": kind, "blocksize": block, "dtype": "float16", "shape": [16, 512]} | {
        key: value for key, value in nested.items() if not isinstance(value, np.ndarray)
    }
    text = np.frombuffer(json.dumps(state).encode(), np.uint8)
    arrays = {f"m.weight.{key}": value for key, value in nested.items() if isinstance(value, np.ndarray)}
    return arrays | {
        "m.weight": packed.reshape(-1, 1),
        "m.weight.absmax": absmax,
        "m.weight.quant_map": codebook,
        f"m.weight.quant_state.bitsandbytes__{kind}": text,
    }


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.startswith("bnb") and "_b" in case[5:] and "bf" not in case]
)
def test_bitsandbytes_in_four_bits(tmp_path, case, nested):
    stored, kind, block = parts(case), case[4:7], int(case.rpartition("_b")[2])
    codebook = GOLDEN[f"bnb_code_{kind}"]
    if nested:
        module = bitsandbytes_module(
            stored["packed"], stored["nested_u8"], codebook, kind, block, nested_blocksize=256,
            nested_offset=float(stored["nested_offset"]), nested_absmax=stored["nested_absmax"],
            nested_quant_map=GOLDEN["bnb_code_dynamic8"],
        )  # fmt: skip
    else:
        module = bitsandbytes_module(stored["packed"], stored["absmax"], codebook, kind, block)
    with opened(tmp_path / "m", module, {"quant_method": "bitsandbytes"}) as checkpoint:
        assert list(checkpoint.tensors) == ["m.weight"]
        found = same_in_pieces(checkpoint.tensors["m.weight"])
    absmax = stored["nested_deq"] if nested else stored["absmax"]
    packed = stored["packed"].reshape(-1)
    codes = np.stack([packed >> 4, packed & 15], axis=1).reshape(-1)
    want = codebook[codes] * np.repeat(absmax, block)
    np.testing.assert_allclose(found.reshape(-1), want, rtol=3e-7 if nested else 0)  # an ulp of the sum with the offset


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_bitsandbytes_gives_what_the_peer_rounds(tmp_path, dtype):
    stored = parts(f"bnb_nf4_{dtype}")
    module = bitsandbytes_module(stored["packed"], stored["absmax"], GOLDEN["bnb_code_nf4"], "nf4", 64)
    with opened(tmp_path / "m", module, {"quant_method": "bitsandbytes"}) as checkpoint:
        found = checkpoint.tensors["m.weight"].rows()
    kind = np.float16 if dtype == "f16" else ml_dtypes.bfloat16
    np.testing.assert_array_equal(found.astype(kind), stored["bits"].view(kind))


def test_bitsandbytes_in_eight_bits(tmp_path):
    stored = parts("int8")
    module = {"m.weight": stored["CB"], "m.SCB": stored["SCB"], "m.weight_format": np.zeros((), np.uint8)}
    with opened(tmp_path / "m", module, {"quant_method": "bitsandbytes", "load_in_8bit": True}) as checkpoint:
        assert list(checkpoint.tensors) == ["m.weight"]
        found = same_in_pieces(checkpoint.tensors["m.weight"])
    np.testing.assert_allclose(found, stored["deq"], rtol=3e-7)  # two multiplications in another order


@pytest.mark.parametrize("shape", [(256, 384), (200, 300)])
def test_fp8_in_blocks(tmp_path, shape):
    rng = np.random.default_rng(0)
    codes = (rng.standard_normal(shape) * 100).astype(E4M3)
    scale = rng.random((-(-shape[0] // 128), -(-shape[1] // 128)), np.float32)
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    with opened(tmp_path / "m", {"m.weight": codes, "m.weight_scale_inv": scale}, settings) as checkpoint:
        found = same_in_pieces(checkpoint.tensors["m.weight"])
    each = np.kron(scale, np.ones((128, 128), np.float32))[: shape[0], : shape[1]]
    np.testing.assert_array_equal(found, codes.astype(np.float32) * each)


@pytest.mark.parametrize("kind", ["tensor", "row"])
def test_fp8_with_one_scale_for_a_tensor_or_a_row(tmp_path, kind):
    rng = np.random.default_rng(0)
    codes = (rng.standard_normal((16, 32)) * 100).astype(E4M3)
    scale = np.float32(0.25) * np.ones(() if kind == "tensor" else (16, 1), np.float32)
    with opened(tmp_path / "m", {"m.weight": codes, "m.weight_scale": scale}, {"quant_method": "fp8"}) as checkpoint:
        np.testing.assert_array_equal(checkpoint.tensors["m.weight"].rows(), codes.astype(np.float32) / 4)


def test_modelopts_nvfp4_multiplies_its_second_scale(tmp_path):
    stored = parts("ct_nvfp4")
    module = {
        "m.weight": stored["weight_packed"],
        "m.weight_scale": stored["weight_scale"].view(E4M3),
        "m.weight_scale_2": 1 / stored["weight_global_scale"],
        "m.input_scale": np.ones(1, np.float32),
    }
    with opened(tmp_path / "m", module, {"quant_method": "modelopt"}) as checkpoint:
        assert list(checkpoint.tensors) == ["m.weight"]
        found = checkpoint.tensors["m.weight"].rows()
    want = stored["decompressed"].view(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(found.astype(want.dtype), want)


REFUSED = {
    "another method": ({"quant_method": "hqq"}, "quantized by HQQ"),
    "no method": ({"bits": 4}, "a method that it does not name"),
    "marlin": ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "the layout 'marlin'"),
    "five bits": ({"quant_method": "gptq", "bits": 5}, "GPTQ with 5 bits"),
    "gemv": ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "the layout 'gemv'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_decoded_is_shown_and_not_converted(tmp_path, name):
    settings, fragment = REFUSED[name]
    x = np.ones((4, 4), np.int32)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    with opened(tmp_path / "m", {"m.qweight": x}, settings, **config) as checkpoint:
        assert list(checkpoint.tensors) == ["m.qweight"]
        assert fragment in checkpoint.warnings[0]
        with pytest.raises(CheckpointError, match="cannot be converted") as caught:
            gguf_view(checkpoint)
    assert fragment in str(caught.value)


def broken() -> dict[str, tuple[dict, dict, str]]:
    """Name -> tensors, settings, what the sentence says."""
    g, a, c = parts("gptq_b4_g128_act1_sym1"), parts("awq"), parts("ct_w4a16_asym")
    gptq = {"qweight": g["qweight"], "qzeros": g["qzeros_v1"], "scales": g["scales_f16"], "g_idx": g["g_idx"]}
    awq = {part: a[part] for part in ("qweight", "qzeros", "scales")}
    bnb = bitsandbytes_module(
        GOLDEN["bnb_nf4_b64__packed"], GOLDEN["bnb_nf4_b64__absmax"], GOLDEN["bnb_code_nf4"], "nf4", 64
    )
    bnb = {name.removeprefix("m."): x for name, x in bnb.items()}
    state = "weight.quant_state.bitsandbytes__nf4"
    c.pop("decompressed")
    G, A, C = {"quant_method": "gptq", "bits": 4}, {"quant_method": "awq"}, {"quant_method": "compressed-tensors"}
    B, F = {"quant_method": "bitsandbytes"}, {"quant_method": "fp8"}
    codes = np.ones((8, 8), np.float32).astype(E4M3)
    return {
        "gptq without scales": ({k: v for k, v in gptq.items() if k != "scales"}, G, "has no 'scales'"),
        "gptq of floats": (gptq | {"qweight": np.ones((64, 32), np.float32)}, G, "no matrix of 32-bit words"),
        "gptq with few scales": (gptq | {"scales": g["scales_f16"][:, :8]}, G, "of another shape"),
        "gptq with a group beyond": (gptq | {"g_idx": g["g_idx"] + 1}, G, "'g_idx'"),
        "gptq with a negative group": (gptq | {"g_idx": g["g_idx"] - 1}, G, "'g_idx'"),
        "gptq with a short order": (gptq | {"g_idx": g["g_idx"][:5]}, G, "'g_idx'"),
        "awq with few zeros": (awq | {"qzeros": a["qzeros"][:, :2]}, A, "of another shape"),
        "packed of another shape": (c | {"weight_shape": np.array([17, 512])}, C, "'weight_shape'"),
        "packed of no columns": (c | {"weight_shape": np.array([16, 0])}, C, "'weight_shape'"),
        "packed with few zeros": (c | {"weight_zero_point": c["weight_zero_point"][:1]}, C, "than the scales"),
        "packed without scales": ({k: v for k, v in c.items() if k != "weight_scale"}, C, "has no 'weight_scale'"),
        "no JSON": (bnb | {state: np.frombuffer(b"{", np.uint8)}, B, "not valid JSON"),
        "a huge shape": (bnb | {state: np.frombuffer(b'{"shape": [1000000, 1000000]}', np.uint8)}, B, "another size"),
        "a codebook of three": (bnb | {"weight.quant_map": np.ones(3, np.float32)}, B, "16 values"),
        "few scales": (bnb | {"weight.absmax": np.ones(3, np.float32)}, B, "another size"),
        "fp8 with odd scales": ({"weight": codes, "weight_scale": np.ones((5, 8), np.float32)}, F, "another shape"),
        "fp8 of floats": ({"weight": np.ones((8, 8), np.float32), "weight_scale": np.ones(1, np.float32)}, F, "8-bit"),
    }


BROKEN = broken()


@pytest.mark.parametrize("name", BROKEN)
def test_parts_that_contradict_each_other_are_refused(tmp_path, name):
    tensors, settings, fragment = BROKEN[name]
    with pytest.raises(CheckpointError) as caught:
        # What headers tell is refused when the file is opened, what values tell when they are read.
        opened(tmp_path / "m", {f"m.{part}": x for part, x in tensors.items()}, settings).tensors["m.weight"].rows()
    assert fragment in str(caught.value) and str(caught.value).endswith(".")


def test_a_quantized_llama_converts_to_gguf(tmp_path):
    """Rows of q are permuted after decoding, and a plan and a run take the decoded weights."""
    folder = tiny_models.write("llama_bpe", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name, want = "model.layers.0.self_attn.q_proj", {}
    for whole in [name, "model.layers.1.mlp.down_proj"]:
        x = tensors.pop(f"{whole}.weight")
        codes = (x / 0.01).astype(E4M3)
        tensors |= {
            f"{whole}.weight": codes,
            f"{whole}.weight_scale_inv": np.full((-(-len(x) // 128), -(-x.shape[1] // 128)), 0.01, np.float32),
        }
        want[whole] = codes.astype(np.float32) * np.float32(0.01)
    config = json.loads((folder / "config.json").read_text())
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    with opened(folder, tensors, settings, **config) as checkpoint:
        view = gguf_view(checkpoint)
        heads = want[name].reshape(8, 2, 16, 256).swapaxes(1, 2).reshape(256, 256)
        np.testing.assert_array_equal(view.tensors["blk.0.attn_q.weight"].rows(), heads)
        ql.run(ql.plan(checkpoint, "F32"), tmp_path / "out.gguf")
    with open_checkpoint(tmp_path / "out.gguf") as written:
        found = written.tensors["blk.1.ffn_down.weight"].rows()
    np.testing.assert_array_equal(found, want["model.layers.1.mlp.down_proj"])
