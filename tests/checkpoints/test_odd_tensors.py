"""Whatever a file holds is planned for: numbers alone, integers, doubles, more dimensions, scales beside weights."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.checkpoints import MetadataValue, open_checkpoint
from quantlib.checkpoints.gguf_types import foreign_type
from quantlib.checkpoints.gguf_writer import write_gguf

RNG = np.random.default_rng(5)
W = (RNG.standard_normal((256, 256)) * 0.05).astype(np.float32)
FP8 = ml_dtypes.float8_e4m3fn
STEP = 1 / 16 + 1e-6  # half a unit in the last place of three bits of fraction, relative


def quantized(tmp_path, arrays, recipe="Q8_0"):
    save_file(arrays, tmp_path / "model.safetensors")
    made = ql.plan(open_checkpoint(tmp_path / "model.safetensors"), recipe)
    ql.run(made, tmp_path / "out.gguf")
    return made, open_checkpoint(tmp_path / "out.gguf")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
def test_a_number_alone_is_written_as_one_value(tmp_path, dtype):
    _, file = quantized(tmp_path, {"logit_scale": np.array(4.5, dtype), "w.weight": W})
    assert file.tensors["logit_scale"].rows().tolist() == [[4.5]]
    assert file.tensors["w.weight"].format == "Q8_0"


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integers_are_copied(tmp_path, dtype):
    values = np.arange(77, dtype=dtype).reshape(1, 77)
    made, file = quantized(tmp_path, {"position_ids": values, "w.weight": W})
    assert file.tensors["position_ids"].raw().tobytes() == values.tobytes()
    assert not any("already quantized" in warning for warning in made.warnings)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint64])
def test_what_gguf_has_no_type_for_is_left_out_and_named(tmp_path, dtype):
    made, file = quantized(tmp_path, {"mask": np.ones((2, 3), dtype), "w.weight": W})
    assert list(file.tensors) == ["w.weight"]
    assert any("'mask'" in warning and "left out" in warning for warning in made.warnings)


def test_doubles_are_decoded(tmp_path):
    made, file = quantized(tmp_path, {"w.weight": W.astype(np.float64)}, "F32")
    assert np.array_equal(file.tensors["w.weight"].rows(), W)
    assert not made.warnings[1:]


@pytest.mark.parametrize("recipe", ["F32", "Q8_0", "Q4_K_M"])
def test_a_double_beyond_32_bits_is_no_damage(tmp_path, recipe):
    wide = W.astype(np.float64)
    wide[3, 5] = -1e300
    with pytest.raises(ql.JobError, match=r"w\.weight holds -1e\+300 at row 3, column 5, beyond the 32-bit floats"):
        quantized(tmp_path, {"w.weight": wide}, recipe)


def test_more_than_four_dimensions_become_four_with_a_note(tmp_path):
    x = RNG.standard_normal((2, 3, 2, 4, 32)).astype(np.float32)
    made, file = quantized(tmp_path, {"patch.weight": x, "w.weight": W}, "F32")
    assert file.tensors["patch.weight"].shape == (6, 2, 4, 32)
    assert np.array_equal(file.tensors["patch.weight"].rows().ravel(), x.ravel())
    assert any("'patch.weight'" in warning for warning in made.warnings)


@pytest.mark.parametrize("shape", [(0,), (4, 0), (0, 256)])
@pytest.mark.parametrize("suffix", ["safetensors", "gguf"])
def test_tensors_without_a_value_are_left_out_and_named(tmp_path, shape, suffix):
    """llama.cpp divides by the sizes that it reads."""
    none, path = np.empty(shape, np.float32), tmp_path / f"in.{suffix}"
    if suffix == "gguf":
        with open(path, "wb") as file:
            tensors = [(("none", shape, "FP32"), []), (("w.weight", W.shape, "FP32"), [W])]
            write_gguf(file, {"general.architecture": MetadataValue("string", "llama")}, tensors)
    else:
        save_file({"none": none, "w.weight": W}, path)
    made = ql.plan(open_checkpoint(path), "Q8_0")
    assert any("hold no value and are left out: 'none'" in warning for warning in made.warnings)
    ql.run(made, tmp_path / "out.gguf")
    assert list(open_checkpoint(tmp_path / "out.gguf").tensors) == ["w.weight"]


@pytest.mark.parametrize(("shapes", "said"), [((), "no tensor"), (((4, 0), (0,)), "2 tensors without a value")])
def test_a_file_without_a_value_makes_no_file(tmp_path, shapes, said):
    arrays = {f"t{i}": np.empty(shape, np.float32) for i, shape in enumerate(shapes)}
    save_file(arrays, tmp_path / "m.safetensors", metadata={"key": "value"})
    with pytest.raises(ql.RecipeError, match=f"m.safetensors holds {said}, so there is nothing to quantize"):
        ql.plan(open_checkpoint(tmp_path / "m.safetensors"), "Q8_0")


def test_long_names_stay(tmp_path):
    name = "text_encoders.transformer.model.language_model.layers.1.self_attn.q_proj.weight"
    _, file = quantized(tmp_path, {name: W})
    assert list(file.tensors) == [name]


def test_a_number_alone_in_a_gguf_file(tmp_path):
    path = tmp_path / "in.gguf"
    tensors = [(("logit_scale", (), "FP32"), [np.float32([2.5])]), (("w.weight", W.shape, "FP32"), [W])]
    with open(path, "wb") as file:
        write_gguf(file, {"general.architecture": MetadataValue("string", "llama")}, tensors)
    ql.run(ql.plan(open_checkpoint(path), "Q8_0"), tmp_path / "out.gguf")
    assert open_checkpoint(tmp_path / "out.gguf").tensors["logit_scale"].rows().tolist() == [[2.5]]


def scaled(kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The tensors of a scaled weight, and a number for each weight that the scale is."""
    if kind in ("tensor", "number"):
        scale = np.float32([np.abs(W).max() / 448])
        spread, stored = scale, scale if kind == "tensor" else scale.reshape(())
    elif kind == "row":
        spread = stored = (np.abs(W).max(axis=1, keepdims=True) / 448).astype(np.float32)
    else:
        stored = (np.abs(W.reshape(2, 128, 2, 128)).max(axis=(1, 3)) / 448).astype(np.float32)
        spread = np.kron(stored, np.ones((128, 128), np.float32))
    return {"stored": stored, "codes": (W / spread).astype(FP8)}, spread


