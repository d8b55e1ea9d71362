"""A GGUF file with GPTQ's codes: the recipe's formats and size, the walk's codes, and nothing left after a failure."""

import pytest

import quantlib as ql
from quantlib.cli import main
from quantlib.errors import MethodError, RecipeError
from quantlib.lm.gptq_writing import write_gptq
from quantlib.lm.texts import CALIBRATION
from quantlib.methods.mixed import ZEROS


@pytest.fixture(scope="module")
def text():
    return CALIBRATION.read_text(encoding="utf-8")[:5000]


def test_file_is_the_recipes_with_other_codes(demo_model, text, tmp_path):
    out, plain = tmp_path / "gptq.gguf", tmp_path / "plain.gguf"
    with ql.open_checkpoint(demo_model) as checkpoint:
        done = write_gptq(checkpoint, out, text, "Q3_K_S", context=256)
        ql.run(ql.plan(checkpoint, "Q3_K_S"), plain)
        assert [p.name for p in tmp_path.iterdir() if p.suffix != ".gguf"] == []
    assert done.filled == 56  # seven matrices in each of eight layers
    with ql.open_checkpoint(out) as ours, ql.open_checkpoint(plain) as theirs:
        assert {n: t.format for n, t in ours.tensors.items()} == {n: t.format for n, t in theirs.tensors.items()}
        for name, tensor in ours.tensors.items():
            same = (tensor.raw() == theirs.tensors[name].raw()).all()
            assert same != (name.startswith("blk.") and tensor.format in ZEROS), name


def test_nothing_is_left_where_it_fails(demo_model, text, tmp_path, capsys):
    with ql.open_checkpoint(demo_model) as checkpoint:
        with pytest.raises(MethodError, match="needs 1,024 or more"):
            write_gptq(checkpoint, tmp_path / "out.gguf", text[:3000], context=256)
        with pytest.raises(RecipeError):
            write_gptq(checkpoint, tmp_path / "out.gguf", text, "Q99", context=256)
    assert main(["quantize", str(demo_model), str(tmp_path / "out.gguf"), "--method", "gptq"]) == 1
    assert "--method needs a calibration text" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
