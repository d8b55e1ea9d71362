"""Hostile Hugging Face folders: shards, config.json and tokenizer files, each changed in one named way."""

import copy
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from attacks import empty_tensors
from hostile_files import refusal
from safetensors.numpy import save_file

from quantlib.checkpoints import gguf_view, open_checkpoint
from quantlib.errors import CheckpointError

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": 6,
    "bos_token_id": 0,
}
TOKENIZER = {
    "added_tokens": [{"id": 4, "content": "<|end|>", "special": True, "normalized": False}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    },
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": [["a", "b"]]},
}
TOKENIZER_CONFIG = {"bos_token": "<|end|>", "eos_token": {"content": "<|end|>"}, "add_bos_token": True}
SHAPES = {
    "model.embed_tokens.weight": (6, 32),
    "model.norm.weight": (32,),
    "lm_head.weight": (6, 32),
    "model.layers.0.input_layernorm.weight": (32,),
    "model.layers.0.post_attention_layernorm.weight": (32,),
    "model.layers.0.self_attn.q_proj.weight": (32, 32),
    "model.layers.0.self_attn.k_proj.weight": (16, 32),
    "model.layers.0.self_attn.v_proj.weight": (16, 32),
    "model.layers.0.self_attn.o_proj.weight": (32, 32),
    "model.layers.0.mlp.gate_proj.weight": (64, 32),
    "model.layers.0.mlp.up_proj.weight": (64, 32),
    "model.layers.0.mlp.down_proj.weight": (32, 64),
}


def pieces(*items: tuple[bytes, float, int]) -> bytes:
    """A SentencePiece model of (text, score, type)."""
    out = b""
    for text, score, kind in items:
        piece = b"\x0a" + bytes([len(text)]) + text + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
        out += b"\x0a" + bytes([len(piece)]) + piece
    return out


SENTENCEPIECE = pieces((b"<unk>", 0, 2), (b"<s>", 0, 3), (b"a", -1, 1), (b"<0x00>", 0, 6))


def model(folder, config=None, tokenizer=None, sentencepiece=None, tensors=None, **files):
    folder.mkdir(exist_ok=True)
    shapes = SHAPES if tensors is None else tensors
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    if sentencepiece is not None:
        (folder / "tokenizer.model").write_bytes(sentencepiece)
    else:
        (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER if tokenizer is None else tokenizer))
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(text) if isinstance(text, bytes) else path.write_text(json.dumps(text))
    return folder


def changed(value: dict, path: str, new: object) -> dict:
    """A copy with the value under "a.b.0" replaced."""
    out = copy.deepcopy(value)
    at = out
    *heads, last = path.split(".")
    for head in heads:
        at = at[int(head)] if isinstance(at, list) else at[head]
    at[int(last) if isinstance(at, list) else last] = new
    return out


def view(path):
    with open_checkpoint(path) as checkpoint:
        return gguf_view(checkpoint)


