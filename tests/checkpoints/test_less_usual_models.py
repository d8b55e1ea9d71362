"""Models saved in ways that the golden folders do not have, against what the converter makes of the usual ones."""

import json

import arch_models
import pytest
from safetensors.numpy import load_file, save_file

from quantlib import open_checkpoint, plan
from quantlib.checkpoints import gguf_view


def without_prediction(name: str, trunk: int, folder):
    """The golden model as transformers saves it again: config.json still names the MTP layer, no tensor is there."""
    case = arch_models.cases()[name]
    arch_models.write(name, folder)
    kept = {
        n: x
        for n, x in arch_models.weights(case["weights"]).items()
        if not n.startswith("mtp.") and f".layers.{trunk}." not in n
    }
    arch_models.save(kept, folder / "model.safetensors")
    return case["gguf"]


def test_a_named_prediction_layer_that_is_absent_is_written_down_as_the_converter_does(tmp_path):
    """llama.cpp passes over that layer of GLM's, so it loads the converter's file."""
    golden = without_prediction("glm4_moe", 3, tmp_path / "m")
    view, stated = gguf_view(open_checkpoint(tmp_path / "m")), golden["metadata"]
    for key in ("glm4moe.block_count", "glm4moe.nextn_predict_layers"):
        assert view.metadata[key].value == stated[key]["value"]
    assert [k for k in view.metadata if k.startswith("glm4moe")] == [k for k in stated if k.startswith("glm4moe")]
    assert list(view.tensors) == [t["name"] for t in golden["tensors"] if not t["name"].startswith("blk.3.")]
    assert any("runs the model without it" in warning for warning in view.warnings)


@pytest.mark.parametrize(("name", "arch"), [("qwen3_5", "qwen35"), ("qwen3_5_moe", "qwen35moe")])
def test_a_named_prediction_layer_that_llama_cpp_would_look_for_is_not_written_down(tmp_path, name, arch):
    golden = without_prediction(name, 4, tmp_path / "m")
    view = gguf_view(open_checkpoint(tmp_path / "m"))
    assert (view.value(f"{arch}.block_count"), view.value(f"{arch}.nextn_predict_layers")) == (4, None)
    kept = [k for k in golden["metadata"] if k.startswith(arch) and not k.endswith("nextn_predict_layers")]
    assert [k for k in view.metadata if k.startswith(arch)] == kept
    assert list(view.tensors) == [t["name"] for t in golden["tensors"] if not t["name"].startswith("blk.4.")]
    assert any("llama.cpp refuses" in warning for warning in view.warnings)


def shared_out(folder, first: set[str]) -> None:
    """The folder's tensors in two shards, those named so in the first."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for number, part in enumerate((first, tensors.keys() - first), 1):
        save_file({n: tensors[n] for n in part}, folder / f"model-0000{number}-of-00002.safetensors")
    index = {n: f"model-0000{1 if n in first else 2}-of-00002.safetensors" for n in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def test_stacks_of_one_layer_in_two_shards_are_written_where_each_is_met(tmp_path):
    """The converter waits for a layer's last expert only where experts are tensors of their own."""
    folder = arch_models.write("llama4", tmp_path / "llama4")
    names = load_file(folder / "model.safetensors")
    fused = next(n for n in names if n.endswith("layers.0.feed_forward.experts.gate_up_proj"))
    shared_out(folder, {fused})
    found = [n for n in gguf_view(open_checkpoint(folder)).tensors if not n.startswith("rope")]
    assert found[:2] == ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_up_exps.weight"]
    assert found.index("blk.0.ffn_down_exps.weight") > 2


def test_unpacked_experts_keep_the_number_of_a_packed_file(tmp_path):
    """config.json of gpt-oss still says mxfp4 when its experts were saved as floats; the converter goes by that."""
    case = arch_models.cases()["gpt_oss"]
    shapes = {}
    for name, shape in case["weights"]["shapes"].items():
        if name.endswith("_blocks"):
            shapes[name.removesuffix("_blocks")] = [shape[0], 32 * shape[2], shape[1]]
        elif not name.endswith("_scales"):
            shapes[name] = shape
    spec = {**case, "weights": {**case["weights"], "shapes": shapes, "integers": {}, "dtypes": {}}}
    with open_checkpoint(arch_models.write("gpt_oss", tmp_path / "m", spec)) as checkpoint:
        planned = plan(checkpoint, "BF16")
    assert planned.metadata["general.file_type"].value == 38
    assert {t.target for t in planned.tensors} == {"BF16", "FP32"}
