"""What the golden models do not show: shards, rope scalings, tokenizers of other kinds, names, bare files."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quantlib.architectures.pre_tokenizers import PRE_TOKENIZERS, pre_tokenizer_name, steps_of
from quantlib.checkpoints import gguf_view, open_checkpoint
from quantlib.checkpoints.convert.general import general_metadata


def config_of(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.fixture
def copy_of(golden_models, tmp_path):
    """copy_of("llama_bpe"): a folder to change, its weights linked, not copied."""

    def copy(name: str):
        folder = tmp_path / name
        folder.mkdir()
        for path in golden_models[name].iterdir():
            if path.name == "model.safetensors":
                (folder / path.name).symlink_to(path)
            else:
                (folder / path.name).write_bytes(path.read_bytes())
        return folder

    return copy


def view_of(path):
    return gguf_view(open_checkpoint(path))


def same(a, b) -> None:
    assert list(a.tensors) == list(b.tensors)
    for name, tensor in a.tensors.items():
        np.testing.assert_array_equal(tensor.raw(), b.tensors[name].raw())


def test_shards_are_one_checkpoint(golden_models, copy_of):
    folder = copy_of("llama_bpe")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:11], "model-00002-of-00002.safetensors": names[11:]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    weight_map = {name: file for file, held in parts.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    same(view_of(folder), view_of(golden_models["llama_bpe"]))
    (folder / "model.safetensors.index.json").unlink()
    same(view_of(folder), view_of(golden_models["llama_bpe"]))


def test_a_file_beside_its_config_is_the_model(golden_models):
    folder = golden_models["llama_bpe"]
    by_file = open_checkpoint(folder / "model.safetensors")
    assert by_file.kind == "huggingface"
    assert by_file.source == folder / "model.safetensors"
    assert by_file.architecture == "LlamaForCausalLM"
    view = gguf_view(by_file)
    same(view, view_of(folder))
    assert view.value("general.name") == "Llama_Bpe"


def test_a_bare_file_keeps_its_values_and_warns(golden_models, tmp_path):
    path = tmp_path / "w.safetensors"
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    save_file({"model.layers.3.self_attn.q_proj.weight": x, "vision.weight": x}, path)
    view = view_of(path)
    assert set(view.tensors) == {"blk.3.attn_q.weight", "vision.weight"}
    np.testing.assert_array_equal(view.tensors["blk.3.attn_q.weight"].rows(), x)
    assert view.architecture is None
    assert len(view.warnings) == 1 and "config.json" in view.warnings[0]


def test_the_demo_model_converts(demo_model):
    view = view_of(demo_model)
    assert view.warnings == ()
    assert view.architecture == "llama"
    assert view.value("tokenizer.ggml.pre") == "gpt-2"
    assert view.value("general.name") == "Demo_Model"
    assert len(view.value("tokenizer.ggml.tokens")) == view.tensors["token_embd.weight"].shape[0]


def test_permutation_makes_the_halves_of_a_head_neighbours(golden_models):
    source = open_checkpoint(golden_models["llama_bpe"])
    before = source.tensors["model.layers.0.self_attn.k_proj.weight"].rows()  # 4 heads of 32 rows
    after = gguf_view(source).tensors["blk.0.attn_k.weight"].rows()
    for head in range(4):
        rows, halves = after[32 * head : 32 * head + 32], before[32 * head : 32 * head + 32]
        np.testing.assert_array_equal(rows[0::2], halves[:16])
        np.testing.assert_array_equal(rows[1::2], halves[16:])


def test_biases_are_permuted_by_element(copy_of):
    folder = copy_of("llama_bpe")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    bias = np.arange(256, dtype=np.float32)
    save_file(tensors | {"model.layers.0.self_attn.q_proj.bias": bias}, folder / "model.safetensors")
    found = view_of(folder).tensors["blk.0.attn_q.bias"].rows()[0]
    np.testing.assert_array_equal(found[:6], [0, 16, 1, 17, 2, 18])
    np.testing.assert_array_equal(np.sort(found), bias)


def test_llama3_rope_scaling_becomes_a_tensor(copy_of):
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_theta": 500000.0,
    }
    view = view_of(config_of(copy_of("llama_bpe"), rope_parameters=scaling, head_dim=32))
    assert next(iter(view.tensors)) == "rope_freqs.weight"
    factors = view.tensors["rope_freqs.weight"].rows()[0]
    assert view.tensors["rope_freqs.weight"].shape == (16,)
    wavelengths = 2 * np.pi * 500000.0 ** (np.arange(0, 32, 2) / 32)
    assert (factors[wavelengths < 8192 / 4] == 1).all()
    assert (factors[wavelengths > 8192] == 8).all()
    between = (wavelengths > 8192 / 4) & (wavelengths < 8192)
    smooth = (8192 / wavelengths[between] - 1) / 3
    np.testing.assert_allclose(factors[between], 1 / ((1 - smooth) / 8 + smooth), rtol=1e-5)
    assert between.any()
    assert not any("rope.scaling" in key for key in view.metadata)


@pytest.mark.parametrize(
    "scaling",
    [{"rope_scaling": {"type": "linear", "factor": 4.0}}, {"rope_parameters": {"rope_type": "linear", "factor": 4}}],
)
def test_linear_rope_scaling_becomes_two_keys(copy_of, scaling):
    changes = {"rope_parameters": None, "rope_theta": 10000.0} | scaling
    view = view_of(config_of(copy_of("llama_bpe"), **changes))
    keys = list(view.metadata)
    at = keys.index("llama.attention.head_count_kv")
    assert keys[at + 1 : at + 4] == ["llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.freq_base"]
    assert [view.value(key) for key in keys[at + 1 : at + 4]] == ["linear", 4.0, 10000.0]


def test_defaults_are_those_of_transformers(copy_of):
    folder = copy_of("llama_bpe")
    config = json.loads((folder / "config.json").read_text())
    for key in ("head_dim", "rms_norm_eps", "rope_parameters", "max_position_embeddings"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    view = view_of(folder)
    assert view.value("llama.attention.key_length") == 32
    assert view.value("llama.attention.layer_norm_rms_epsilon") == 1e-6
    assert view.value("llama.rope.freq_base") == 10000.0
    assert view.value("llama.context_length") == 2048


def test_mistral_is_llama_in_gguf(copy_of):
    view = view_of(config_of(copy_of("llama_spm"), model_type="mistral", architectures=["MistralForCausalLM"]))
    assert view.value("general.architecture") == "llama"
    assert view.value("tokenizer.ggml.model") == "llama"


def test_byte_fallback_without_sentencepiece_has_its_scores_from_the_merges(copy_of, golden_models):
    folder = copy_of("llama_spm")
    (folder / "tokenizer.model").unlink()
    view = view_of(folder)
    assert view.value("tokenizer.ggml.model") == "llama"
    merged, whole = view.value("tokenizer.ggml.tokens"), view_of(golden_models["llama_spm"])
    assert merged == whole.value("tokenizer.ggml.tokens")
    made = [i for i, kind in enumerate(view.value("tokenizer.ggml.token_type")) if kind == 1 and len(merged[i]) > 1]
    ours, theirs = (np.array(v.value("tokenizer.ggml.scores"))[made] for v in (view, whole))
    assert (np.argsort(-ours, kind="stable") == np.argsort(-theirs, kind="stable")).all()
    assert view.value("tokenizer.ggml.token_type")[:4] == [3, 3, 3, 6]
    assert view.warnings == ()


def test_no_tokenizer_at_all_warns(copy_of):
    folder = copy_of("llama_spm")
    (folder / "tokenizer.model").unlink()
    (folder / "tokenizer.json").unlink()
    view = view_of(folder)
    assert [key for key in view.metadata if key.startswith("tokenizer.")] == ["tokenizer.ggml.model"]
    assert view.value("tokenizer.ggml.model") == "none"
    assert view.value("llama.vocab_size") == 2048
    assert any("tokenizer.json" in warning for warning in view.warnings)


def test_an_unknown_pre_tokenizer_is_default_with_a_warning(copy_of):
    folder = copy_of("llama_bpe")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "x+"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    view = view_of(folder)
    assert view.value("tokenizer.ggml.pre") == "default"
    assert any("pre-tokenizer" in warning for warning in view.warnings)


def test_padding_tokens_fill_the_vocabulary(copy_of):
    folder = copy_of("llama_bpe")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = tokenizer["added_tokens"][:1]
    tokenizer["added_tokens"].append({"id": 2047, "content": "plain▁text", "special": False, "normalized": False})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    view = view_of(folder)
    tokens, types = view.value("tokenizer.ggml.tokens"), view.value("tokenizer.ggml.token_type")
    assert tokens[2045:] == ["<|begin_of_text|>", "[PAD2046]", "plain text"]
    assert types[2045:] == [3, 5, 4]


def test_chat_templates_and_sampling_defaults_are_kept(copy_of):
    folder = copy_of("llama_bpe")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_k": 40, "top_p": 0.9}))
    view = view_of(folder)
    assert list(view.metadata)[-1] == "tokenizer.chat_template"
    assert view.value("tokenizer.chat_template") == "{{ messages }}"
    keys = list(view.metadata)
    assert keys[2:5] == ["general.sampling.top_k", "general.sampling.top_p", "general.sampling.temp"]


@pytest.mark.parametrize("where", ["config.json", "generation_config.json"])
def test_the_end_of_text_is_found_where_nothing_else_names_it(copy_of, where):
    folder = copy_of("llama_bpe")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        values = json.loads((folder / name).read_text())
        values = {key: value for key, value in values.items() if not key.startswith("eos_token")}
        (folder / name).write_text(json.dumps(values | ({"eos_token_id": [2046, 2047]} if name == where else {})))
    assert view_of(folder).value("tokenizer.ggml.eos_token_id") == 2046


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_known_pre_tokenizers_are_recognised(name):
    parts, steps = [], steps_of(name)
    for step in steps:
        if step == "digits":
            parts.append({"type": "Digits", "individual_digits": True})
        elif step == "words":
            parts.append(LEVEL | {"use_regex": True})
        else:
            parts.append(SPLIT | {"pattern": {"Regex": step}})
    whole = {"type": "Sequence", "pretokenizers": parts if "words" in steps else [*parts, LEVEL]}
    tokenizer = {"pre_tokenizer": whole, "model": {"ignore_merges": True}}
    assert pre_tokenizer_name(tokenizer) == name
    if len(parts) == 1 and "words" in steps:
        assert pre_tokenizer_name({"pre_tokenizer": parts[0]}) == name


NAMES = {
    ("Meta-Llama-3-8B-Instruct", None, 8_000_000_000): {
        "name": "Meta Llama 3 8B Instruct",
        "finetune": "Instruct",
        "basename": "Meta-Llama-3",
        "size_label": "8B",
    },
    ("folder", "meta-llama/Llama-2-7b-hf", 6_700_000_000): {
        "name": "Llama 2 7b Hf",
        "organization": "Meta Llama",
        "finetune": "hf",
        "basename": "Llama-2",
        "size_label": "7B",
    },
    ("tiny", "/home/someone/x/y", 3_400_000): {"name": "Tiny", "size_label": "3.4M"},
    ("---", None, 1000): {"name": "", "size_label": "1.0K"},
}


@pytest.mark.parametrize("folder, name_or_path, size", NAMES)
def test_general_names_come_from_config_or_folder(tmp_path, folder, name_or_path, size):
    (tmp_path / folder).mkdir()
    found = general_metadata(tmp_path / folder, name_or_path, (size, size, 0, 0))
    want = {f"general.{key}": value for key, value in NAMES[folder, name_or_path, size].items()}
    assert {key: value.value for key, value in found.items()} == {"general.type": "model"} | want