CONFIGS = {
    "other architecture": ({"architectures": ["FalconForCausalLM"], "model_type": "falcon"}, "'FalconForCausalLM'"),
    "architecture of another kind": ({"architectures": ["LlamaForSequenceClassification"]}, "convert it to GGUF first"),
    "no model type": ({"model_type": None}, "convert it to GGUF first"),
    "model type that is a list": ({"model_type": ["llama"]}, "where a string"),
    "mixture of experts": ({"num_local_experts": 8}, "mixture of experts"),
    "quantized by something unknown": ({"quantization_config": {"quant_method": "x"}}, "quantized by 'x'"),
    "quantization that is a list": ({"quantization_config": [1]}, "where an object belongs"),
    "width of zero": ({"hidden_size": 0}, "'hidden_size' is 0"),
    "width that is text": ({"hidden_size": "32"}, "'hidden_size' is '32'"),
    "width that is a fraction": ({"hidden_size": 32.0}, "'hidden_size' is 32.0"),
    "width that is true": ({"hidden_size": True}, "'hidden_size' is True"),
    "a billion layers": ({"num_hidden_layers": 10**9}, "'num_hidden_layers' is 1000000000"),
    "negative layers": ({"num_hidden_layers": -1}, "'num_hidden_layers' is -1"),
    "more layers than tensors": ({"num_hidden_layers": 2}, "lacks the tensor of 'blk.1."),
    "fewer layers than tensors": ({"num_hidden_layers": 1, "hidden_size": 64}, "of shape"),
    "heads that do not divide": ({"num_attention_heads": 5}, "leaves a remainder"),
    "key-value heads that do not divide": ({"num_key_value_heads": 3}, "leaves a remainder"),
    "odd head": ({"head_dim": 7}, "an even one"),
    "other head": ({"head_dim": 16}, "but the file stores"),
    "other vocabulary": ({"vocab_size": 7}, "but the file stores"),
    "infinite epsilon": ({"rms_norm_eps": float("inf")}, "'rms_norm_eps' is inf"),
    "epsilon that is NaN": ({"rms_norm_eps": float("nan")}, "'rms_norm_eps' is nan"),
    "theta beyond floats": ({"rope_theta": 10**400}, "'rope_theta'"),
    "rope scaling that is a list": ({"rope_scaling": [1]}, "where an object belongs"),
    "rope factor of zero": ({"rope_scaling": {"type": "linear", "factor": 0}}, "'factor' is 0"),
    "yarn without a context": ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "original_max_position_embeddings"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_are_refused(tmp_path, name):
    changes, fragment = CONFIGS[name]
    sentence = refusal(model(tmp_path / "m", CONFIG | changes), view)
    assert "'config.json'" in sentence
    assert fragment in sentence, sentence


TEXTS = {
    "not JSON": (b"{", "not valid JSON"),
    "not an object": (b"[]", "a JSON array where an object belongs"),
    "not text": (b"\xff\xfe", "not valid UTF-8"),
    "deep": (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "levels deep"),
    "long number": (b'{"a":' + b"9" * 20_000 + b"}", "thousands of digits"),
    "key twice": (b'{"a":1,"a":2}', "'a' twice"),
    "half a character": (b'{"model_type":"\\ud800"}', "surrogate"),
    "millions of brackets": (b'{"a":[' + b"{}," * 2_200_000 + b"{}]}", "too much to be worth reading"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_are_no_json_are_refused(tmp_path, name, monkeypatch):
    text, fragment = TEXTS[name]
    monkeypatch.setattr("hostile_files.MEMORY", 4 * len(text) + 4_000_000)
    folder = model(tmp_path / "m", config__json=text)
    assert fragment in refusal(folder, view)


TOKENIZERS = {
    "no vocabulary": ("model.vocab", {}, "no vocabulary"),
    "vocabulary that is a list": ("model.vocab", [["a", 0]], "where an object belongs"),
    "id that is text": ("model.vocab", {"a": "0"}, "ids are not integers"),
    "negative id": ("model.vocab", {"a": -1}, "ids are not integers"),
    "id twice": ("model.vocab", {"a": 0, "b": 0}, "differ from each other"),
    "id beyond the vocabulary": ("model.vocab", {"a": 0, "b": 2_000_000_000}, "config.json says the vocabulary has 6"),
    "more tokens than the vocabulary": ("model.vocab", {str(i): i for i in range(7)}, "has 7 tokens"),
    "added token beyond the vocabulary": ("added_tokens.0.id", 6, "id 6"),
    "added token without text": ("added_tokens.0.content", None, "without 'id' or 'content'"),
    "added token that is a number": ("added_tokens", [1], "not an object"),
    "added tokens that are an object": ("added_tokens", {"a": 1}, "where an array belongs"),
    "merge of three": ("model.merges", [["a", "b", "c"]], "no pair of tokens"),
    "merge of numbers": ("model.merges", [[1, 2]], "no pair of tokens"),
    "merges that are text": ("model.merges", "a b", "where an array belongs"),
    "model that is text": ("model", "BPE", "where an object belongs"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_are_refused(tmp_path, name):
    path, value, fragment = TOKENIZERS[name]
    sentence = refusal(model(tmp_path / "m", tokenizer=changed(TOKENIZER, path, value)), view)
    assert fragment in sentence, sentence


SENTENCEPIECES = {
    "empty": (b"", "holds no pieces"),
    "truncated": (SENTENCEPIECE[:-3], "are left"),
    "length beyond the file": (b"\x0a\xff\xff\xff\xff\x0f", "are left"),
    "endless number": (b"\xff" * 20, "does not end"),
    "unknown wire type": (b"\x0b\x00", "wire type 3"),
    "pieces that are numbers": (b"\x08\x01", "holds no pieces"),
    "type beyond the kinds": (pieces((b"a", 0, 9)), "the type 9"),
    "text that is no text": (pieces((b"\xff", 0, 1)), "not valid UTF-8"),
}


@pytest.mark.parametrize("name", SENTENCEPIECES)
def test_sentencepiece_models_are_refused(tmp_path, name):
    data, fragment = SENTENCEPIECES[name]
    sentence = refusal(model(tmp_path / "m", sentencepiece=data), view)
    assert "'tokenizer.model'" in sentence
    assert fragment in sentence, sentence


def test_tensors_that_no_llama_model_has_are_refused(tmp_path):
    folder = model(tmp_path / "m", tensors=SHAPES | {"model.layers.0.mlp.extra.weight": (1, 1)})
    assert "no part of a Llama model has that name" in refusal(folder, view)
    folder = model(tmp_path / "m", tensors=SHAPES | {"model.layers.1.input_layernorm.weight": (32,)})
    assert "model.layers.1" in refusal(folder, view)


INDEXES = {
    "no weight map": ({}, "no 'weight_map'"),
    "weight map that is a list": ({"weight_map": ["a"]}, "no 'weight_map'"),
    "parent folder": ({"weight_map": {"a": "../x.safetensors"}}, "no plain .safetensors file name"),
    "absolute path": ({"weight_map": {"a": "/etc/x.safetensors"}}, "no plain .safetensors file name"),
    "backslashes": ({"weight_map": {"a": "..\\x.safetensors"}}, "no plain .safetensors file name"),
    "hidden file": ({"weight_map": {"a": "..safetensors"}}, "no plain .safetensors file name"),
    "nul": ({"weight_map": {"a": "x\0.safetensors"}}, "no plain .safetensors file name"),
    "pickle": ({"weight_map": {"a": "pytorch_model.bin"}}, "no plain .safetensors file name"),
    "number": ({"weight_map": {"a": 1}}, "no plain .safetensors file name"),
    "missing shard": ({"weight_map": {"a": "none.safetensors"}}, "not in the folder"),
    "missing tensor": ({"weight_map": {"none": "model.safetensors"}}, "does not hold it"),
    "tensor not mentioned": ({"weight_map": {"lm_head.weight": "model.safetensors"}}, "does not mention"),
    "too many shards": ({"weight_map": {str(i): f"{i}.safetensors" for i in range(5000)}}, "more than 4,096 shards"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_indexes_of_shards_are_refused(tmp_path, name):
    index, fragment = INDEXES[name]
    folder = model(tmp_path / "m", model__safetensors__index__json=index)
    sentence = refusal(folder)
    assert "'model.safetensors.index.json'" in sentence
    assert fragment in sentence, sentence


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    folder = model(tmp_path / "m")
    (folder / "model-2.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert "has too" in refusal(folder)


def test_a_folder_of_pickles_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    assert "can run any code" in refusal(tmp_path)


def nodes(value: object, at=()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [node for key, child in inner for node in nodes(child, (*at, key))]


HOSTILE = (
    None,
    True,
    -1,
    0,
    2**31,
    10**30,
    0.5,
    float("inf"),
    "",
    "a\0\u202e",
    [],
    [[]],
    {},
    {"type": "Sequence"},
    [{}],
)


@pytest.mark.parametrize("which", ["config", "tokenizer", "tokenizer_config", "generation_config", "sentencepiece"])
def test_mutants_convert_or_are_refused(tmp_path, which):
    rng = np.random.default_rng(1)
    generation = {"temperature": 0.6, "top_p": 0.9, "top_k": 50, "repetition_penalty": 1.1}
    valid = {
        "config": CONFIG,
        "tokenizer": TOKENIZER,
        "tokenizer_config": TOKENIZER_CONFIG,
        "generation_config": generation,
    }
    folder = model(tmp_path / "m", sentencepiece=SENTENCEPIECE if which == "sentencepiece" else None)
    view(folder)
    for i in range(300):
        if which == "sentencepiece":
            data = bytearray(SENTENCEPIECE)
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(0, len(data))] = rng.integers(0, 256)
            (folder / "tokenizer.model").write_bytes(data)
        else:
            found = nodes(valid[which])
            node = found[rng.integers(0, len(found))]
            value, new = copy.deepcopy(valid[which]), HOSTILE[rng.integers(0, len(HOSTILE))]
            at = value
            for key in node[:-1]:
                at = at[key]
            at[node[-1]] = new
            (folder / f"{which}.json").write_text(json.dumps(value))
        try:
            view(folder)
        except CheckpointError as error:
            assert str(error).isprintable() and str(error).endswith(".")
        except Exception as error:
            raise AssertionError(f"mutant {i} of {which}: {(folder / f'{which}.json').read_text()[:500]}") from error


def test_tensors_are_counted_over_all_shards(tmp_path):
    """A megabyte of header describes thousands of empty tensors, and each of them costs most of a kilobyte."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for number in range(3):
        (tmp_path / f"model-{number}.safetensors").write_bytes(empty_tensors(100_000, number * 100_000))
    with pytest.raises(CheckpointError, match="no checkpoint has more than 262,144"):
        open_checkpoint(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not show its descriptors")
def test_a_shard_takes_one_descriptor(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for number in range(50):
        (tmp_path / f"model-{number}.safetensors").write_bytes(empty_tensors(1, number))
    before = len(os.listdir("/proc/self/fd"))
    with open_checkpoint(tmp_path) as checkpoint:
        assert len(checkpoint.tensors) == 50
        assert len(os.listdir("/proc/self/fd")) - before == 50
    assert len(os.listdir("/proc/self/fd")) == before
