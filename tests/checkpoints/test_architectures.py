"""Declarations of architectures against the gguf package's tables, and models that are stored in less usual ways."""

import json
import re

import arch_models
import gguf
import numpy as np
import pytest
import tiny_models
from safetensors.numpy import load_file, save_file

from quantlib.architectures import ARCHITECTURES
from quantlib.architectures.declaration import Key
from quantlib.checkpoints import gguf_view, open_checkpoint
from quantlib.checkpoints.base import Tensor
from quantlib.checkpoints.convert import lazy
from quantlib.checkpoints.convert.config import read_config
from quantlib.checkpoints.convert.tensors import wanted_tensors
from quantlib.errors import CheckpointError

ARCHS = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}


def keys_of(group):
    """Every key of the package's table, which has groups within groups."""
    for value in vars(group).values():
        if isinstance(value, type):
            yield from keys_of(value)
        elif isinstance(value, str):
            yield value.replace("{arch}.", "")


KEYS = set(keys_of(gguf.Keys))


GOLDEN = [case["gguf"] for case in arch_models.cases().values()]  # newer than the package
NAMES = {name.format(bid=0) for name in gguf.TENSOR_NAMES.values()} | {
    re.sub(r"blk\.\d+\.", "blk.0.", re.sub(r"\.(weight|bias|scale)$", "", tensor["name"]))
    for golden in GOLDEN
    for tensor in golden["tensors"]
}
KEYS |= {key.partition(".")[2] for golden in GOLDEN for key in golden["metadata"]}


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_names_are_those_of_the_gguf_package(model_type):
    """Every name is one of GGUF's, and a tensor that lies alone is called as the package calls it."""
    architecture = ARCHITECTURES[model_type]
    names = gguf.get_tensor_name_map(ARCHS[architecture.name], 1) if architecture.name in ARCHS else None
    prefix = architecture.prefixes[0].replace("model.language_model.", "model.")
    for weight in architecture.weights:
        ours = re.sub(r"\.(weight|bias|scale)$", "", weight.gguf.format(0))
        assert ours in NAMES, weight
        moved = weight.change.rows is not None or weight.change.arrange is not None
        if names is None or weight.exact or weight.layers is not None or moved:
            continue  # the golden models show these
        hf = re.sub(r"\.experts\.\{\}\.", ".experts.", weight.hf).format(0)
        found = names.get_name(hf) or names.get_name(prefix + hf)
        if weight.stacked and found is None:  # the package knows Mixtral's experts by the names of its first files
            continue
        assert found == ours, weight


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_keys_are_those_of_the_gguf_package(model_type):
    architecture = ARCHITECTURES[model_type]
    for key in (*architecture.early, *architecture.keys):
        if isinstance(key, Key):
            assert key.name in KEYS, key


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_defaults_make_a_whole_config(tmp_path, model_type):
    """A config.json that says nothing is a model of the sizes that transformers gives it, and all sizes are there."""
    architecture = ARCHITECTURES[model_type]
    config = read_config(tmp_path / "config.json", {}, architecture)
    assert all(all(wanted.shape) for wanted in wanted_tensors(architecture, config) if wanted.needed)


