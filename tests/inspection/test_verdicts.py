"""What a comparison means: never "equal" of different models, partners by meaning, and words that rest on numbers."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.checkpoints import MetadataValue, write_gguf
from quantlib.inspection import aligned, compare

SHAPES = {"blk.{}.attn_q.weight": (64, 64), "blk.{}.ffn_up.weight": (96, 64), "blk.{}.attn_norm.weight": (64,)}


def weights(seed: int, layers: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {name.format(i): shape for i in range(layers) for name, shape in SHAPES.items()}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def gguf(path, arrays, **metadata):
    """A small model with a tokenizer; metadata in place of its own."""
    keys = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 64,
        "tokenizer.ggml.tokens": ["a", "b"], "tokenizer.chat_template": "{{ messages }}",
    } | {key.replace("__", "."): value for key, value in metadata.items()}  # fmt: skip
    kinds = {str: "string", int: "uint32", list: "array[string]"}
    stored = {key: MetadataValue(kinds[type(value)], value) for key, value in keys.items()}
    with open(path, "wb") as file:
        write_gguf(file, stored, [((n, x.shape, "FP32"), [x.view(np.uint8)]) for n, x in arrays.items()])
    return ql.open_checkpoint(path)


def test_the_same_weights(tmp_path):
    found = compare(gguf(tmp_path / "a.gguf", weights(0)), gguf(tmp_path / "b.gguf", weights(0)))
    assert found.verdict == "same" and found.words == "These are the same weights, value by value."


@pytest.mark.parametrize("key, value, word", [
    ("llama__block_count", 3, "layers 2 and 3"),
    ("llama__embedding_length", 128, "width 64 and 128"),
    ("general__architecture", "qwen2", "architecture llama and qwen2"),
])  # fmt: skip
def test_equal_weights_under_other_facts_are_not_called_equal(tmp_path, key, value, word):
    found = compare(gguf(tmp_path / "a.gguf", weights(0)), gguf(tmp_path / "b.gguf", weights(0), **{key: value}))
    assert found.verdict == "other" and word in found.words


def test_what_two_models_share_by_chance_does_not_make_them_equal(tmp_path):
    """Norms of ones are equal in most models; all else here has another shape."""
    one, other = weights(0), {name: np.ones((32, 32), np.float32) for name in weights(0)}
    for name in one:
        if "norm" in name:
            one[name] = other[name] = np.ones(64, np.float32)
    found = compare(gguf(tmp_path / "a.gguf", one), gguf(tmp_path / "b.gguf", other))
    assert not found.total.squared_error and found.verdict == "other" and "shapes differ" in found.words


def test_another_model_of_the_same_shape(tmp_path):
    found = compare(gguf(tmp_path / "a.gguf", weights(0)), gguf(tmp_path / "b.gguf", weights(1)))
    assert found.verdict == "other" and "cosine" in found.words


def test_training_further_is_told_from_storing_otherwise(tmp_path, demo_model):
    with ql.open_checkpoint(demo_model) as source:
        ql.run(ql.plan(source, "Q4_K_M"), tmp_path / "q.gguf")
        with ql.open_checkpoint(tmp_path / "q.gguf") as written:
            stored = compare(source, written)
        arrays = {t.name: t.rows().reshape(t.shape) for t in source}
        name = "model.layers.2.mlp.up_proj.weight"
        arrays[name] = arrays[name] + np.float32(0.01) * np.random.default_rng(0).standard_normal(arrays[name].shape)
        save_file({n: x.astype(np.float32) for n, x in arrays.items()}, tmp_path / "tuned.safetensors")
        with ql.open_checkpoint(tmp_path / "tuned.safetensors") as tuned:
            changed = compare(source, tuned)
    assert (stored.verdict, stored.unexplained, stored.texts) == ("stored", (), ())
    assert changed.verdict == "changed" and name in changed.words
    assert [row.name for row in changed.unexplained] == [name]


def test_a_tokenizer_that_differs_is_told_beside_equal_weights(tmp_path):
    other = gguf(
        tmp_path / "b.gguf", weights(0), tokenizer__chat_template="{{ other }}", tokenizer__ggml__tokens=["a", "c"]
    )
    found = compare(gguf(tmp_path / "a.gguf", weights(0)), other)
    assert found.texts == ("vocabulary", "chat template")
    assert "tokenizers differ in vocabulary and chat template" in found.words


def test_a_tensor_that_one_lacks_is_told(tmp_path):
    fewer = {name: x for name, x in weights(0).items() if name != "blk.1.attn_norm.weight"}
    found = compare(gguf(tmp_path / "a.gguf", weights(0)), gguf(tmp_path / "b.gguf", fewer))
    assert (
        found.verdict == "same" and "Not compared: 1 tensors (blk.1.attn_norm.weight: only in the first)" in found.words
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "language_model.model.", "transformer."])
def test_names_under_a_wrapper_find_their_partners(tmp_path, prefix):
    x = {f"layers.{i}.mlp.up_proj.weight": np.ones((4, 8), np.float32) for i in range(3)}
    save_file(x, tmp_path / "a.safetensors")
    save_file({prefix + name: array for name, array in x.items()}, tmp_path / "b.safetensors")
    with ql.open_checkpoint(tmp_path / "a.safetensors") as a, ql.open_checkpoint(tmp_path / "b.safetensors") as b:
        first, second = aligned(a, b)
        assert first.keys() == second.keys() and len(first) == 3
        assert compare(a, b).verdict == "same"


def test_wrappers_that_are_two_models_keep_their_names(tmp_path):
    x = np.ones((4, 8), np.float32)
    save_file({"model.w": x, "transformer.w": x}, tmp_path / "a.safetensors")
    save_file({"w": x}, tmp_path / "b.safetensors")
    with ql.open_checkpoint(tmp_path / "a.safetensors") as a, ql.open_checkpoint(tmp_path / "b.safetensors") as b:
        assert compare(a, b).verdict == "other"
