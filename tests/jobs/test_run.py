"""Plan, run, verify: on the demo model and on small models made here."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_model import CONFIG, HIDDEN, model_weights, write_model

import quantlib as ql
from quantlib import formats
from quantlib.checkpoints import ImportanceMatrix
from quantlib.recipes import RECIPES


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "model"
    write_model(path, model_weights())
    return path


def quantize(source: Path, out: Path, recipe: str, **options) -> ql.RunResult:
    with ql.open_checkpoint(source) as checkpoint:
        return ql.run(ql.plan(checkpoint, recipe), out, **options)


def even_importance(plan: ql.Plan) -> ImportanceMatrix:
    """An importance matrix to which all channels are alike."""
    return ImportanceMatrix("even", {t.name: np.ones((1, t.shape[-1]), np.float32) for t in plan.tensors})


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_demo_model_in_every_recipe(demo_model, tmp_path, recipe):
    source = ql.open_checkpoint(demo_model)
    plan = ql.plan(source, recipe)
    if plan.lacking:
        with pytest.raises(ql.RecipeError, match="importance matrix"):
            ql.run(plan, tmp_path / "out.gguf")
        plan = ql.plan(source, recipe, even_importance(plan))
    result = ql.run(plan, tmp_path / "out.gguf")
    assert result.nbytes == plan.nbytes == (tmp_path / "out.gguf").stat().st_size
    with source, ql.open_checkpoint(tmp_path / "out.gguf") as written:
        for planned in plan.tensors:
            tensor = written.tensors[planned.name]
            assert tensor.format == planned.target
            original = planned.tensor.rows(0, min(64, tensor.nrows))
            form, importance = formats.get(planned.target), planned.importance_of(0)
            expected = form.dequantize(form.quantize(original, importance))
            np.testing.assert_array_equal(tensor.rows(0, min(64, tensor.nrows)), expected)


def test_losses_are_those_of_the_file(folder, tmp_path):
    with ql.open_checkpoint(folder) as source:
        plan = ql.plan(source, "Q4_K_M")
        result = ql.run(plan, tmp_path / "out.gguf")
        with ql.open_checkpoint(tmp_path / "out.gguf") as written:
            for planned, done in zip(plan.tensors, result.tensors, strict=True):
                error = planned.tensor.rows().astype(np.float64) - written.tensors[planned.name].rows()
                assert done.loss.rmse == pytest.approx(np.sqrt(np.mean(np.square(error))), abs=1e-12)


def test_quantizing_in_one_step_or_through_f32_gives_the_same_file(folder, tmp_path):
    quantize(folder, tmp_path / "f32.gguf", "F32")
    quantize(folder, tmp_path / "direct.gguf", "Q4_K_M")
    quantize(tmp_path / "f32.gguf", tmp_path / "through.gguf", "Q4_K_M")
    with ql.open_checkpoint(tmp_path / "direct.gguf") as a, ql.open_checkpoint(tmp_path / "through.gguf") as b:
        assert list(a.tensors) == list(b.tensors)
        for name in a.tensors:
            np.testing.assert_array_equal(a.tensors[name].raw(), b.tensors[name].raw())


def test_any_number_of_workers_gives_the_same_bytes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.jobs.pieces.CHUNK_WEIGHTS", 5 * HIDDEN)
    files = []
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            quantize(folder, tmp_path / f"{workers}.gguf", "Q4_K_M", executor=pool)
        files.append((tmp_path / f"{workers}.gguf").read_bytes())
    assert files[0] == files[1]


def test_progress_rises_to_the_end(folder, tmp_path):
    seen = []
    quantize(folder, tmp_path / "out.gguf", "Q8_0", progress=seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len({p.tensor for p in seen}) == seen[-1].count


def test_cancel_leaves_nothing(folder, tmp_path):
    out = tmp_path / "out.gguf"
    calls = iter([False, False, True])
    with pytest.raises(ql.Cancelled):
        quantize(folder, out, "Q8_0", cancel=lambda: next(calls, True))
    assert left(tmp_path) == ["model"]


def left(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("recipe", ["Q4_K_M", "F16", "F32"])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path, value, recipe):
    weights = model_weights()
    weights["model.layers.1.mlp.up_proj.weight"][7, 33] = value
    write_model(tmp_path / "model", weights)
    with pytest.raises(ql.JobError, match=r"^blk\.1\.ffn_up\.weight holds .* at row 7, column 33"):
        quantize(tmp_path / "model", tmp_path / "out.gguf", recipe)
    assert left(tmp_path) == ["model"]


@pytest.mark.parametrize("recipe", ["Q4_K_M", "Q8_0", "F16"])
def test_a_weight_too_large_for_the_format_is_refused(tmp_path, recipe):
    weights = model_weights()
    weights["model.layers.0.mlp.down_proj.weight"][3, 5] = 1e30
    write_model(tmp_path / "model", weights)
    with pytest.raises(ql.JobError, match=r"blk\.0\.ffn_down\.weight holds a weight of size 1e\+30 in row 3, "):
        quantize(tmp_path / "model", tmp_path / "out.gguf", recipe)
    assert left(tmp_path) == ["model"]


def test_rows_that_fit_no_block_fall_back_as_in_llama_cpp(tmp_path):
    weights = model_weights()
    for name in weights:
        if "mlp" in name:  # rows of 520 are no multiple of 32, let alone of 256
            weights[name] = np.resize(weights[name], (HIDDEN, 520) if "down" in name else (520, HIDDEN))
    write_model(tmp_path / "model", weights, {**CONFIG, "intermediate_size": 520})
    result = quantize(tmp_path / "model", tmp_path / "out.gguf", "Q4_K_M")
    targets = {t.name: t.target for t in result.tensors}
    assert targets["blk.0.ffn_down.weight"] == "FP16"
    assert targets["blk.0.ffn_up.weight"] == "Q4_K"


def test_a_disk_too_small_is_told_before_the_run(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ql.JobError, match="1,000 left"):
        quantize(folder, tmp_path / "out.gguf", "Q8_0")
    assert left(tmp_path) == ["model"]


def test_a_disk_that_fills_up_during_the_run(folder, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("quantlib.checkpoints.GGUFWriter.write", full)
    with pytest.raises(ql.JobError, match="is full"):
        quantize(folder, tmp_path / "out.gguf", "Q8_0")
    assert left(tmp_path) == ["model"]


@pytest.mark.parametrize("failing", [0, 1, -1])
def test_a_disk_that_fails_while_the_file_is_flushed(folder, tmp_path, monkeypatch, failing):
    """The system tells of a failure once, at whichever flush; -1: at none."""
    calls, fsync = [], os.fsync

    def counted(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing + 1:
            raise OSError(errno.EIO, "input/output error")
        fsync(descriptor)

    monkeypatch.setattr("quantlib.jobs.flushing.EVERY", 1)
    monkeypatch.setattr("quantlib.jobs.flushing.os.fsync", counted)
    if failing < 0:
        quantize(folder, tmp_path / "out.gguf", "Q8_0")
        assert len(calls) >= 2
        return
    with pytest.raises(ql.JobError, match="input/output error"):
        quantize(folder, tmp_path / "out.gguf", "Q8_0")
    assert left(tmp_path) == ["model"]


def test_a_file_that_reads_back_wrong_is_not_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("quantlib.jobs.verifying._crc", lambda *_: 0)
    with pytest.raises(ql.JobError, match="reads back other bytes"):
        quantize(folder, tmp_path / "out.gguf", "Q8_0")
    assert left(tmp_path) == ["model"]


def test_an_older_file_survives_a_failed_run(tmp_path):
    weights = model_weights()
    weights["lm_head.weight"][0, 0] = np.nan
    write_model(tmp_path / "model", weights)
    (tmp_path / "out.gguf").write_bytes(b"older")
    with pytest.raises(ql.JobError):
        quantize(tmp_path / "model", tmp_path / "out.gguf", "Q8_0")
    assert (tmp_path / "out.gguf").read_bytes() == b"older"


@pytest.mark.parametrize("out", ["missing/out.gguf", "model"])
def test_places_that_cannot_be_written(folder, tmp_path, out):
    with pytest.raises(ql.JobError, match="folder"):
        quantize(folder, tmp_path / out, "Q8_0")


def test_recipes_that_need_an_importance_matrix_are_those_whose_plans_lack_one(demo_model):
    with ql.open_checkpoint(demo_model) as source:
        lacking = {name for name in RECIPES if ql.plan(source, name).lacking}
    assert lacking == {r.name for r in RECIPES.values() if r.needs_importance}