@pytest.mark.parametrize("kind", ["tensor", "number", "row", "block"])
@pytest.mark.parametrize(
    "suffix", ["scale_weight", "weight_scale", "weight_scale_inv", "weight.scale", "scale", "scale_inv"]
)
def test_scales_beside_8_bit_weights_are_applied(tmp_path, kind, suffix):
    parts, spread = scaled(kind)
    arrays = {
        "blk.qkv.weight": parts["codes"],
        f"blk.qkv.{suffix}": parts["stored"],
        "blk.qkv.scale_input": np.float32([3]),
        "scaled_fp8": np.zeros(2, FP8),
        "img_in.weight": W.astype(np.float16),
    }
    made, file = quantized(tmp_path, arrays, "F32")
    assert set(file.tensors) == {"blk.qkv.weight", "img_in.weight"}
    exact = parts["codes"].astype(np.float32) * spread
    np.testing.assert_array_equal(file.tensors["blk.qkv.weight"].rows(), exact)
    assert np.abs(exact - W).max() <= STEP * np.abs(W).max()
    assert any("decoded here" in warning for warning in made.warnings)


def applied(tmp_path, arrays) -> np.ndarray:
    """The first of these tensors, as it is read from a file of them."""
    save_file(arrays, tmp_path / "m.safetensors")
    return open_checkpoint(tmp_path / "m.safetensors").tensors[next(iter(arrays))].rows()