# Numbers that transformers calls otherwise, or that only the config.json of published models has.
OTHERWISE_THERE = {
    ("nomic_bert", "context"), ("llama4", "ffn"), ("llama4_text", "ffn"), ("nemotron_h", "layers"),
    ("nemotron_h", "experts"), ("nemotron_h", "experts used"), ("granitemoehybrid", "experts"),
    ("granitemoehybrid", "experts used"),
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_defaults_are_those_of_transformers(peer, tmp_path, model_type):
    theirs = peer("transformers").AutoConfig.for_model(model_type)
    theirs = getattr(theirs, "text_config", theirs)
    ours = read_config(tmp_path / "config.json", {}, ARCHITECTURES[model_type])

    stated = theirs.to_dict()

    def their(*names):  # some names are other ones' there, and some may not be asked for where layers differ
        values = (stated[name] if name in stated else getattr(theirs, name, None) for name in names)
        return next((value for value in values if value is not None), None)

    rope = their("rope_parameters") or {}
    pairs = {
        "layers": (ours.layers, their("num_hidden_layers")),
        "heads": (ours.heads, their("num_attention_heads")),
        "groups": (ours.groups, their("num_key_value_heads")),
        "width": (ours.width, their("hidden_size")),
        "head width": (ours.head_width, their("head_dim")),
        "ffn": (ours.ffn, their("intermediate_size")),
        "vocab": (ours.vocab, their("vocab_size")),
        "context": (ours.context, their("max_position_embeddings")),
        "rms_eps": (ours.rms_eps, their("rms_norm_eps")),
        "experts": (ours.experts, their("num_local_experts", "num_experts", "n_routed_experts")),
        "experts used": (ours.experts_used, their("num_experts_per_tok")),
        "theta": (ours.rope.theta, rope.get("full_attention", rope).get("rope_theta")),
    }
    for name, (found, want) in pairs.items():
        lists = isinstance(want, list)  # of a number for each layer, which is read as a list too
        assert want is None or lists or found == want or (model_type, name) in OTHERWISE_THERE, name


@pytest.fixture
def changed(tmp_path):
    """changed("bert", tensors -> tensors, key=value): the model stored otherwise."""

    def make(name: str, change=lambda tensors: tensors, **config):
        folder = tiny_models.write(name, tmp_path / "changed")
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return folder

    return make


def same(folder, other) -> None:
    with open_checkpoint(folder) as a, open_checkpoint(other) as b:
        ours, theirs = gguf_view(a), gguf_view(b)
        assert set(ours.tensors) == set(theirs.tensors)
        for name, tensor in ours.tensors.items():
            np.testing.assert_array_equal(tensor.rows(), theirs.tensors[name].rows(), err_msg=name)


def renamed(pattern: str, to: str):
    return lambda tensors: {re.sub(pattern, to, name): x for name, x in tensors.items()}


def fused(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Experts as transformers 5 holds them in memory: gate and up in one, a stack for all experts."""
    out, stacks = {}, {}
    for name, x in tensors.items():
        found = re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", name)
        if found:
            stacks.setdefault(found[1], {})[found[3], int(found[2])] = x
        else:
            out[name] = x
    for name, each in stacks.items():
        names = ("w1", "w3", "w2") if ("w1", 0) in each else ("gate_proj", "up_proj", "down_proj")
        gate, up, down = ([each[which, i] for i in range(len(each) // 3)] for which in names)
        out[f"{name}.gate_up_proj"] = np.stack([np.concatenate(pair) for pair in zip(gate, up, strict=True)])
        out[f"{name}.down_proj"] = np.stack(down)
    return out


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe", "qwen3_moe"])
def test_experts_in_one_tensor_are_the_same(changed, golden_models, name):
    same(changed(name, fused), golden_models[name])


def test_stacks_are_read_in_pieces_across_experts(golden_models):
    with open_checkpoint(golden_models["mixtral"]) as checkpoint:
        tensor = gguf_view(checkpoint).tensors["blk.1.ffn_down_exps.weight"]
        whole = np.stack(
            [checkpoint.tensors[f"model.layers.1.block_sparse_moe.experts.{i}.w2.weight"].rows() for i in range(12)]
        )
        np.testing.assert_array_equal(tensor.rows().reshape(whole.shape), whole)
        for step in (1, 7, 64, 100):
            pieces = [tensor.rows(i, min(i + step, tensor.nrows)) for i in range(0, tensor.nrows, step)]
            np.testing.assert_array_equal(np.concatenate(pieces), tensor.rows())


def test_a_stack_reads_no_more_than_it_is_asked_for():
    asked = []

    def part(number: int) -> Tensor:
        def read(start: int, stop: int) -> np.ndarray:
            asked.append((number, start, stop))
            return np.full((stop - start, 4), number % 256, np.uint8)

        return Tensor(str(number), (8, 1), "FP32", 32, read)

    stack = lazy.joined("stack", (1000, 8, 1), [(part(i), 0, 8) for i in range(1000)])
    assert stack.raw(3996, 4011).shape == (15, 4)
    assert asked == [(499, 4, 8), (500, 0, 8), (501, 0, 3)]


def test_the_language_half_of_gemma_3_is_converted(changed, golden_models):
    def seeing(tensors):
        half = {f"model.language_model.{name.removeprefix('model.')}": x for name, x in tensors.items()}
        extra = {"model.vision_tower.x.weight": np.ones((2, 2), np.float32)}
        return half | {name.replace("model.", "", 1): x for name, x in extra.items()}

    spec = tiny_models.architectures()["gemma3_small"]["config"]
    whole = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": spec}
    folder = changed("gemma3_small", seeing)
    (folder / "config.json").write_text(json.dumps(whole))
    same(folder, golden_models["gemma3_small"])
    with open_checkpoint(folder) as checkpoint:
        assert any("--mmproj" in warning for warning in gguf_view(checkpoint).warnings)


def test_berts_of_several_ages(changed, golden_models):
    def old(tensors):
        named = {f"bert.{n}".replace("LayerNorm.weight", "LayerNorm.gamma"): x for n, x in tensors.items()}
        named = {n.replace("LayerNorm.bias", "LayerNorm.beta"): x for n, x in named.items()}
        return named | {"cls.predictions.bias": np.ones(3, np.float32)}

    same(changed("bert", old, architectures=["BertForMaskedLM"]), golden_models["bert"])


def test_pooling_is_read_beside_the_model(changed):
    folder = changed("bert")
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    for flags, number in (({"pooling_mode_cls_token": True}, 2), ({"pooling_mode": "mean"}, 1)):
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
        with open_checkpoint(folder) as checkpoint:
            assert gguf_view(checkpoint).value("bert.pooling_type") == number
    for path, fragment in (("../1_Pooling", "no plain folder name"), ("2_None", "cannot be opened")):
        (folder / "modules.json").write_text(json.dumps([modules[0] | {"path": path}]))
        with open_checkpoint(folder) as checkpoint, pytest.raises(CheckpointError, match=fragment):
            gguf_view(checkpoint)


def test_gpt2_without_its_prefix_and_with_its_masks(changed, golden_models):
    def published(tensors):
        named = renamed(r"^transformer\.", "")(tensors)
        return named | {"h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}

    same(changed("gpt2", published), golden_models["gpt2"])


@pytest.mark.parametrize("name", ["olmo2", "qwen2_moe"])
def test_the_output_matrix_is_written_where_llama_cpp_wants_one(changed, name):
    def tied(tensors):
        return {n: x for n, x in tensors.items() if n != "lm_head.weight"}

    with open_checkpoint(changed(name, tied, tie_word_embeddings=True)) as checkpoint:
        view = gguf_view(checkpoint)
        output, embedding = view.tensors["output.weight"], view.tensors["token_embd.weight"]
        np.testing.assert_array_equal(output.raw(), embedding.raw())


OTHERWISE = {
    "activation": ("qwen3", {"hidden_act": "gelu"}, "'hidden_act' is 'gelu'"),
    "router": ("qwen3_moe", {"norm_topk_prob": False}, "'norm_topk_prob' is 'False'"),
    "dense layers": ("qwen2_moe", {"mlp_only_layers": [0]}, "'mlp_only_layers'"),
    "positions": ("smollm3", {"no_rope_layer_interval": 2}, "'no_rope_layer_interval' is '2'"),
    "a decoder": ("bert", {"is_decoder": True}, "'is_decoder' is 'True'"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_what_llama_cpp_would_compute_otherwise_is_refused(changed, case):
    name, config, fragment = OTHERWISE[case]
    with open_checkpoint(changed(name, **config)) as checkpoint, pytest.raises(CheckpointError) as caught:
        gguf_view(checkpoint)
    assert fragment in str(caught.value) and str(caught.value).endswith(".")


def test_windows_and_scales_that_llama_cpp_ignores_are_told(changed):
    with open_checkpoint(changed("mistral", sliding_window=64)) as checkpoint:
        assert any("looks back over 64 tokens" in warning for warning in gguf_view(checkpoint).warnings)


def test_another_architecture_is_named_and_can_be_looked_at(changed):
    folder = changed("llama3", architectures=["FalconForCausalLM"], model_type="falcon")
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.architecture == "FalconForCausalLM"
        assert np.isfinite(checkpoint.tensors["model.norm.weight"].rows()).all()
        with pytest.raises(CheckpointError) as caught:
            gguf_view(checkpoint)
    for fragment in (
        "'FalconForCausalLM'",
        "quantlib architectures",
        "looked at and measured",
        "convert_hf_to_gguf.py",
    ):
        assert fragment in str(caught.value)
