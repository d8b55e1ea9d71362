"""What may be chosen about a scheme: a folder holds what was chosen, ignored matrices stay, the rest is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib.cli import main
from quantlib.errors import MethodError
from quantlib.exports import SCHEMES, adjusted, export, fitted, linears_of, misfit, prepare
from quantlib.exports.calibrated_schemes import AboveZero
from quantlib.exports.folder import write_beside
from quantlib.exports.linears import kept_of, parted
from quantlib.formats.integers import IntegerFormat
from quantlib.lm import Tokenizer, cut, load

LAYER = "model.layers.0."


@pytest.fixture(scope="module")
def folder(demo_model, tmp_path_factory):
    """The demo model's first layer as a model of its own, in FP32."""
    made = tmp_path_factory.mktemp("one") / "layer"
    made.mkdir()
    with ql.open_checkpoint(demo_model) as checkpoint:
        names = [n for n in checkpoint.tensors if not n.startswith("model.layers.") or n.startswith(LAYER)]
        weights = {n: checkpoint.tensors[n].rows().reshape(checkpoint.tensors[n].shape) for n in names}
        write_beside(demo_model, made, checkpoint.metadata["config"] | {"num_hidden_layers": 1})
    save_file(weights, made / "model.safetensors")
    return made


@pytest.fixture(scope="module")
def source(folder):
    with ql.open_checkpoint(folder) as checkpoint:
        yield checkpoint


@pytest.fixture(scope="module")
def setting(source, demo_model):
    model, tokenizer = load(source), Tokenizer.of(source)
    text = (demo_model.parent / "evaluation" / "story.txt").read_text(encoding="utf-8")
    return model, cut(model, (tokenizer.encode(text) * 3)[: 128 * 10], 128, tokenizer.bos)


@pytest.mark.parametrize(
    ("name", "wishes", "error"),
    [("gptq", {"bits": 3, "group": 32, "symmetric": False, "act_order": True}, 0.25),
     ("gptq", {"bits": 8, "group": None, "damping": 0.1}, 0.02),
     ("gptq", {"bits": 2, "symmetric": False}, 0.7),
     ("awq", {"group": 64}, 0.2),
     ("w4a16", {"group": None}, 0.2),
     ("w8a16", {"group": 32}, 0.02)],
)  # fmt: skip
def test_the_folder_says_and_holds_what_was_chosen(source, setting, tmp_path, name, wishes, error):
    """Read back by the readers of such folders, which follow config.json and not the export."""
    scheme, ignore = adjusted(SCHEMES[name], **wishes), ("down_proj", "q_proj")
    prepared = prepare(source, scheme, *setting, ignore=ignore) if scheme.needs_text else None
    result = export(source, tmp_path / "out", scheme, prepared, ignore=ignore)
    assert {layer.module.rpartition(".")[2] for layer in result.layers} == {
        "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
    }  # fmt: skip
    tokens = setting[1].tokens[0][:64]
    with ql.open_checkpoint(tmp_path / "out") as written:
        before, after = setting[0](tokens), load(written)(tokens)
    assert np.linalg.norm(after - before) / np.linalg.norm(before) < error
    assert result.scheme.startswith(f"{name}-") and all(str(key).split("_")[0] in result.scheme for key in wishes)


def test_what_is_ignored_is_untouched_where_nothing_moves(source, tmp_path):
    export(source, tmp_path / "out", SCHEMES["fp8"], ignore=["down_proj"])
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert config["ignore"] == ["lm_head", f"{LAYER}mlp.down_proj"]
    with ql.open_checkpoint(tmp_path / "out") as written:
        name = f"{LAYER}mlp.down_proj.weight"
        np.testing.assert_array_equal(written.tensors[name].raw(), source.tensors[name].raw())


def test_zero_points_never_carry_into_their_neighbour():
    """The layout stores a zero point less one in 4 bits of a word of eight; none may be 0."""
    x = np.abs(np.random.default_rng(0).standard_normal((6, 32))).astype(np.float32)
    x[0], x[1, 3] = 0, -1
    grids = AboveZero(IntegerFormat(4, symmetric=False, restricted=False), 32)
    grid = grids.choose(x, 0)
    assert grid.zero.min() >= 1
    codes = np.clip(np.rint(x / np.where(grid.scale > 0, grid.scale, 1)) + grid.zero, 0, 15)
    assert np.abs((codes - grid.zero) * grid.scale - x).max() <= 0.51 * grid.scale.max()


@pytest.mark.parametrize(
    ("name", "wishes", "says"),
    [("fp8", {"bits": 4}, "fp8 has no number of bits to choose"),
     ("gptq", {"bits": 5}, "is one of 2, 3, 4, 8, not 5"),
     ("w4a16", {"group": 48}, "is one of 128, 64, 32, channel, not 48"),
     ("awq", {"act_order": True}, "has no order of rounding"),
     ("gptq", {"damping": float("nan")}, "is one of 0 to 1, not nan")],
)  # fmt: skip
def test_what_cannot_be_chosen_is_said(name, wishes, says):
    with pytest.raises(MethodError, match=says):
        adjusted(SCHEMES[name], **wishes)


def test_groups_that_fit_are_found_before_anything_is_read(source):
    linears = linears_of(source)
    narrow = {n: replace(lin, tensor=replace(lin.tensor, shape=(576, 576))) for n, lin in linears.items()}
    assert fitted(linears, SCHEMES["gptq"]) is SCHEMES["gptq"]
    assert fitted(narrow, SCHEMES["gptq"]).choices.group == 64
    assert "choose groups of 64, or another scheme" in misfit(narrow, SCHEMES["awq"])
    odd = {n: replace(lin, tensor=replace(lin.tensor, shape=(100, 256))) for n, lin in linears.items()}
    assert "packs 8 codes together, which do not divide the 100 outputs" in misfit(odd, SCHEMES["awq"])
    assert not misfit(odd, SCHEMES["w4a16"])


@pytest.mark.parametrize(
    ("ignore", "says"),
    [(["nothing"], "No matrix fits 'nothing'"), (["("], "is not a regular expression"), (["."], "nothing would be")],
)
def test_what_is_ignored_exists_and_leaves_something(source, ignore, says):
    with pytest.raises(MethodError, match=says):
        kept_of(linears_of(source), ignore)


def test_matrices_that_are_multiplied_together_are_named(source):
    linears = linears_of(source)
    assert "q_proj, k_proj, v_proj" in parted(linears, kept_of(linears, ["v_proj"]))
    assert not parted(linears, kept_of(linears, ["[qkv]_proj", "down"]))


def test_the_command_takes_all_of_it(folder, demo_model, tmp_path, capsys):
    text = demo_model.parent / "evaluation" / "story.txt"
    words = (
        f"export {folder} {tmp_path / 'out'} --as gptq --bits 3 --group 64 --no-symmetric --act-order --damping 0.02"
    )
    words += f" --samples 10 --context 128 --ignore v_proj --text {text}"
    assert main(words.split()) == 0
    assert "as one matrix" in capsys.readouterr().err
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert [config[key] for key in ("bits", "group_size", "sym", "desc_act", "damp_percent")] == [
        3,
        64,
        False,
        True,
        0.02,
    ]
    assert config["dynamic"] == {r"-:^model\.layers\.0\.self_attn\.v_proj$": {}}
    assert main(["export", str(folder), str(tmp_path / "other"), "--as", "fp8", "--bits", "4"]) == 1
    assert "fp8 has no number of bits" in capsys.readouterr().err
