"""The importance matrix: its definition, and its file read back."""

import numpy as np
import pytest

import quantlib as ql
from quantlib.checkpoints import read_imatrix, write_imatrix
from quantlib.lm import Tokenizer, imatrix, load

TEXT = "The old king looked out of the window and said that the sea was very quiet that night. " * 8


@pytest.fixture(scope="module")
def collected(demo_model):
    checkpoint = ql.open_checkpoint(demo_model)
    model, tokenizer = load(checkpoint), Tokenizer.of(checkpoint)
    ids = np.array(tokenizer.encode(TEXT))
    return model, tokenizer, ids, imatrix(model, ids, 64, tokenizer.bos, dataset="king.txt")


def test_it_holds_the_sums_of_squares_over_all_windows(collected):
    model, tokenizer, ids, sums = collected
    expected: dict[str, np.ndarray] = {}
    for window in ids[: len(ids) // 64 * 64].reshape(-1, 64):
        shown = window.copy()
        shown[0] = tokenizer.bos
        model(shown, observe=lambda n, x: expected.update({n: expected.get(n, 0) + (x.astype(float) ** 2).sum(0)}))
    assert set(sums.sums) == {name for name in expected if name.startswith("blk.")}
    for name, total in sums.sums.items():
        np.testing.assert_allclose(total[0], expected[name], rtol=1e-3)
        assert sums.counts[name].tolist() == [len(ids) // 64 * 64]
    assert (sums.chunks, sums.chunk_size, sums.datasets) == (len(ids) // 64, 64, ("king.txt",))


def test_a_recipe_takes_the_file(collected, demo_model, tmp_path):
    *_, sums = collected
    write_imatrix(sums, tmp_path / "king.gguf")
    matrix = read_imatrix(tmp_path / "king.gguf")
    for name, mean in sums.matrix("king").entries.items():
        np.testing.assert_array_equal(matrix.entries[name], mean)
    checkpoint = ql.open_checkpoint(demo_model)
    plan = ql.plan(checkpoint, "IQ2_XXS", tmp_path / "king.gguf")
    assert not plan.lacking
    assert plan.metadata["quantize.imatrix.dataset"].value == "king.txt"


def test_the_output_matrix_is_collected_where_asked(collected):
    model, tokenizer, ids, without = collected
    found = imatrix(model, ids, 64, tokenizer.bos, output=True)
    assert set(found.sums) - set(without.sums) == {"output.weight"}
    assert found.sums["output.weight"].shape == (1, model.shape.hidden)


def test_a_text_shorter_than_a_window_is_told(collected):
    model, tokenizer, ids, _ = collected
    with pytest.raises(ql.CheckpointError, match="needs 512"):
        imatrix(model, ids[:300], 512, tokenizer.bos)