STACK = np.ones((3, 8, 256), FP8)


@pytest.mark.parametrize("suffix", ["_scale", "_scale_inv", ".scale"])
@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (3, 8), (3, 8, 1)])
def test_a_stack_has_scales_for_each_matrix_or_row(tmp_path, shape, suffix):
    """Experts are stored so, under names that do not end in `.weight`."""
    scale = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    each = np.broadcast_to(scale.reshape(*shape[:2], *[1] * (3 - len(shape[:2]))), (3, 8, 1)).reshape(-1)
    found = applied(tmp_path, {"experts.gate_up_proj": STACK, f"experts.gate_up_proj{suffix}": scale})
    np.testing.assert_array_equal(found, np.repeat(each[:, None], 256, axis=1))


def test_a_stack_has_tiles_of_scales_for_each_matrix(tmp_path):
    scale = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2)
    found = applied(tmp_path, {"w": np.ones((3, 256, 256), FP8), "w_scale_inv": scale})
    np.testing.assert_array_equal(found.reshape(3, 256, 256), np.kron(scale, np.ones((128, 128), np.float32)))


@pytest.mark.parametrize("kind", [ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2fnuz, ml_dtypes.float8_e5m2])
def test_other_8_bit_floats_have_scales_too(tmp_path, kind):
    arrays = {"a.weight": (W * 100).astype(kind), "a.weight_scale": np.float32([0.5])}
    np.testing.assert_array_equal(applied(tmp_path, arrays), arrays["a.weight"].astype(np.float32) / 2)


def test_scales_of_columns(tmp_path):
    scale = np.arange(1, 257, dtype=np.float32)[None]
    found = applied(tmp_path, {"a.weight": np.ones((4, 256), FP8), "a.weight_scale": scale})
    np.testing.assert_array_equal(found, np.repeat(scale, 4, axis=0))


@pytest.mark.parametrize(
    ("weight", "scale"),
    [((256, 256), (7,)), ((256, 256), (3, 5)), ((256, 256), (0,)), ((3, 200, 256), (3, 2, 2)), ((4, 256), (256, 4))],
)
def test_scales_that_fit_in_no_way_are_refused(tmp_path, weight, scale):
    """Also tiles of 128 rows that would reach from one matrix of a stack into the next."""
    with pytest.raises(ql.CheckpointError, match=r"'a\.weight_scale'"):
        applied(tmp_path, {"a.weight": np.ones(weight, FP8), "a.weight_scale": np.ones(scale, np.float32)})


def test_a_scaled_number_alone(tmp_path):
    _, file = quantized(tmp_path, {"a.weight": np.array(3, FP8), "a.weight_scale": np.float32([2]), "w.weight": W})
    assert file.tensors["a.weight"].rows().tolist() == [[6]]


def packed_by_bitsandbytes() -> dict[str, np.ndarray]:
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [4, 64]})
    return {
        "a.weight": np.full((128, 1), 0x12, np.uint8),
        "a.weight.absmax": np.full(4, 2, np.float32),
        "a.weight.quant_map": np.arange(16, dtype=np.float32),
        "a.weight.quant_state.bitsandbytes__nf4": np.frombuffer(state.encode(), np.uint8),
    }


