"""Text encoders of image models: T5 and UMT5 from a file or a folder, as ComfyUI-GGUF and llama.cpp read them."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql

WIDTH, HEADS, FFN, LAYERS, VOCAB = 256, 4, 512, 2, 96
RNG = np.random.default_rng(5)


def tensors(each: bool) -> dict[str, np.ndarray]:
    """An encoder's. each: whether every layer has its own table of distances, as in UMT5."""
    shapes = {"shared.weight": (VOCAB, WIDTH), "encoder.final_layer_norm.weight": (WIDTH,)}
    for i in range(LAYERS):
        block = f"encoder.block.{i}.layer"
        shapes |= {f"{block}.0.SelfAttention.{part}.weight": (WIDTH, WIDTH) for part in "qkvo"}
        shapes |= {f"{block}.1.DenseReluDense.wi_{n}.weight": (FFN, WIDTH) for n in (0, 1)}
        shapes |= {f"{block}.1.DenseReluDense.wo.weight": (WIDTH, FFN), f"{block}.0.layer_norm.weight": (WIDTH,)}
        shapes |= {f"{block}.1.layer_norm.weight": (WIDTH,)}
        if each or not i:
            shapes[f"{block}.0.SelfAttention.relative_attention_bias.weight"] = (32, HEADS)
    return {name: RNG.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def varint(value: int) -> bytes:
    head = b""
    while value > 127:
        head, value = head + bytes([value & 127 | 128]), value >> 7
    return head + bytes([value])


def sentencepiece() -> bytes:
    """A Unigram model of six pieces: <pad>, </s> (control), <unk> (unknown), three words."""
    out = b""
    for text, kind in (("<pad>", 3), ("</s>", 3), ("<unk>", 2), ("▁a", 1), ("▁cat", 1), ("s", 1)):
        piece = text.encode()
        body = b"\x0a" + varint(len(piece)) + piece + b"\x15" + np.float32(-1).tobytes() + b"\x18" + varint(kind)
        out += b"\x0a" + varint(len(body)) + body
    trainer, normalizer = b"\x18\x01", b"\x18\x01\x20\x01"
    return out + b"\x12" + varint(len(trainer)) + trainer + b"\x1a" + varint(len(normalizer)) + normalizer


def in_a_file(folder, each: bool, **more: np.ndarray):
    save_file(tensors(each) | more, folder / "encoder.safetensors")
    return folder / "encoder.safetensors"


def in_a_folder(folder, each: bool):
    kind = "UMT5" if each else "T5"
    config = {
        "model_type": kind.lower(), "architectures": [f"{kind}EncoderModel"], "d_model": WIDTH, "d_kv": WIDTH // HEADS,
        "num_heads": HEADS, "d_ff": FFN, "num_layers": LAYERS, "vocab_size": VOCAB,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors(each), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("each", [False, True], ids=["T5", "UMT5"])
@pytest.mark.parametrize("made", [in_a_file, in_a_folder])
def test_an_encoder_has_the_names_and_keys_of_the_converter(made, each, tmp_path):
    ql.run(ql.plan(ql.open_checkpoint(made(tmp_path, each)), "Q8_0"), tmp_path / "out.gguf")
    file = ql.open_checkpoint(tmp_path / "out.gguf")
    assert file.architecture == "t5encoder"
    biases = [name for name in file.tensors if "attn_rel_b" in name]
    assert len(biases) == (LAYERS if each else 1) and all(file.tensors[name].format == "FP32" for name in biases)
    parts = ("attn_q", "attn_k", "attn_v", "attn_o", "ffn_gate", "ffn_up", "ffn_down")
    assert all(file.tensors[f"enc.blk.{i}.{part}.weight"].format == "Q8_0" for i in range(LAYERS) for part in parts)
    assert file.tensors["token_embd.weight"].shape == (VOCAB, WIDTH)
    assert {t.format for t in file if "norm" in t.name} == {"FP32"}
    expected = {
        "context_length": 512, "embedding_length": WIDTH, "feed_forward_length": FFN, "block_count": LAYERS,
        "attention.head_count": HEADS, "attention.key_length": WIDTH // HEADS, "attention.relative_buckets_count": 32,
    }  # fmt: skip
    assert {key: file.value(f"t5encoder.{key}") for key in expected} == expected
    assert file.value("t5encoder.decoder_block_count") is None


def test_the_tokenizer_inside_a_file_goes_along(tmp_path):
    path = in_a_file(tmp_path, True, spiece_model=np.frombuffer(sentencepiece(), np.uint8))
    made = ql.plan(ql.open_checkpoint(path), "Q8_0")
    metadata = {key: value.value for key, value in made.metadata.items()}
    assert list(metadata["tokenizer.ggml.tokens"][:6]) == ["<pad>", "</s>", "<unk>", "▁a", "▁cat", "s"]
    assert len(metadata["tokenizer.ggml.tokens"]) == VOCAB
    assert metadata["tokenizer.ggml.model"] == "t5" and metadata["tokenizer.ggml.add_space_prefix"] is True
    assert (metadata["tokenizer.ggml.eos_token_id"], metadata["tokenizer.ggml.padding_token_id"]) == (1, 0)


def test_a_missing_tokenizer_is_said_where_the_loader_needs_it(tmp_path):
    for each in (False, True):
        warnings = ql.plan(ql.open_checkpoint(in_a_file(tmp_path, each)), "Q8_0").warnings
        assert any("brings no tokenizer" in w for w in warnings) == each


@pytest.mark.parametrize(
    "name, words",
    [
        ("text_model.encoder.layers.0.self_attn.q_proj.weight", "CLIP text encoder"),
        ("decoder.conv_in.weight", "image decoder"),
        ("first_stage_model.decoder.conv_in.weight", "image decoder"),
    ],
)
def test_what_stays_in_safetensors_is_said(name, words, tmp_path):
    save_file({name: np.ones((256, 256), np.float16)}, tmp_path / "m.safetensors")
    assert any(
        words in w and "use the file as it is" in w
        for w in ql.plan(ql.open_checkpoint(tmp_path / "m.safetensors")).warnings
    )
