"""Models of every declared architecture against llama.cpp's converter: every key in its order, every tensor's bytes."""

import hashlib
import json
from pathlib import Path

import arch_models
import ml_dtypes
import numpy as np
import pytest

from quantlib.checkpoints import gguf_view, open_checkpoint
from quantlib.jobs import plan

CASES = tuple(arch_models.cases())
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


@pytest.fixture(params=CASES)
def pair(request, folders):
    golden = arch_models.cases()[request.param]["gguf"]
    return view_of(folders[request.param], golden), golden


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