DESCRIBED = {  # what says itself how it is meant -> the first two weights
    "bitsandbytes": (packed_by_bitsandbytes(), (2, 4)),
    "compressed-tensors": (
        {
            "a.weight_packed": np.full((4, 8), 0x77777797, np.uint32).view(np.int32),  # codes are stored plus 8
            "a.weight_scale": np.full((4, 1), 2, np.float16),
            "a.weight_shape": np.array([4, 64]),
        },
        (-2, 2),
    ),
    "ModelOpt": (
        {
            "a.weight": np.full((4, 32), 0x42, np.uint8),
            "a.weight_scale": np.full((4, 4), 2, FP8),
            "a.weight_scale_2": np.array(0.5, np.float32),
        },
        (1, 2),
    ),
    "LLM.int8": ({"a.weight": np.full((4, 64), 127, np.int8), "a.SCB": np.full(4, 3, np.float32)}, (3, 3)),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_describes_itself_needs_no_config(tmp_path, name):
    arrays, first = DESCRIBED[name]
    made, file = quantized(tmp_path, arrays | {"w.weight": W}, "F32")
    assert set(file.tensors) == {"a.weight", "w.weight"}
    assert tuple(file.tensors["a.weight"].rows(0, 1)[0, :2].tolist()) == pytest.approx(first)
    assert any("decoded here" in warning for warning in made.warnings)


def test_packed_codes_without_their_config_are_no_weights(tmp_path):
    arrays = {"a.qweight": np.ones((32, 256), np.int32), "a.scales": np.ones((2, 256), np.float16)}
    with pytest.raises(ql.CheckpointError, match=r"'a\.qweight'.*config\.json"):
        quantized(tmp_path, arrays | {"w.weight": W})


def test_integers_are_copied_under_any_name(tmp_path):
    values = np.arange(1024, dtype=np.int32).reshape(4, 256) * 1000
    _, file = quantized(tmp_path, {"positions.weight": values, "w.weight": W}, "Q4_K_M")
    assert file.tensors["positions.weight"].raw().tobytes() == values.tobytes()


def test_blocks_that_do_not_divide_the_matrix(tmp_path):
    """200 rows in blocks of 128: the second block has 72 of them, not half of all."""
    codes, scale = np.ones((200, 256), FP8), np.float32([[1, 2], [3, 4]])
    save_file({"a.weight": codes, "a.weight_scale_inv": scale}, tmp_path / "m.safetensors")
    x = open_checkpoint(tmp_path / "m.safetensors").tensors["a.weight"].rows()
    assert (x[127, 0], x[128, 0], x[199, 255]) == (1, 3, 4)


def test_a_note_of_a_known_format_is_taken_off_and_others_are_refused(tmp_path):
    parts, _ = scaled("tensor")
    arrays = {"a.weight": parts["codes"], "a.weight_scale": parts["stored"]}
    for said, fine in (("float8_e4m3fn", True), ("int8_tensorwise", False)):
        note = np.frombuffer(json.dumps({"format": said}).encode(), np.uint8)
        save_file(arrays | {"a.comfy_quant": note}, tmp_path / "m.safetensors")
        checkpoint = open_checkpoint(tmp_path / "m.safetensors")
        if fine:
            assert list(checkpoint.tensors) == ["a.weight"]
        else:
            with pytest.raises(ql.CheckpointError, match="int8_tensorwise"):
                ql.plan(checkpoint, "Q8_0")


ONE, CODES = np.float32([2]), np.ones((32, 32), np.int8)


@pytest.mark.parametrize(
    ("arrays", "left"),
    [
        ({"a.weight": CODES, "a.weight_scale": ONE}, "a.weight_scale"),
        ({"a.weight": CODES, "a.weight_scales": ONE}, "a.weight_scales"),
        ({"a.weight._data": CODES, "a.weight._scale": ONE}, "a.weight._scale"),
        ({"a.weight:_data:qdata": CODES, "a.weight:_data:scale": ONE}, "a.weight:_data:scale"),
        ({"a.weight": CODES.astype(np.float16), "a.scale_weight": ONE}, "a.scale_weight"),
        ({"a.weight": CODES.astype(FP8), "a.weight_scale": ONE, "a.weight_scale_2": ONE}, "a.weight_scale_2"),
        ({"a.weight": CODES.astype(FP8), "a.weight_scale": ONE, "a.scale_weight": ONE}, "a.scale_weight"),
        ({"a.weight": CODES.astype(FP8), "a.weight_scale": ONE, "a.weight_zero_point": np.int8([1])}, "zero_point"),
        ({"a.weight": CODES.astype(FP8), "b.weight_scale": ONE}, "b.weight_scale"),
    ],
)
def test_a_scale_that_nobody_used_is_said(tmp_path, arrays, left):
    save_file(arrays, tmp_path / "m.safetensors")
    found = [w for w in open_checkpoint(tmp_path / "m.safetensors").warnings if "not applied" in w]
    assert len(found) == 1 and left in found[0], found


def test_other_parameters_called_scale_need_no_note(tmp_path):
    arrays = {"attn.norm.scale": ONE, "a.weight": W, "logit_scale": ONE, "scale_shift_table": ONE, "b.weight": CODES}
    save_file(arrays, tmp_path / "m.safetensors")
    assert not open_checkpoint(tmp_path / "m.safetensors").warnings


@pytest.mark.parametrize("kind", [31, 36, 137, 255])
def test_a_type_that_is_not_known_costs_only_its_tensor(tmp_path, kind):
    path = tmp_path / "in.gguf"
    known = (("b.weight", W.shape, "FP32"), [W])
    with open(path, "wb") as file:
        write_gguf(file, {}, [(("a.weight", (4, 256), "I8"), [np.ones((4, 256), np.int8)]), known])
    data = bytearray(path.read_bytes())
    at = data.index(b"a.weight") + 8 + 4 + 16
    data[at : at + 4] = kind.to_bytes(4, "little")
    path.write_bytes(data)
    checkpoint = open_checkpoint(path)
    odd = checkpoint.tensors["a.weight"]
    assert odd.format == foreign_type(kind) and not odd.decodable and odd.nbytes == 1024
    np.testing.assert_array_equal(checkpoint.tensors["b.weight"].rows(), W)
    with pytest.raises(ql.RecipeError, match=r"a\.weight is stored as ggml type"):
        ql.plan(checkpoint, "Q8_0")


def test_a_folder_of_the_diffusers_library_opens_its_model(tmp_path):
    part = tmp_path / "transformer"
    part.mkdir()
    (tmp_path / "model_index.json").write_text('{"_class_name": "LTXPipeline"}')
    (part / "config.json").write_text('{"_class_name": "LTXVideoTransformer3DModel"}')
    shards = {"a.weight": "one", "b.weight": "two"}
    for name, shard in shards.items():
        save_file({name: W}, part / f"diffusion_pytorch_model-{shard}.safetensors")
    weight_map = {name: f"diffusion_pytorch_model-{shard}.safetensors" for name, shard in shards.items()}
    index = part / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    for folder in (tmp_path, part):
        assert set(open_checkpoint(folder).tensors) == set(shards)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("stated, stored_less", [("gptq", 1), ("gptq", 0), ("gptq_v2", 0)])
def test_zero_points_are_read_as_they_are_stored(tmp_path, bits, stated, stored_less):
    """A symmetric checkpoint shows its version, whatever it says; each code is the distance from the middle."""
    each, middle = 32 // bits, 2 ** (bits - 1)
    codes = RNG.integers(0, 2**bits, (64, each))  # (inputs, outputs)

    def packed(values: np.ndarray) -> np.ndarray:
        lanes = values.reshape(-1, each, values.shape[1]).astype(np.uint64)
        words = (lanes << (np.arange(each, dtype=np.uint64) * np.uint64(bits))[:, None]).sum(axis=1)
        return words.astype(np.uint32).view(np.int32)

    zeros = packed(np.full((each, 1), middle - stored_less)).reshape(1, 1)
    config = {"quant_method": "gptq", "bits": bits, "group_size": 64, "sym": True, "checkpoint_format": stated}
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}))
    arrays = {"a.qweight": packed(codes), "a.qzeros": zeros, "a.scales": np.ones((1, each), np.float16)}
    save_file(arrays, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    np.testing.assert_array_equal(checkpoint.tensors["a.weight"].rows(), (codes - middle).T.astype(np.float32))
    assert any("version 2" in warning for warning in checkpoint.warnings) == ((stated, stored_less) == ("gptq", 0))
