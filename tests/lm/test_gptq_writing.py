"""A GGUF file whose blocks are chosen on a text: the recipe's formats and size, and what is left after a failure."""

import numpy as np
import pytest
import tiny_models

import quantlib as ql
from quantlib.cli import main
from quantlib.errors import MethodError, RecipeError
from quantlib.formats import block_format
from quantlib.jobs import Measured
from quantlib.lm import Tokenizer, load
from quantlib.lm.gptq_writing import left_behind, spread, write_gptq
from quantlib.lm.quantizing import quantize_layers
from quantlib.lm.texts import CALIBRATION
from quantlib.lm.windows import Windows, cut
from quantlib.methods.catalogue import gptq_block
from quantlib.methods.grid_descent import GRIDS
from quantlib.methods.hessian import output_error
from quantlib.methods.shares import LEFT
from quantlib.methods.storing import STORED_BY_WEIGHT


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.write("llama_bpe", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """Two layers of twelve small experts each."""
    return tiny_models.write("mixtral", tmp_path_factory.mktemp("models") / "mixtral")


@pytest.fixture(scope="module")
def text():
    return CALIBRATION.read_text(encoding="utf-8")[:5000]


def test_file_is_the_recipes_with_other_codes(folder, text, tmp_path):
    out, plain, said = tmp_path / "gptq.gguf", tmp_path / "plain.gguf", []
    with ql.open_checkpoint(folder) as checkpoint:
        done = write_gptq(
            checkpoint, out, text, "Q3_K_S", context=256, dataset="a text", tokens=1024,
            progress=lambda fraction, words: said.append((fraction, words)),
        )  # fmt: skip
        ql.run(ql.plan(checkpoint, "Q3_K_S", important=True), plain)
        assert [p.name for p in tmp_path.iterdir() if p.suffix != ".gguf"] == []
    assert done.filled == 21  # seven matrices in each of three layers
    assert done.tokens == 1024 and done.nbytes == out.stat().st_size
    fractions = [fraction for fraction, _ in said]
    assert fractions == sorted(fractions) and fractions[-1] == 1 and "left" in said[-2][1]
    with ql.open_checkpoint(out) as ours, ql.open_checkpoint(plain) as theirs:
        assert ours.metadata["quantize.calibration.tokens"].value == 1024
        assert ours.metadata["quantize.calibration.text"].value == "a text"
        assert {n: t.format for n, t in ours.tensors.items()} == {n: t.format for n, t in theirs.tensors.items()}
        for name, tensor in ours.tensors.items():
            same = (tensor.raw() == theirs.tensors[name].raw()).all()
            assert same != (name.startswith("blk.") and tensor.format in STORED_BY_WEIGHT), name


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_goes_on_at_the_layer(experts, text, tmp_path, stop):
    """After Ctrl-C, as after a kill, the same bytes come out; after a fault of its own a run leaves nothing behind."""
    whole, out = tmp_path / "whole.gguf", tmp_path / "out.gguf"

    def failing(fraction, words):
        if fraction > 0.5:
            raise stop

    with ql.open_checkpoint(experts) as checkpoint:
        with pytest.raises(stop):
            write_gptq(checkpoint, out, text, "Q4_0", context=256, tokens=1024, progress=failing)
        assert not out.exists()
        if stop is RuntimeError:
            assert list(tmp_path.iterdir()) == []
            return
        done = write_gptq(checkpoint, out, text, "Q4_0", context=256, tokens=1024)
        write_gptq(checkpoint, whole, text, "Q4_0", context=256, tokens=1024)
    assert done.resumed == 1
    assert out.read_bytes() == whole.read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"whole.gguf", "out.gguf"}


def test_experts_are_chosen_on_what_reached_them(experts, text, tmp_path):
    """Each of a stack has blocks that lose less of its own inputs than the format's own; one that none reached too."""
    with ql.open_checkpoint(experts) as checkpoint:
        model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
        windows = cut(model, tokenizer.encode(text)[:1024], 256, tokenizer.bos)
        names = [f"blk.0.ffn_{part}_exps.weight" for part in ("up", "gate", "down")]
        layer = next(quantize_layers(model, windows, {name: gptq_block("Q4_0") for name in names}))
    assert set(layer.chosen) == set(names)
    for name in names:
        weight, chosen = model.weight(name), layer.chosen[name]
        plain = block_format("Q4_0").quantize(weight)
        assert chosen.result.shape == (weight.shape[0] * weight.shape[1], plain.shape[-1])
        lost = {"own": 0.0, "plain": 0.0}
        for expert, matrix in enumerate(weight):
            hessian = layer.inputs[f"{name}#{expert}"].hessian
            lost["own"] += output_error(matrix - chosen.decoded[expert], hessian)
            lost["plain"] += output_error(matrix - block_format("Q4_0").dequantize(plain[expert]), hessian)
        assert lost["own"] < 0.9 * lost["plain"]
    few = "experts of blk.0.ffn_down_exps.weight were given fewer tokens than the 96 inputs"
    reached = [layer.inputs[f"{names[2]}#{expert}"].tokens - 96 for expert in range(12)]
    assert any(few in note for note in layer.notes) == any(tokens < 96 for tokens in reached)


def test_budgets_are_spent_by_what_remains():
    names = ("blk.0.ffn_up.weight", "token_embd.weight")
    before = [Measured(name, form, 1000, 0.1, 2.0) for name in names for form in ("Q4_K", "BF16")]
    costs = [after.cost / m.cost for after, m in zip(left_behind(before), before, strict=True)]
    assert costs == pytest.approx([LEFT["Q4_K"], 1, 1, 1])
    assert set(LEFT) == {*STORED_BY_WEIGHT, *GRIDS} and all(0 < share < 1 for share in LEFT.values())


def test_windows_are_taken_evenly():
    windows = Windows(np.arange(40).reshape(10, 4), None)
    assert spread(windows, 12).tokens[:, 0].tolist() == [0, 12, 24]
    assert len(spread(windows, 1000)) == 10 and len(spread(windows, 1)) == 1


def test_nothing_is_left_where_it_fails(folder, text, tmp_path, capsys):
    with ql.open_checkpoint(folder) as checkpoint:
        with pytest.raises(MethodError, match="needs 1,024 or more"):
            write_gptq(checkpoint, tmp_path / "out.gguf", text[:1000], context=256)
        with pytest.raises(RecipeError):
            write_gptq(checkpoint, tmp_path / "out.gguf", text, "Q99", context=256)
    assert main(["quantize", str(folder), str(tmp_path / "out.gguf"), "--method", "gptq"]) == 1
    assert "--method gptq needs a calibration text" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
