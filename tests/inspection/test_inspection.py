"""Statistics and comparisons, against numpy over whole tensors."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import quantlib as ql
from quantlib import tables
from quantlib.inspection import all_statistics, chunks, comparisons, statistics, total_loss
from quantlib.metrics import compare


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_WEIGHTS", 4000)


def saved(path, **tensors):
    save_file({name.replace("__", "."): x for name, x in tensors.items()}, path)
    return ql.open_checkpoint(path)


def test_statistics_are_numpys(tmp_path):
    x = np.random.default_rng(0).standard_t(5, (300, 64)).astype(np.float32) + np.float32(0.5)
    x[3, :7] = 0
    found = statistics(saved(tmp_path / "a.safetensors", w=x).tensors["w"])
    wide = x.astype(np.float64)
    centred = wide - wide.mean()
    assert (found.weights, found.zeros, found.not_finite) == (x.size, 7, 0)
    assert (found.smallest, found.largest) == (x.min(), x.max())
    assert found.mean == pytest.approx(wide.mean())
    assert found.deviation == pytest.approx(wide.std())
    assert found.rms == pytest.approx(np.sqrt(np.mean(wide**2)))
    assert found.kurtosis == pytest.approx(np.mean(centred**4) / wide.var() ** 2 - 3)
    assert found.peak == pytest.approx(np.abs(wide).max() / found.rms)


def test_what_is_not_finite_is_counted_and_left_out(tmp_path):
    x = np.array([[1, np.nan, -3, np.inf]], np.float32)
    only = np.full((2, 2), np.nan, np.float32)
    mixed, none = all_statistics(saved(tmp_path / "a.safetensors", a=x, b=only))
    assert (mixed.smallest, mixed.largest, mixed.mean, mixed.not_finite) == (-3, 1, -1, 2)
    assert (none.mean, none.peak, none.not_finite) == (None, None, 4)


def test_a_quantized_file_against_its_source(demo_model, tmp_path):
    with ql.open_checkpoint(demo_model) as source:
        done = ql.run(ql.plan(source, "Q4_K_M"), tmp_path / "q.gguf")
        with ql.open_checkpoint(tmp_path / "q.gguf") as written:
            rows = {row.name: row for row in comparisons(source, written)}
            back = list(comparisons(written, written))
    assert set(rows) == {t.name for t in done.tensors}
    for result in done.tensors:
        row = rows[result.name]
        assert (row.format, row.other_format, row.other_nbytes) == (result.source, result.target, result.nbytes)
        assert row.loss.rmse == pytest.approx(result.loss.rmse)
        assert row.loss.cosine == pytest.approx(result.loss.cosine)
    assert {row.note for row in back} == {"the same values"}
    assert total_loss(back).squared_error == 0


def test_what_cannot_be_compared_says_why(tmp_path):
    rng = np.random.default_rng(1)
    a, b, c = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (4, 8), (8, 4)))
    nan = np.full((4, 8), np.nan, np.float32)
    first = saved(tmp_path / "a.safetensors", both=a, shape=a, left=a, nan=a)
    other = saved(tmp_path / "b.safetensors", both=b, shape=c, right=b, nan=nan)
    rows = {row.name: row for row in comparisons(first, other)}
    assert rows["both"].loss == compare(a, b)
    assert {name: row.note for name, row in rows.items()} == {
        "both": "", "shape": "shapes differ", "left": "only in the first", "right": "only in the other",
        "nan": "holds values that are not finite",
    }  # fmt: skip
    assert (rows["left"].other_format, rows["right"].nbytes) == (None, None)
    assert total_loss(rows.values()) == compare(a, b)


def test_csv_starts_no_formula(tmp_path):
    x = np.ones((1, 2), np.float32)
    rows = [tables.statistics(s) for s in all_statistics(saved(tmp_path / "a.safetensors", **{"=1+1": x}))]
    head, line = tables.as_csv(rows).splitlines()
    assert head.startswith("name,shape,format")
    assert line.startswith("'=1+1,1 × 2,FP32,8,2,1.0")


@pytest.mark.parametrize("other", [{"b__weight": (4, 64)}, {"a__weight": (64, 4)}], ids=["other names", "other shapes"])
def test_two_different_models_are_not_called_equal(tmp_path, other):
    first = saved(tmp_path / "a.safetensors", a__weight=np.ones((4, 64), np.float32))
    second = saved(tmp_path / "b.safetensors", **{name: np.ones(shape, np.float32) for name, shape in other.items()})
    with pytest.raises(ql.CheckpointError, match="cannot be compared"):
        total_loss(comparisons(first, second))
