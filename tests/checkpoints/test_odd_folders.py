"""Folders that differ a little from what everybody expects: they convert, with a note, or say the way on."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import quantlib as ql
from quantlib.errors import QuantlibError

H, FFN, VOCAB, LAYERS = 64, 128, 40, 2
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": H,
    "intermediate_size": FFN, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip
Q_PROJ = "model.layers.0.self_attn.q_proj.weight"
UP_PROJ = "model.layers.1.mlp.up_proj.weight"


def weights(vocab: int = VOCAB) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    shapes = {"model.embed_tokens.weight": (vocab, H), "model.norm.weight": (H,), "lm_head.weight": (vocab, H)}
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        shapes |= {p + f"self_attn.{n}_proj.weight": (H, H) for n in "qo"}
        shapes |= {p + f"self_attn.{n}_proj.weight": (H // 2, H) for n in "kv"}
        shapes |= {p + f"mlp.{n}_proj.weight": (FFN, H) for n in ("gate", "up")}
        shapes |= {p + "mlp.down_proj.weight": (H, FFN)}
        shapes |= {p + f"{n}_layernorm.weight": (H,) for n in ("input", "post_attention")}
    return {name: (0.05 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}


def tokenizer(tokens: int = VOCAB) -> dict:
    return {
        "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "model": {"type": "BPE", "vocab": {chr(33 + i): i for i in range(tokens)}, "merges": []},
    }  # fmt: skip


def write(folder, tensors=None, tokens=VOCAB, file="model.safetensors", **config):
    """A folder; what is None in `config` is left out of it."""
    folder.mkdir(parents=True)
    save_file(weights() if tensors is None else tensors, folder / file)
    said = {key: value for key, value in (CONFIG | config).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(tokens)))
    return folder


def converted(folder):
    """The plan and the file that comes of it."""
    plan = ql.plan(ql.open_checkpoint(folder), "Q8_0")
    ql.run(plan, folder.parent / "out.gguf")
    return plan, ql.open_checkpoint(folder.parent / "out.gguf")


def refusal(folder) -> str:
    with pytest.raises(QuantlibError) as caught:
        converted(folder)
    return str(caught.value)


def without_head(tensors=None):
    return {name: x for name, x in (tensors or weights()).items() if name != "lm_head.weight"}


def test_a_usual_folder_needs_no_note(tmp_path):
    plan, file = converted(write(tmp_path / "m"))
    assert not plan.warnings
    assert "output.weight" in file.tensors


def test_more_rows_than_tokens_are_noted_with_both_numbers(tmp_path):
    plan, file = converted(write(tmp_path / "m", tokens=37))
    assert any("40 rows" in w and "37 tokens" in w for w in plan.warnings), plan.warnings
    assert len(file.metadata["tokenizer.ggml.tokens"].value) == VOCAB


def test_more_tokens_than_rows_are_refused_with_both_numbers(tmp_path):
    said = refusal(write(tmp_path / "m", tokens=43))
    assert "43" in said
    assert "40" in said


@pytest.mark.parametrize("tied, said", [(False, "output matrix of its own"), (None, "does not say")])
def test_a_missing_output_matrix_is_noted(tmp_path, tied, said):
    plan, file = converted(write(tmp_path / "m", without_head(), tie_word_embeddings=tied))
    assert any(said in w and "token embedding takes its place" in w for w in plan.warnings), plan.warnings
    assert "output.weight" not in file.tensors


def test_an_output_matrix_where_the_config_has_none_is_noted(tmp_path):
    plan, file = converted(write(tmp_path / "m", tie_word_embeddings=True))
    assert any("it is kept" in w for w in plan.warnings), plan.warnings
    assert "output.weight" in file.tensors


def test_a_tied_model_needs_no_note(tmp_path):
    assert not converted(write(tmp_path / "m", without_head(), tie_word_embeddings=True))[0].warnings


@pytest.mark.parametrize("classes", [["LlamaModel"], ["LlamaForCausalLM"], None])
def test_names_without_their_first_word_are_the_same_names(tmp_path, classes):
    bare = {name.removeprefix("model."): x for name, x in without_head().items()}
    of_bare = converted(write(tmp_path / "a/m", bare, architectures=classes, tie_word_embeddings=True))[1]
    usual = converted(write(tmp_path / "b/m", without_head(), tie_word_embeddings=True))[1]
    assert list(of_bare.tensors) == list(usual.tensors)
    assert all(of_bare.tensors[n].raw().tobytes() == t.raw().tobytes() for n, t in usual.tensors.items())


def test_what_an_adapter_left_in_the_names_is_said(tmp_path):
    wrapped = {name.replace("q_proj.weight", "q_proj.base_layer.weight"): x for name, x in weights().items()}
    assert "merge_and_unload()" in refusal(write(tmp_path / "m", wrapped))


def test_a_model_around_a_language_model_is_named_with_the_way_on(tmp_path):
    inner = {name.replace("model.", "model.language_model."): x for name, x in weights().items()}
    text = {key: value for key, value in CONFIG.items() if key != "architectures"}
    folder = write(
        tmp_path / "m", inner, architectures=["LlavaForConditionalGeneration"], model_type="llava", text_config=text
    )
    said = refusal(folder)
    assert "'LlavaForConditionalGeneration'" in said
    assert "convert_hf_to_gguf.py" in said


def test_one_file_of_any_name_holds_the_weights(tmp_path):
    assert len(converted(write(tmp_path / "m", file="weights.safetensors"))[1].tensors) == len(weights())


def test_of_several_files_one_must_be_named(tmp_path):
    folder = write(tmp_path / "m", file="weights.safetensors")
    save_file(weights(), folder / "others.safetensors")
    assert "name one of its files to open it: 'others.safetensors', 'weights.safetensors'" in refusal(folder)


def test_other_files_beside_the_model_do_not_matter(tmp_path):
    folder = write(tmp_path / "m")
    (folder / "pytorch_model.bin").write_bytes(b"PK\3\4" + bytes(100))
    save_file({"x": np.zeros(3, np.float32)}, folder / "consolidated.safetensors")
    assert len(converted(folder)[1].tensors) == len(weights())


def test_the_folder_around_a_model_names_it(tmp_path):
    write(tmp_path / "around" / "model")
    assert "its folder 'model' has" in refusal(tmp_path / "around")


@pytest.mark.parametrize("key, value", [("hidden_size", 64.0), ("rope_theta", "10000")])
def test_numbers_of_another_kind_are_named(tmp_path, key, value):
    said = refusal(write(tmp_path / "m", **{key: value}))
    assert f"'{key}'" in said
    assert repr(value) in said


@pytest.mark.parametrize("parameters", [
    {"rope_type": "default", "rope_theta": 500000.0},
    {"rope_type": "llama3", "rope_theta": 500000, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
     "original_max_position_embeddings": 64},
])  # fmt: skip
def test_positions_as_newer_configs_describe_them(tmp_path, parameters):
    _, file = converted(write(tmp_path / "m", rope_theta=None, rope_parameters=parameters))
    assert file.metadata["llama.rope.freq_base"].value == 500000
    assert ("rope_freqs.weight" in file.tensors) == (parameters["rope_type"] == "llama3")


def test_whole_numbers_of_a_yarn_scaling_are_numbers(tmp_path):
    yarn = {"type": "yarn", "factor": 4, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 32}
    assert converted(write(tmp_path / "m", rope_scaling=yarn))[1].metadata["llama.rope.scaling.factor"].value == 4


def test_tensors_of_several_types_in_one_file(tmp_path):
    types = (np.float16, ml_dtypes.bfloat16, np.float32)
    mixed = {name: x.astype(types[i % 3]) for i, (name, x) in enumerate(weights().items())}
    plan, _ = converted(write(tmp_path / "m", mixed))
    assert {t.source for t in plan.tensors} == {"FP16", "BF16", "FP32"}


def test_values_that_vanish_are_zeros(tmp_path):
    tiny = weights()
    tiny[UP_PROJ][3] = 1e-40
    tiny[Q_PROJ][:] = 0
    _, file = converted(write(tmp_path / "m", tiny))
    assert not file.tensors["blk.0.attn_q.weight"].rows().any()
    assert not file.tensors["blk.1.ffn_up.weight"].rows(3, 4).any()


@pytest.mark.parametrize("value, said", [(np.nan, "NaN"), (np.inf, "inf"), (1e30, "too large")])
def test_values_that_no_format_holds_are_named_with_their_place(tmp_path, value, said):
    broken = weights()
    broken[UP_PROJ][3, 5] = value
    sentence = refusal(write(tmp_path / "m", broken))
    assert "blk.1.ffn_up.weight" in sentence
    assert "row 3" in sentence
    assert said in sentence.replace("infinit", "inf")


def test_buffers_of_old_versions_are_left_out(tmp_path):
    more = weights() | {
        "model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32),
        "model.layers.1.self_attn.masked_bias": np.array(-1e4, np.float32),
    }
    assert len(converted(write(tmp_path / "m", more))[1].tensors) == len(weights())


def test_a_folder_without_a_tokenizer_says_so(tmp_path):
    folder = write(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert any("no tokenizer.model or tokenizer.json" in w for w in converted(folder)[0].warnings)


class TestShards:
    """Weights in several files, and the index that says which file holds which tensor."""

    def folder(self, tmp_path, change=lambda index: None):
        folder, names = write(tmp_path / "m"), sorted(weights())
        whole = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
        halves = [names[: len(names) // 2], names[len(names) // 2 :]]
        for part, half in zip(parts, halves, strict=True):
            save_file({name: whole[name] for name in half}, folder / part)
        index = {name: part for part, half in zip(parts, halves, strict=True) for name in half}
        change(index)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
        return folder

    def test_are_one_model(self, tmp_path):
        assert len(converted(self.folder(tmp_path))[1].tensors) == len(weights())

    def test_go_before_a_file_that_is_there_too(self, tmp_path):
        folder = self.folder(tmp_path)
        save_file({name: 2 * x for name, x in weights().items()}, folder / "model.safetensors")
        found = ql.open_checkpoint(folder).tensors[UP_PROJ].rows()
        assert np.array_equal(found, weights()[UP_PROJ])

    def test_are_found_without_an_index(self, tmp_path):
        folder = self.folder(tmp_path)
        (folder / "model.safetensors.index.json").unlink()
        assert len(converted(folder)[1].tensors) == len(weights())

    def test_that_are_missing_are_named(self, tmp_path):
        folder = self.folder(tmp_path)
        (folder / "model-00002-of-00002.safetensors").unlink()
        assert "'model-00002-of-00002.safetensors', which is not in the folder" in refusal(folder)

    def test_in_another_file_than_the_index_says(self, tmp_path):
        first = sorted(weights())[0]
        change = {first: "model-00002-of-00002.safetensors"}
        assert repr(first) in refusal(self.folder(tmp_path, lambda index: index.update(change)))
