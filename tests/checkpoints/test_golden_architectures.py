"""Models of every declared architecture against llama.cpp's converter: every key in its order, every tensor's bytes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import arch_models
import ml_dtypes
import numpy as np
import pytest

import quantlib as ql
from quantlib.checkpoints import gguf_view, open_checkpoint, vision_half
from quantlib.jobs import plan

CASES = tuple(arch_models.cases())
SEEING = tuple(name for name, case in arch_models.cases().items() if case.get("mmproj"))
# The converter forgets this one, without which llama.cpp does not load the file.
FORGOTTEN = {"mistral3": "v.token_embd.img_break"}
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("arch")
    return {name: arch_models.write(name, root / name) for name in CASES}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def view_of(folder: Path, golden: dict):
    file_type = golden["metadata"].get("general.file_type", {"value": 0})["value"]
    return gguf_view(open_checkpoint(folder), file_type=file_type)


@pytest.fixture(params=[*CASES, *(f"{name}, what sees" for name in SEEING)])
def pair(request, folders):
    name, half, _ = request.param.partition(", what sees")
    case = arch_models.cases()[name]
    if not half:
        return view_of(folders[name], case["gguf"]), case["gguf"]
    view = gguf_view(vision_half(open_checkpoint(folders[name])), 0)
    kept = {name: tensor for name, tensor in view.tensors.items() if name not in FORGOTTEN.values()}
    return replace(view, tensors=kept), case["mmproj"]


def same_value(found: object, want: dict) -> bool:
    kinds, value = [kind.lower() for kind in want["type"]], want["value"]
    if kinds[0] != "array":
        return np.float32(found) == np.float32(value) if kinds[0] == "float32" else found == value
    listed = found.tolist() if isinstance(found, np.ndarray) else list(found)
    if kinds[1] == "float32":
        listed = [float(np.float32(x)) for x in listed]
    return len(listed) == value["n"] and sha256(json.dumps(listed).encode()) == value["sha256"]


def test_every_key_is_the_converters(pair):
    view, golden = pair
    assert list(view.metadata) == list(golden["metadata"])
    for key, want in golden["metadata"].items():
        kinds = [kind.lower() for kind in want["type"]]
        assert view.metadata[key].type == (f"array[{kinds[1]}]" if kinds[0] == "array" else kinds[0]), key
        assert same_value(view.metadata[key].value, want), key


def test_every_tensor_is_the_converters(pair):
    """Bytes are equal, but for numbers that come from exp or powers, where libraries differ in the last bit."""
    view, golden = pair
    assert list(view.tensors) == [tensor["name"] for tensor in golden["tensors"]]
    for want in golden["tensors"]:
        tensor, dtype = view.tensors[want["name"]], DTYPES.get(want["type"])
        assert list(tensor.shape) == want["shape"], want["name"]
        assert dtype is not None or tensor.format == want["type"], want["name"]
        data = tensor.raw() if dtype is None else tensor.rows().astype(dtype)
        if sha256(np.ascontiguousarray(data).tobytes()) != want["sha256"]:
            assert "values" in want, want["name"]
            expected = np.array(want["values"], np.float32)
            assert (np.abs(data.reshape(-1) - expected) <= np.spacing(np.abs(expected))).all(), want["name"]


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("odd/")])
def test_tensors_are_the_same_in_pieces(folders, name):
    view = view_of(folders[name], arch_models.cases()[name]["gguf"])
    for tensor in view.tensors.values():
        if "token_embd" in tensor.name:
            continue
        whole = tensor.raw()
        for step in (7, 96):
            pieces = [tensor.raw(at, min(at + step, tensor.nrows)) for at in range(0, tensor.nrows, step)]
            np.testing.assert_array_equal(np.concatenate(pieces), whole, err_msg=tensor.name)


FORMATS = {"F32": "FP32", "BF16": "BF16", "F16": "FP16"}


@pytest.mark.parametrize("name", CASES)
def test_a_plan_gives_each_tensor_the_converters_type(folders, name):
    case = arch_models.cases()[name]
    with open_checkpoint(folders[name]) as checkpoint:
        planned = plan(checkpoint, case["outtype"].upper())
    types = [(tensor["name"], FORMATS.get(tensor["type"], tensor["type"])) for tensor in case["gguf"]["tensors"]]
    assert [(tensor.name, tensor.target) for tensor in planned.tensors] == types
    want = case["gguf"]["metadata"].get("general.file_type")
    assert want is None or planned.metadata["general.file_type"].value == want["value"]


@pytest.mark.parametrize("name", SEEING)
def test_a_half_that_sees_is_planned_as_the_converter_stores_it(folders, name):
    half = vision_half(open_checkpoint(folders[name]))
    want = arch_models.cases()[name]["mmproj"]["tensors"]
    targets = {tensor.name: tensor.target for tensor in plan(half, "F32").tensors}
    assert {tensor["name"]: FORMATS[tensor["type"]] for tensor in want}.items() <= targets.items()
    # F16: matrices, and the convolution over patches; BF16: the convolution in FP32 all the same
    for recipe, patches in (("F16", "FP16"), ("BF16", "FP32"), ("Q8_0", "FP32")):
        targets = {tensor.name: tensor.target for tensor in plan(half, recipe).tensors}
        assert targets["v.patch_embd.weight"] == patches
        if name == "gemma3_vision":  # llama.cpp reads it across, which it can do in this format only
            assert targets["mm.input_projection.weight"] == "FP16"


def test_the_token_between_rows_of_patches_is_in_the_file(folders, tmp_path):
    """Without it llama.cpp refuses the file; it is the vector of the language half."""
    checkpoint = open_checkpoint(folders["mistral3"])
    ql.run(plan(vision_half(checkpoint), "F16"), tmp_path / "mmproj.gguf")
    with open_checkpoint(tmp_path / "mmproj.gguf") as file:
        found = file.tensors["v.token_embd.img_break"]
        assert (found.shape, found.format) == ((256,), "FP32")
        vectors = next(t for t in checkpoint if t.name.endswith("embed_tokens.weight"))
        number = list(gguf_view(checkpoint).value("tokenizer.ggml.tokens")).index("[IMG_BREAK]")
        np.testing.assert_array_equal(found.rows()[0], vectors.rows(number, number + 1)[0])


def test_each_half_says_where_the_other_is(folders):
    assert any("--mmproj" in warning for warning in gguf_view(open_checkpoint(folders["qwen3_vl"])).warnings)
    assert not any("--mmproj" in warning for warning in gguf_view(open_checkpoint(folders["gemma"])).warnings)
    with pytest.raises(ql.CheckpointError, match="describes no half that sees pictures"):
        plan(vision_half(open_checkpoint(folders["gemma"])), "F16")


def test_a_half_without_the_file_on_its_pictures_is_refused(folders, tmp_path):
    folder = arch_models.write("qwen3_vl", tmp_path / "m")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ql.CheckpointError, match="preprocessor_config"):
        plan(vision_half(open_checkpoint(folder)), "F16")


# What llama-quantize leaves as it is and the converter stores like any matrix.
SMALL = {"gemma3n": ("altup_proj", "blk.0.altup_router", "blk.0.laurel_l"), "gemma4": ("per_layer_model_proj",),
         "t5": ("enc.blk.0.attn_rel_b",)}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_a_conversion_stores_small_matrices_like_all_others(folders, name):
    with open_checkpoint(folders[name]) as checkpoint:
        for recipe, kept in (("F16", "FP16"), ("BF16", "BF16"), ("Q8_0", "FP32")):
            targets = {tensor.name: tensor.target for tensor in plan(checkpoint, recipe).tensors}
            assert {targets[f"{small}.weight"] for small in SMALL[name]} == {kept}
        assert {targets[n] for n in targets if n.endswith(("norm.weight", "ffn_gate_inp.weight"))} == {"FP32"}


@pytest.mark.parametrize("name", ["gemma3_vision", "gemma3n", "gemma4"])
def test_an_output_matrix_of_its_own_is_kept(tmp_path, name):
    """Some models are made without sharing the embedding; llama.cpp uses the matrix where it is there."""
    case = arch_models.cases()[name]
    shapes = case["weights"]["shapes"]
    embedding = next(shape for key, shape in shapes.items() if key.endswith("language_model.embed_tokens.weight")
                     or key.endswith("model.embed_tokens.weight"))  # fmt: skip
    weights = case["weights"] | {"shapes": shapes | {"lm_head.weight": embedding}}
    with open_checkpoint(arch_models.write(name, tmp_path / name, case | {"weights": weights})) as checkpoint:
        assert gguf_view(checkpoint).tensors["output.weight"].shape == tuple(embedding)


def test_a_language_half_is_the_same_within_a_model_that_sees(tmp_path):
    """Ministral 3 is published so: its numbers stand in text_config, under the model type of the whole."""
    case = arch_models.cases()["ministral3"]
    config = {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3"}
    config |= {"text_config": case["files"]["config.json"], "vision_config": {"model_type": "pixtral"}}
    files = case["files"] | {"config.json": config}
    with open_checkpoint(arch_models.write("ministral3", tmp_path / "ministral3", case | {"files": files})) as whole:
        view, golden = gguf_view(whole, 0), case["gguf"]["metadata"]
    assert list(view.metadata) == list(golden)
    assert all(same_value(view.metadata[key].value, want) for key, want in golden.items())
