"""What a file is, is told by its content; what is no checkpoint is named, with the way on."""

import json
import struct

import pytest

import quantlib as ql
from quantlib.checkpoints.recognizing import GGUF, SAFETENSORS, hub_address, recognize

HEADER = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
SAFE = struct.pack("<Q", len(HEADER)) + HEADER + bytes(8)
FOREIGN = {
    "model.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
    "page.safetensors": (b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page"),
    "page.gguf": (b"<html><head></head></html>", "is a web page"),
    "config.json": (b'{"model_type": "llama"}', "is a JSON file"),
    "model.safetensors.index.json": (b'{"metadata": {}, "weight_map": {"a": "b"}}', "index of shards"),
    "README.md": ("# Ein Modell für alles\n".encode(), "is a text file"),
    "model": (b"\x80\x02}q\x00.", "is a bare pickle"),
    "model.pt": (b"\x80\x02}q\x00.", "is a bare pickle"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_checkpoint_is_named_with_the_way_on(name, tmp_path):
    content, words = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ql.CheckpointError, match=words) as caught:
        ql.open_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value) and "claims a header" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model (1).gguf", "MODEL.GGUF", "模型.gguf", "sha256-0f1e2d", "model.safetensors", "x.bin"]
)
def test_a_gguf_file_is_one_under_any_name(name):
    assert recognize(b"GGUF\x03\x00\x00\x00", 1000, name).kind == GGUF


@pytest.mark.parametrize("name", ["model.safetensors", "model", "model.gguf", "weights.txt", "config.json"])
def test_a_safetensors_file_is_one_under_any_name_that_promises_no_pickle(name):
    assert recognize(SAFE, len(SAFE), name).kind == SAFETENSORS


def test_a_header_whose_length_reads_as_a_pickle_is_still_safetensors(tmp_path):
    padded = HEADER + b" " * (0x280 - len(HEADER))
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 0x280) + padded + bytes(8))
    assert list(ql.open_checkpoint(tmp_path / "model.safetensors").tensors) == ["w"]


@pytest.mark.parametrize("cut", range(4, 9))
def test_a_character_that_is_cut_makes_text_no_less_text(cut):
    start = ("ü" * 4).encode()[:cut]
    assert recognize(start, 5000, "x").kind == "text"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("owner/name", "hf://owner/name"),
        (" Qwen/Qwen3-0.6B ", "hf://Qwen/Qwen3-0.6B"),
        ("https://huggingface.co/owner/name", "hf://owner/name"),
        ("huggingface.co/owner/name/tree/main", "hf://owner/name"),
        ("https://huggingface.co/owner/name/blob/main/model.safetensors", "hf://owner/name"),
        ("https://example.org/owner/name", None),
        ("/etc/passwd", None),
        ("../owner/name", None),
        ("owner/name/file", None),
        ("name", None),
        ("", None),
    ],
)
def test_names_and_pages_of_the_hub(text, address):
    assert hub_address(text) == address


def test_a_wrong_path_is_not_asked_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(ql.CheckpointError, match="is not there"):
        ql.open_checkpoint("models/lama")


def test_an_adapter_is_named(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ql.CheckpointError, match=r"LoRA adapter.*--adapter"):
        ql.open_checkpoint(tmp_path)
