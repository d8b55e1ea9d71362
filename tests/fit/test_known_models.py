"""The catalogue of models against their cards, and the ways to name one."""

import json

import pytest

import quantlib as ql
from quantlib.errors import CheckpointError
from quantlib.fit import KNOWN, described, named_subject, subject
from quantlib.fit.described import hollow
from quantlib.fit.published import LLAMA_3_8B, LLAMA_3_8B_BPW
from quantlib.fit.weighing import parts_of, routing_of
from quantlib.recipes import RECIPES

ROUNDED = 10**6  # cards round to this or more; what is no multiple of it is counted to the weight
# The models that the page must know, by how people call them.
ASKED_FOR = (
    "Llama-2-7B", "Llama 3.1 8B", "Llama-3.3-70B", "Llama 4 Scout", "Qwen2.5-14B", "Qwen3-30B-A3B",
    "Qwen3-Next-80B-A3B", "Qwen3.5-27B", "Qwen3.6-35B-A3B", "Gemma 3 27B", "Gemma-3n-E4B", "gemma-4-26B-A4B",
    "Mistral-Nemo-12B", "Mistral-Small-3.2-24B", "Ministral-8B", "Mixtral-8x7B", "Phi-4", "gpt-oss-20b", "gpt-oss-120b",
    "GLM-4.5", "GLM-4.6", "DeepSeek-V3", "DeepSeek-R1", "Kimi-K2", "MiniMax-M2", "SmolLM2-1.7B", "SmolLM3-3B",
    "Granite-4.0-H-Tiny", "LFM2-1.2B", "Nemotron-Nano-9B-v2", "OLMo-3-7B", "Command-A", "Falcon-H1-7B",
    "GLM-4.7", "GLM-4.7-Flash", "GLM-5", "Nemotron-3-Nano-30B-A3B", "DeepSeek-V3.1",
    "DeepSeek-V3.2", "Kimi-K2.5", "MiniMax-M2.7", "QwQ-32B", "Qwen3-VL-8B",
)  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_weights_add_up_to_the_model_card(name):
    model = KNOWN[name]
    checkpoint = model.checkpoint()
    close = 0 if model.parameters % ROUNDED else 0.025
    assert checkpoint.size == pytest.approx(model.parameters, rel=close)
    assert model.hub.count("/") == 1 and model.found, "its source is named"
    if model.active:
        trunk, experts, used = routing_of(checkpoint)
        parts = parts_of(list(checkpoint), trunk)
        bits = 4.25 if any(t.format == "MXFP4" for t in checkpoint) else 16
        active = 8 * sum(parts.layers) / 16 + 8 * sum(parts.experts) / bits * used / experts if experts else 0
        # Cards count the embedding or not, and round; the Gemmas count what a device must load.
        assert not experts or active == pytest.approx(model.active, rel=0.3, abs=0.5e9)


@pytest.mark.parametrize("text", ASKED_FOR)
def test_models_that_people_name_are_found(text):
    found = KNOWN.find(text)
    assert found is not None
    assert KNOWN.find(found.hub) is not None, "by the hub's name too"


def test_a_quantizers_repository_is_its_model():
    assert KNOWN.find("bartowski/Qwen3-14B-GGUF").name == "Qwen3-14B"
    assert KNOWN.find("unsloth/gpt-oss-20b-GGUF").name == "gpt-oss-20b"


@pytest.mark.parametrize(
    ("text", "name"),
    [("bartowski/Qwen_Qwen3-14B-GGUF", "Qwen3-14B"), ("mradermacher/Qwen2.5-7B-Instruct-i1-GGUF", "Qwen2.5-7B"),
     ("google/gemma-3-27b-it-qat-q4_0-gguf", "Gemma-3-27B"), ("Qwen/Qwen3-8B-Base", "Qwen3-8B"),
     ("Qwen/Qwen2.5-Coder-32B-Instruct", "Qwen2.5-32B"), ("unsloth/Devstral-Small-2507-GGUF", "Mistral-Small-3.2-24B"),
     ("zai-org/GLM-4.7-FP8", "GLM-4.7"), ("qwq 32b", "QwQ-32B"),
     ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "Nemotron-3-Nano-30B-A3B"),
     ("unsloth/DeepSeek-V3.2-GGUF", "DeepSeek-V3.2"), ("mlx-community/Qwen3-8B-4bit", "Qwen3-8B")],
)  # fmt: skip
def test_repositories_are_models(text, name):
    assert KNOWN.find(text).name == name


def test_every_source_says_where_to_look():
    """A mirror of the config.json, a printed one, or the report or table that has its numbers: no bare "model card"."""
    assert not [model.name for model in KNOWN.values() if model.found == "model card" or len(model.found) <= 12]


