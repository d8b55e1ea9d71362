"""gguf_view() against llama.cpp's converter: every key in its order with its type and value, every tensor's bytes."""

import hashlib
import json

import numpy as np
import pytest
import tiny_models

from quantlib.checkpoints import gguf_view, open_checkpoint

MODELS = (*tiny_models.WHOLE, *tiny_models.architectures())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else list(value) if not isinstance(value, str) else value


@pytest.fixture(params=MODELS)
def pair(request, golden_models):
    golden = tiny_models.converted(request.param)
    with open_checkpoint(golden_models[request.param]) as checkpoint:
        yield gguf_view(checkpoint, file_type=0), golden


def test_metadata_has_the_keys_of_the_converter_in_its_order(pair):
    view, golden = pair
    keys = list(view.metadata)
    if not any(key.startswith("tokenizer.") for key in golden["metadata"]):  # those of another model's tokenizer
        keys = [key for key in keys if not key.startswith("tokenizer.")]
    assert keys == list(golden["metadata"])
    assert view.warnings == ()


def test_metadata_has_the_types_and_values_of_the_converter(pair):
    view, golden = pair
    for key, want in golden["metadata"].items():
        kinds = [kind.lower() for kind in want["type"]]
        value = view.metadata[key]
        assert value.type == (f"array[{kinds[1]}]" if kinds[0] == "array" else kinds[0]), key
        if kinds[0] == "array":
            found = plain(value.value)
            assert len(found) == want["value"]["n"], key
            assert found[:8] == want["value"]["first"], key
            assert sha256(json.dumps(found).encode()) == want["value"]["sha256"], key
        elif kinds[0] == "float32":
            assert np.float32(value.value) == np.float32(want["value"]), key
        else:
            assert value.value == want["value"], key


def test_tensors_have_the_names_shapes_and_bytes_of_the_converter(pair):
    view, golden = pair
    assert list(view.tensors) == [tensor["name"] for tensor in golden["tensors"]]
    for want in golden["tensors"]:
        tensor = view.tensors[want["name"]]
        assert list(tensor.shape) == want["shape"]
        assert sha256(tensor.raw().tobytes()) == want["sha256"], want["name"]


@pytest.mark.parametrize("step", [1, 7, 32, 45])
def test_permuted_rows_are_the_same_in_pieces(golden_models, step):
    with open_checkpoint(golden_models["llama_bpe"]) as checkpoint:
        view = gguf_view(checkpoint)
        for name in ("blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.2.attn_v.weight"):
            tensor = view.tensors[name]
            pieces = [tensor.rows(i, min(i + step, tensor.nrows)) for i in range(0, tensor.nrows, step)]
            np.testing.assert_array_equal(np.concatenate(pieces), tensor.rows())


def test_file_type_is_left_out_unless_given(golden_models):
    with open_checkpoint(golden_models["llama_bpe"]) as checkpoint:
        without, given = gguf_view(checkpoint), gguf_view(checkpoint, file_type=15)
    keys = list(given.metadata)
    assert given.value("general.file_type") == 15
    assert list(without.metadata) == [key for key in keys if key != "general.file_type"]
    assert keys[keys.index("general.file_type") - 1] == "llama.attention.value_length"


def test_the_view_of_a_checkpoint_is_made_once(golden_models, monkeypatch):
    with open_checkpoint(golden_models["llama_bpe"]) as checkpoint:
        first = gguf_view(checkpoint)
        monkeypatch.setattr("quantlib.checkpoints.convert.tokenizer_metadata", None)
        again = gguf_view(checkpoint, file_type=15)
    assert list(again.tensors.values()) == list(first.tensors.values())


def test_a_gguf_checkpoint_is_its_own_view(tmp_path):
    from quantlib.checkpoints import MetadataValue, write_gguf

    path = tmp_path / "a.gguf"
    with open(path, "wb") as file:
        write_gguf(file, {"general.architecture": MetadataValue("string", "falcon")}, [])
    with open_checkpoint(path) as checkpoint:
        assert gguf_view(checkpoint) is checkpoint
        assert checkpoint.architecture == "falcon"