@pytest.mark.parametrize("recipe", sorted(LLAMA_3_8B_BPW.keys() & RECIPES.keys()))
def test_bits_per_weight_of_llama_3_8b_are_the_published_ones(recipe):
    needs = recipe == "IQ3_XXS"  # which llama.cpp's table has with an importance matrix
    bpw = ql.plan(KNOWN["Llama-3-8B"].checkpoint(), recipe, important=needs).bpw
    assert bpw == pytest.approx(LLAMA_3_8B_BPW[recipe], abs=6e-5)


@pytest.mark.parametrize("row", [q for q in LLAMA_3_8B if q.recipe in RECIPES], ids=lambda q: f"{q.recipe}-{q.imatrix}")
def test_published_file_sizes(row):
    size = ql.plan(KNOWN["Llama-3-8B"].checkpoint(), row.recipe, important=row.imatrix).nbytes / 2**30
    # The measured files were made by an earlier version, whose IQ2_M, IQ3_XXS and Q2_K_S held a few tensors otherwise,
    # and they carry the vocabulary, 8 MB.
    assert size == pytest.approx(row.gib, abs=0.2 if row.recipe in ("Q2_K_S", "IQ3_XXS") else 0.03)


def test_gpt_oss_has_the_size_of_the_published_file():
    """ggml-org's gpt-oss-20b-mxfp4.gguf has 12,109,566,560 bytes, of which the vocabulary and other keys are 13 MB."""
    assert ql.plan(KNOWN["gpt-oss-20b"].checkpoint(), "MXFP4_MOE").tensor_nbytes == pytest.approx(12.1096e9, rel=0.0015)


@pytest.mark.parametrize(
    ("size", "says"),
    [("8B", "the shape of Llama-3.1-8B, 8,030,261,248 weights"), ("14B", "40 heads share 8 key-value heads"),
     ("13B", "Mistral-Nemo-12B with 4"), ("40B", "Qwen3-32B with"), ("500M", "Qwen2.5-0.5B"),
     ("30B-A3B", "Qwen3-30B-A3B"), ("100B-A12B", "GLM-4.5-Air")],
)  # fmt: skip
def test_a_size_assumes_a_modern_shape_and_says_which(size, says):
    found = subject(size)
    assert says in found.assumed
    wanted = float(size.split("B")[0].split("M")[0]) * (1e6 if "M" in size else 1e9)
    assert found.parameters == pytest.approx(wanted, rel=0.11)


@pytest.mark.parametrize("size", ["0.1M", "9000T", "8 bananas", "30B-A40B"])
def test_what_is_no_model_gets_a_sentence(size):
    with pytest.raises(ql.CheckpointError):
        subject(size)


def test_a_shape_holds_no_weights():
    with pytest.raises(CheckpointError, match="Only the shape"):
        next(iter(KNOWN["Llama-3-8B"].checkpoint())).raw(0, 1)
    with pytest.raises(CheckpointError, match="Only the shape"):
        hollow("x.weight", (2, 32), "the original").raw(0, 1)


def test_a_pasted_config_and_its_file_are_the_model(tmp_path):
    text = json.dumps(dict(KNOWN["Qwen3-8B"].config))
    assert named_subject(text).parameters == KNOWN["Qwen3-8B"].parameters
    (tmp_path / "config.json").write_text(text)
    assert subject(tmp_path / "config.json").parameters == KNOWN["Qwen3-8B"].parameters


@pytest.mark.parametrize(
    ("change", "says"),
    [({"model_type": "riddle"}, "none of those that are converted"),
     ({"num_hidden_layers": "many"}, "num_hidden_layers"),
     ({"hidden_size": 10**12}, "hidden_size"), ({"vocab_size": -5}, "vocab_size")],
)  # fmt: skip
def test_an_odd_config_gets_a_sentence(change, says):
    with pytest.raises(CheckpointError, match=says):
        described(KNOWN["Llama-3-8B"].config | change, "odd")


def test_a_config_of_endless_layers_takes_no_endless_time():
    with pytest.raises(CheckpointError, match="too many"):
        described(KNOWN["Llama-3-8B"].config | {"num_hidden_layers": 1024}, "odd")
    assert max(len(KNOWN[name].checkpoint().tensors) for name in ("GLM-4.5", "Kimi-K2", "Llama-3.1-405B")) < 1800


@pytest.mark.parametrize(
    "text",
    ["/etc/passwd", "../..", "/", "hf://owner/name", "https://host/x", "assets/demo_model", "", "8", "x" * 5000, "٨B"],
)
def test_text_that_a_visitor_types_opens_nothing(text, monkeypatch):
    """A name or a size, or a sentence; no file is looked for, and none is named."""
    monkeypatch.setattr("quantlib.fit.sources.open_checkpoint", lambda source: pytest.fail(f"{source} was opened"))
    with pytest.raises(CheckpointError, match="is no size: write one such as 8B") as caught:
        named_subject(text)
    assert len(str(caught.value)) < 220
